"""
The search space of an experiment: `search:` in its `hparams.nt`, read strictly.

    search:
      trials: 30
      space:
        optim.learning_rate:
          low: 0.003
          high: 0.1
          log: true
        model.latent:
          - 10x0e
          - 4x0e+2x1e

A list holds choices; `low` and `high` are the ends of a range. This module doesn't import Optuna,
so that every command can read a search without it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from ..models.kind import KINDS, Kind, Metric, get_kind
from ..text.located import Located, Place, Problem, place_all
from ..text.suggest import say_unknown, suggest_key
from ..text.typed import (
    Bool,
    Float,
    Int,
    TextModel,
    annotate,
    check_model,
    iter_keys,
    unwrap,
)
from .schema import Hparams, flatten, get_schema

SIGNIFICANT_DIGITS = 4
"""Of numbers sampled without steps; more digits don't matter, and make tables too wide."""


class SearchHparams(TextModel):
    trials: Int = Field(ge=1, description=(
        "Runs to train, over all workers; a larger number continues a finished search."))
    metric: str = Field("", description=(
        "Metric that trials are judged by, at its best validation: a loss, or the metric that "
        "chooses the best weights, which is the default. For a VAE: `val.r2`, `val.data_loss`, "
        "`val.prior_loss` or `val.loss`."
    ))
    sampler: Literal["tpe", "random"] = Field("tpe", description=(
        "Optuna's tree-structured Parzen estimator, or independent random values."))
    pruner: Literal["median", "none"] = Field("median", description=(
        "`median` ends a trial after a validation if its best value so far is worse than the "
        "median of the finished trials at that epoch."))
    startup_trials: Int = Field(10, ge=1, description=(
        "Trials sampled at random; as many must finish before any trial is pruned."))
    warmup_epochs: Int = Field(1, ge=0, description=(
        "Epochs of each trial before it may be pruned."))
    seed: Int = Field(0, ge=0, lt=2**32, description="Seed of the sampler.")
    space: dict[str, Any] = Field(min_length=1, description=(
        "Keys such as `loss.beta`, each with a list of choices, or with `low`, `high` and "
        "optionally `step` or `log: true`."))


class RangeText(TextModel):
    """The keys of a range; the allowed numbers depend on the hyperparameter."""
    low: str
    high: str
    step: Float | None = Field(None, gt=0)
    log: Bool = False


class SearchFile(TextModel):
    """Wraps `search:`, so that errors show keys as `search.trials`."""
    search: SearchHparams


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, inclusive, in the hyperparameter's unit."""
    low: float
    high: float
    step: float | None
    log: bool
    is_integer: bool

    def write(self, value: float) -> str:
        """Return a sampled number as text."""
        if self.is_integer:
            return str(value)
        digits = 10 if self.step else SIGNIFICANT_DIGITS
        rounded = float(f"{value:.{digits}g}")
        return repr(min(max(rounded, self.low), self.high))

    def find(self, value: float | None) -> float | None:
        """Return a hyperparameter's value if it is in the range, else None."""
        if value is None:  # blank
            return None
        steps = (value - self.low) / self.step if self.step else 0
        is_in = self.low <= value <= self.high and math.isclose(steps, round(steps), abs_tol=1e-6)
        return value if is_in else None


@dataclass(frozen=True)
class Choices:
    """values: as the schema parses them; texts: as they were written"""
    values: tuple[Any, ...]
    texts: tuple[Any, ...]

    def write(self, index: int) -> Any:
        return self.texts[index]

    def find(self, value: Any) -> int | None:
        return self.values.index(value) if value in self.values else None


