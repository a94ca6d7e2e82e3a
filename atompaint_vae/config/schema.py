"""
The hyperparameters of a run: keys, types, bounds, defaults and descriptions.

The sections `model` and `loss` belong to the kind of model, `data` is in `data/hparams.py`, the
others are here. To add a hyperparameter, add a field, and pass it to the code that uses it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model, model_validator

from ..data.hparams import DataHparams
from ..models.kind import DEFAULT_KIND, KINDS, Kind, get_kind, list_kinds
from ..text.located import Located, Problem, find_value
from ..text.suggest import suggest
from ..text.typed import (
    Float,
    Hint,
    Incomparable,
    Int,
    Noun,
    TextModel,
    check_model,
    describe_type,
    iter_keys,
)
from ..text.values import Count, Weight


def _check_kind(name: str) -> str:
    if name not in KINDS:
        raise Hint(suggest(name, KINDS))
    return name


KindName = Annotated[str, AfterValidator(_check_kind), Noun("a kind of model")]


class OptimHparams(TextModel):
    learning_rate: Float = Field(2e-2, gt=0, description="Highest learning rate, after warm-up.")
    warmup_steps: Count = Field(50, ge=0, description=(
        "Steps over which the learning rate rises from zero."))
    gradient_clip: Weight = Field(100.0, ge=0, description=(
        "Largest norm of a step's gradient; 0 doesn't clip."))
    batch_size: Count = Field(4, ge=1, description="Crops of one step, over all devices.")
    ema_decay: Float = Field(0.0, ge=0, lt=1, description=(
        "Decay of an exponential moving average of the weights, such as 0.999. The average is then "
        "what is validated, tested and published; 0 keeps none."))


class TrainHparams(TextModel):
    epochs: Count = Field(ge=1, description="Epochs; each ends with a validation.")
    steps_per_epoch: Count = Field(ge=1, description="Optimizer steps of one epoch.")
    num_val_crops: Annotated[
        Count, Incomparable(("val.",), "their validation crops are different"),
    ] = Field(32, ge=1, description="Crops of each validation, always the same.")
    num_test_crops: Annotated[
        Count, Incomparable(("test.",), "their test crops are different"),
    ] = Field(64, ge=1, description="Crops of the test after training.")
    precision: Literal["32-true", "bf16-mixed", "auto"] = Field("32-true", description=(
        "Lightning's name of the number format. `auto` chooses bf16-mixed where it is faster, by a "
        "few steps in each; the run's record says what was chosen."))


class Hparams(TextModel):
    """
    Everything that determines what a run computes.

    `Hparams.model_validate` returns an instance of the kind's class, which `get_schema` makes.
    """
    kind: Annotated[
        KindName, Incomparable(("",), "they are different kinds of model"),
    ] = Field(DEFAULT_KIND, description="Kind of model; it decides what `model` and `loss` hold.")
    seed: Int = Field(0, ge=0, lt=2**32, description=(
        "Seed of the initial weights, the crops and the noise."))
    data: DataHparams
    model: TextModel
    loss: TextModel
    optim: OptimHparams
    train: TrainHparams

    @model_validator(mode="wrap")
    @classmethod
    def _choose_schema(cls, values: Any, handler: Any) -> "Hparams":
        if cls is Hparams and isinstance(values, dict):
            return get_schema(values.get("kind", DEFAULT_KIND)).model_validate(values)
        return handler(values)

    def __reduce__(self):
        # Processes share hyperparameters, whose classes are made when they are asked for.
        return Hparams.model_validate, (self.model_dump(),)


def get_schema(kind: str) -> type[Hparams]:
    """Return the class of a kind's hyperparameters; raises: UnknownKindError."""
    return _make_schema(get_kind(kind))


@cache
def _make_schema(kind: Kind) -> type[Hparams]:
    return create_model(
        "Hparams", __base__=Hparams, model=(kind.model, ...), loss=(kind.loss, ...))


def find_kind(written: Located) -> str:
    """Return the kind of model of a run as it is written, even if it is unknown."""
    content = written.content if isinstance(written.content, dict) else {}
    found = content.get("kind")
    return found.content if found and isinstance(found.content, str) else DEFAULT_KIND


def check_hparams(
        written: Located, whole: str = "the file", also: Iterable[str] = (),
        kind: str | None = None) -> tuple[Hparams | None, list[Problem]]:
    """
    Return a run's hyperparameters, or None, and everything that is wrong with them.

    whole, also: as for `check_model`
    kind:        kind of model that the keys are checked against, by default the one in the file
    """
    kind = find_kind(written) if kind is None else kind
    if kind in KINDS:
        return check_model(get_schema(kind), written, whole, also)
    text = f"kind: expected a kind of model, got {kind!r}; {suggest(kind, KINDS)}"
    return None, [Problem(find_value(written, "kind").place, text)]


@dataclass(frozen=True)
class HparamsKey:
    """
    A row of the reference.

    default: None for a required key
    kind:    the kind that has this key, None if all have it
    """
    name: str
    expected: str
    default: str | None
    description: str
    kind: str | None = None


def list_keys(model_class: type[TextModel] | None = None) -> list[HparamsKey]:
    """Return every key of a schema, by default those of all kinds, for the reference pages."""
    fields = iter_fields() if model_class is None else (
        (name, field, None) for name, field in iter_keys(model_class))
    return [
        HparamsKey(
            name=name,
            expected=describe_type(field.annotation, field.metadata),
            default=None if field.is_required() else str(field.default),
            description=field.description,
            kind=kind,
        )
        for name, field, kind in fields
    ]


def iter_fields() -> Iterator[tuple[str, Any, str | None]]:
    """Yield the dotted name, the pydantic field and the kind (None if shared) of each key."""
    for section, field in Hparams.model_fields.items():
        if section in ("model", "loss"):
            for kind in list_kinds():
                keys = iter_keys(getattr(kind, section), f"{section}.")
                yield from ((name, field, kind.name) for name, field in keys)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, TextModel):
            keys = iter_keys(field.annotation, f"{section}.")
            yield from ((name, field, None) for name, field in keys)
        else:
            yield section, field, None


def list_hparams() -> tuple[str, ...]:
    """Return the dotted names of the hyperparameters of all kinds, without duplicates."""
    return _list_hparams(tuple(KINDS))


@cache
def _list_hparams(kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name, _, _ in iter_fields()))


Rule = tuple[list[str], list[str], str]


def list_rules() -> list[Rule]:
    """
    Return the properties in which comparable runs must agree, as declared with the keys.

    returns: for each reason: the properties, parts of the names of the affected metrics, the reason
    """
    rules: dict[tuple, list[str]] = {}
    for name, field, _ in iter_fields():
        for mark in field.metadata:
            if isinstance(mark, Incomparable):
                keys = rules.setdefault((mark.metrics, mark.why), [])
                keys += [x for x in (name, *mark.also) if x not in keys]
    return [(keys, list(metrics), why) for (metrics, why), keys in rules.items()]


def flatten(hparams: Hparams) -> dict[str, Any]:
    """Return the values under dotted keys such as `loss.beta`, in the order of the schema."""
    values = {}
    for name, _ in iter_keys(type(hparams)):
        *sections, key = name.split(".")
        section = hparams
        for part in sections:
            section = getattr(section, part)
        values[name] = getattr(section, key)
    return values
