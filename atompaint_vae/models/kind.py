"""
Kinds of model: the interface to the rest of the package, and the registry.

A kind is a folder of `models/` and a line of `KINDS`. Its `kind.py` holds a `Kind`, which declares
everything that needs no torch: its hyperparameters, its metrics, which of them chooses the best
weights. Its objective, a class that the kind names, does the rest: see `objective.py`.
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
    "neighbor_location": "atompaint_vae.models.neighbor_location.kind",
    "diffusion": "atompaint_vae.models.diffusion.kind",
}
"""The module of each kind; its attribute `KIND` is the kind."""

DEFAULT_KIND = "vae"

Size = float | tuple[int, ...]
"""A number that describes a model, or a shape: channels, then the sides [voxels]."""


class UnknownKindError(ValueError):
    """An unknown kind of model."""


@dataclass(frozen=True)
class Metric:
    """
    A column of val.csv, and whether higher or lower values are better.

    symbol: its name on pages and in messages
    """

    name: str
    symbol: str
    better: Literal["higher", "lower"]

    def find_best(self, values: Sequence[float]) -> float:
        """Return the best of one or more values."""
        return max(values) if self.better == "higher" else min(values)


@dataclass(frozen=True)
class Curve:
    """
    A panel of the figure of training curves.

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
    The declaration of a kind of model.

    model, loss: its own sections of hparams.nt
    objective:   the class that builds and trains it, as `module:class`
    losses:      losses that a training step reports; the first one is minimised
    sizes:       sizes of a model besides its number of parameters, such as `latent_shape`
    best:        metric that chooses the best weights
    better:      words in the names of its other metrics, and whether higher or lower is better;
                 lower for errors and losses
    curves:      panels of the figure of its curves; by default its losses and its best metric
    artifacts:   names of the files that its test writes into the run's folder
    inputs:      keys of `model`, such as `autoencoder`, that name another run or a published model,
                 which is frozen and becomes a part of the model
    initial:     keys of `model`, such as `encoder_weights`, that name a run or a published model
                 whose weights training starts with; trained weights don't need it
    alarms:      for each name, a function of a row of val.csv that returns a message or None
    first_losses: names for plans, and values, of the losses of the first batch
    judge_first_losses: a plan's note on them, or None
    card_metrics: prefixes of the metrics on the pages of published models
    describe_for_card: other values for the template of those pages, `card.rst` beside the kind
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
    initial: tuple[str, ...] = ()
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
        """Return the metric of a column; None if the kind doesn't say which values are better."""
        if column == self.best.name:
            return self.best
        better = {**dict.fromkeys((*self.losses, "loss", "error"), "lower"), **self.better}
        found = next((x for word, x in better.items() if word in column), None)
        return Metric(column, column, found) if found else None

    def list_curves(self) -> tuple[Curve, ...]:
        """Return the panels of the figure of its training curves."""
        names = dict.fromkeys([*self.losses, self.best.name])
        return self.curves or tuple(Curve(name, name) for name in names)


def get_kind(name: str) -> Kind:
    """Return a kind of model by its name; raises: UnknownKindError with the known kinds."""
    if name not in KINDS:
        raise UnknownKindError(f"no kind {name!r}; {suggest(name, KINDS)}")
    return _import_kind(KINDS[name])


def list_kinds() -> list[Kind]:
    """Return all kinds, in the order of the registry."""
    return [get_kind(name) for name in KINDS]


def get_symbol(metric: str) -> str:
    """Return the symbol of a metric that chooses a kind's best weights; others keep their name."""
    return next((x.best.symbol for x in list_kinds() if x.best.name == metric), metric)


@cache
def _import_kind(module: str) -> Kind:
    return import_module(module).KIND