@dataclass(frozen=True)
class Search:
    """
    What to search for, and where.

    metric: column of val.csv that trials are judged by
    space:  range or choices of each dotted key
    places: places of those keys in the file
    """
    settings: SearchHparams
    metric: Metric
    space: Mapping[str, Range | Choices]
    places: Mapping[str, Place]

    def write_values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return sampled values as text, in the sections of `hparams.nt`."""
        values: dict[str, Any] = {}
        for key, dimension in self.space.items():
            *sections, name = key.split(".")
            section = values
            for part in sections:
                section = section.setdefault(part, {})
            section[name] = dimension.write(params[key])
        return values

    def find_params(self, hparams: Hparams) -> dict[str, Any] | None:
        """Return a run's point in the space; None if the present space doesn't contain it."""
        flat = flatten(hparams)
        params = {key: dimension.find(flat[key]) for key, dimension in self.space.items()}
        return None if None in params.values() else params

    def make_example(self) -> dict[str, Any]:
        """Return the values of an arbitrary point of the space."""
        first = {k: d.low if isinstance(d, Range) else 0 for k, d in self.space.items()}
        return self.write_values(first)


def read_search(values: Located, kind: str) -> tuple[Search | None, list[Problem]]:
    """
    Return the search of a file, or None, and everything that is wrong with it.

    kind: kind of the trials' models
    """
    if kind not in KINDS:  # reported where it is written
        return None, []
    schema = get_schema(kind)
    whole = Located({"search": values}, values.key_place, values.place)
    file, problems = check_model(SearchFile, whole)
    space, places = {}, {}
    given = values.content.get("space") if isinstance(values.content, dict) else None
    if given is not None and isinstance(given.content, dict):
        for key, dimension in given.content.items():
            places[key] = dimension.key_place
            try:
                space[key] = _read_dimension(key, dimension, schema)
            except _ProblemsError as error:
                problems += error.problems
    metric = get_kind(kind).best
    if isinstance(values.content, dict) and "metric" in values.content:
        metric, found = _find_metric(values.content["metric"], get_kind(kind))
        problems += found
    if file is None or problems:
        return None, problems
    settings = file.search.model_copy(update={"metric": f"val.{metric.name}"})
    return Search(settings, metric, space, places), problems


def _find_metric(written: Located, kind: Kind) -> tuple[Metric, list[Problem]]:
    """Return the metric of a search; blank stands for the one that chooses the best weights."""
    name = written.content
    if not isinstance(name, str) or not name:  # missing, or not text, which is reported already
        return kind.best, []
    known = [f"val.{x}" for x in dict.fromkeys([kind.best.name, *kind.losses])]
    if name in known:
        return kind.find_metric(name.removeprefix("val.")), []
    expected = ", ".join(map(repr, known))
    text = f"search.metric: expected one of {expected}, got {name!r}"
    return kind.best, [Problem(written.place, text)]


class _ProblemsError(Exception):
    def __init__(self, problems: list[Problem]):
        super().__init__(*problems)
        self.problems = problems


def _read_dimension(
        key: str, dimension: Located, schema: type[Hparams]) -> Range | Choices:
    fields = dict(iter_keys(schema))
    if key == "kind":
        text = "search.space.kind: a search is of one kind of model; give it in 'shared:'"
        raise _ProblemsError([Problem(dimension.key_place, text)])
    if key not in fields:
        near = suggest_key(key, fields, fields)
        text = say_unknown(f"search.space.{key}", near, ["those of hyperparameters"])
        raise _ProblemsError([Problem(dimension.key_place, text)])
    if isinstance(dimension.content, list) and dimension.content:
        return _read_choices(key, dimension, schema)
    if isinstance(dimension.content, dict) and dimension.content:
        return _read_range(key, dimension, schema)
    text = f"search.space.{key}: expected a list of choices, or the keys low and high"
    raise _ProblemsError([Problem(dimension.place, text)])


def _read_choices(key: str, dimension: Located, schema: type[Hparams]) -> Choices:
    problems = [problem for x in dimension.content for problem in _find_problems(key, x, schema)]
    if problems:
        raise _ProblemsError(problems)
    values = [_parse(key, choice, schema) for choice in dimension.content]
    for i, value in enumerate(values):
        if value in values[:i]:
            text = f"search.space.{key}: the same choice is given twice"
            raise _ProblemsError([Problem(dimension.content[i].place, text)])
    return Choices(tuple(values), tuple(choice.plain for choice in dimension.content))


def _read_range(key: str, dimension: Located, schema: type[Hparams]) -> Range:
    name = f"search.space.{key}"
    checked, problems = check_model(RangeText, dimension)
    if checked is None:
        raise _ProblemsError([
            Problem(x.place, f"{name}: {x.text}") for x in problems])
    number = unwrap(dict(iter_keys(schema))[key].annotation)
    is_integer = number is int
    if number not in (int, float):
        text = f"{name}: a range needs numbers, and its values are not; give a list of choices"
        raise _ProblemsError([Problem(dimension.place, text)])
    low, high = (_parse(key, dimension.content[end], schema) for end in ("low", "high"))
    step = checked.step
    problem = _find_range_problem(low, high, step, checked.log, is_integer)
    if problem:
        end, text = problem
        place = dimension.content[end].place if end in dimension.content else dimension.place
        raise _ProblemsError([Problem(place, f"{name}.{end}: {text}")])
    if is_integer:
        # Some integers are not allowed, such as even sides of images; the second one shows that.
        second = place_all(str(low + int(step or 1)), dimension.place)
        if problems := _find_problems(key, second, schema):
            text = problems[0].text.partition(": ")[2]
            raise _ProblemsError([
                Problem(dimension.place, f"{name}: {second.content} is in the range: {text}")])
    return Range(low, high, step, checked.log, is_integer)


def _find_range_problem(
        low: float, high: float, step: float | None, log: bool,
        is_integer: bool) -> tuple[str, str] | None:
    """Return the wrong key of a range, and what is wrong with it."""
    if low >= high:
        return "high", f"expected a number above low, which is {low:g}, got {high:g}"
    if log and step:
        return "step", "a logarithmic range has no step"
    if log and low <= 0:
        return "low", f"expected a number > 0 for a logarithmic range, got {low:g}"
    if step and is_integer and step != int(step):
        return "step", f"expected an integer, got {step:g}"
    if step and step > high - low:
        return "step", f"{step:g} is larger than the range"
    if step and not math.isclose((high - low) / step, round((high - low) / step)):
        return "step", f"steps of {step:g} from {low:g} don't reach {high:g} exactly"
    return None


def _find_problems(key: str, value: Located, schema: type[Hparams]) -> list[Problem]:
    """Return what is wrong with a value of a hyperparameter."""
    nested = value
    for part in reversed(key.split(".")):
        nested = Located({part: nested}, value.key_place, value.place)
    problems = [p for p in check_model(schema, nested)[1] if not p.missing]
    return [Problem(p.place, f"search.space.{p.text}") for p in problems]


def _parse(key: str, value: Located, schema: type[Hparams]) -> Any:
    """Return a hyperparameter's value; raises: _ProblemsError if it is wrong."""
    if problems := _find_problems(key, value, schema):
        raise _ProblemsError(problems)
    field = dict(iter_keys(schema))[key]
    return TypeAdapter(annotate(field)).validate_python(value.plain)
