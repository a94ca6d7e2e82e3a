"""
The hyperparameters that a run has: keys, types, bounds, defaults and what each is for.

To add a hyperparameter, add a field here, and hand it on where it is used.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from ..data.hparams import DataHparams
from ..models.vae.hparams import LossHparams, ModelHparams
from ..text.typed import Float, Int, TextModel, describe_type, iter_keys
from ..text.values import Count, Weight


class OptimHparams(TextModel):
    learning_rate: Float = Field(2e-2, gt=0, description="Highest learning rate, after warm-up.")
    warmup_steps: Count = Field(50, ge=0, description=(
        "Steps over which the learning rate rises from zero."))
    gradient_clip: Weight = Field(100.0, ge=0, description=(
        "Largest norm of a step's gradient; 0 doesn't clip."))
    batch_size: Count = Field(4, ge=1, description="Crops of one step, over all devices.")


class TrainHparams(TextModel):
    epochs: Count = Field(ge=1, description="Epochs; each ends with a validation.")
    steps_per_epoch: Count = Field(ge=1, description="Optimizer steps of one epoch.")
    num_val_crops: Count = Field(32, ge=1, description="Crops of each validation, always the same.")
    num_test_crops: Count = Field(64, ge=1, description="Crops of the test after training.")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description=(
        "Lightning's name of the number format."))


class Hparams(TextModel):
    """Everything that decides what one run computes."""
    seed: Int = Field(0, ge=0, lt=2**32, description=(
        "Seed of the initial weights, the crops and the noise of the posterior."))
    data: DataHparams
    model: ModelHparams
    loss: LossHparams
    optim: OptimHparams
    train: TrainHparams


@dataclass(frozen=True)
class HparamsKey:
    """A row of the reference: `default` is None for a key that has to be given."""
    name: str
    expected: str
    default: str | None
    description: str


def list_keys(model_class: type[TextModel] = Hparams) -> list[HparamsKey]:
    """Return every key of a schema, for the reference pages."""
    return [
        HparamsKey(
            name=name,
            expected=describe_type(field.annotation, field.metadata),
            default=None if field.is_required() else str(field.default),
            description=field.description,
        )
        for name, field in iter_keys(model_class)
    ]


def flatten(hparams: Hparams) -> dict[str, Any]:
    """Return the values under dotted keys such as `loss.beta`, in the order of the schema."""
    values = {}
    for name, _ in iter_keys(Hparams):
        *sections, key = name.split(".")
        section = hparams
        for part in sections:
            section = getattr(section, part)
        values[name] = getattr(section, key)
    return values
