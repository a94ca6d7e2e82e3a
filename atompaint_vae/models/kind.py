"""
Kinds of model: what the rest of the package asks them, and which there are.

A kind is a folder of `models/` and a line of `KINDS`. Its `kind.py` holds a `Kind`, which declares
what can be known without torch: its hyperparameters, what it reports, what chooses its best
weights. The class that the kind names as its objective does the rest: see `objective.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Literal

from ..text.suggest import suggest
from ..text.typed import TextModel

KINDS = {
    "vae": "atompaint_vae.models.vae.kind",
}
"""The module of each kind, which holds it as `KIND`."""

DEFAULT_KIND = "vae"

Size = float | tuple[int, ...]
"""A number that a model is described by, or a shape: channels, then the sides [voxels]."""


class UnknownKindError(ValueError):
    """There is no such kind of model."""


@dataclass(frozen=True)
class Metric:
    """
    A column of val.csv, and which of its values are best.

    symbol: what pages and messages call it
    """

    name: str
    symbol: str
    better: Literal["higher", "lower"]

    def find_best(self, values: Sequence[float]) -> float:
        """Return the best of some values, of which there is at least one."""
        return max(values) if self.better == "higher" else min(values)


@dataclass(frozen=True)
class Curve:
    """
    A panel of the figure that shows how a run has trained.

    column:     of val.csv, and of train.csv if the kind reports it at each step
    percent_of: the size, such as `latent_shape`, whose first number is 100 %
    """

    column: str
    title: str
    ylabel: str = ""
    log: bool = False
    limits: tuple[float, float] | None = None
    percent_of: str | None = None


@dataclass(frozen=True, eq=False)  # one object a kind
class Kind:
    """
    What a kind of model declares.

    model, loss: the sections of hparams.nt that are its own
    objective:   the class that builds and trains it, as `module:class`
    losses:      what a step reports, the loss that is minimised first
    sizes:       what sums up a model's size besides its parameters, such as `latent_shape`
    best:        chooses the best weights
    better:      words in the names of its other metrics, and which of their values are best; those
                 of errors and losses are lower
    curves:      the panels of the figure of its curves; by default its losses and its best metric
    artifacts:   names of the files that its test leaves in the run's folder
    inputs:      keys of `model`, such as `autoencoder`, that name another run, or a published
                 model, which is loaded and frozen
    alarms:      names, and what says in words that a row of val.csv is cause for alarm
    first_losses: the losses of the first batch, by what a plan calls them
    judge_first_losses: what a plan says of them; None if nothing
    card_metrics: how the names of the metrics begin that are on the pages of published models
    describe_for_card: what the template of those pages, `card.rst` beside the kind, needs besides
    """

    name: str
    model: type[TextModel]
    loss: type[TextModel]
    objective: str
    losses: tuple[str, ...]
    best: Metric
    sizes: tuple[str, ...] = ()
    better: Mapping[str, Literal["higher", "lower"]] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    artifacts: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    alarms: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = field(default_factory=dict)
    first_losses: Callable[[Mapping[str, float], Any], dict[str, float]] = (
        lambda losses, hparams: dict(losses))
    judge_first_losses: Callable[[Mapping[str, float]], str | None] = lambda losses: None
    card_metrics: tuple[str, ...] = ()
    describe_for_card: Callable[[Any], dict[str, str]] = lambda hparams: {}

    def load_objective(self) -> type:
        """Return the kind's `Objective`, which needs torch."""
        module, _, name = self.objective.partition(":")
        return getattr(import_module(module), name)

    def find_metric(self, column: str) -> Metric | None:
        """Return which values of a metric are best; None if the kind doesn't say."""
        if column == self.best.name:
            return self.best
        better = {**self.better, "loss": "lower", "error": "lower"}
        found = next((x for word, x in better.items() if word in column), None)
        return Metric(column, column, found) if found else None

    def list_curves(self) -> tuple[Curve, ...]:
        """Return the panels of the figure of its curves."""
        names = dict.fromkeys([*self.losses, self.best.name])
        return self.curves or tuple(Curve(name, name) for name in names)


def get_kind(name: str) -> Kind:
    """Return a kind of model by its name; raises: UnknownKindError with those that there are."""
    if name not in KINDS:
        raise UnknownKindError(f"no kind {name!r}; {suggest(name, KINDS)}")
    return _import_kind(KINDS[name])


def list_kinds() -> list[Kind]:
    """Return all kinds, in the order of the registry."""
    return [get_kind(name) for name in KINDS]


def get_symbol(metric: str) -> str:
    """Return what pages and messages call a metric that some kind chooses its best weights by."""
    return next((x.best.symbol for x in list_kinds() if x.best.name == metric), metric)


@cache
def _import_kind(module: str) -> Kind:
    return import_module(module).KIND
