"""
The hyperparameters that a run has: keys, types, bounds, defaults and what each is for.

To add a hyperparameter, add a field here, and hand it on where it is used.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from .nestedtext_models import Float, Hint, Int, Noun, TextModel, Unit, describe_type, iter_keys

# The syntax only: what the fields mean is the business of atompaint_vae.nn.fields, which needs
# torch, and this module must load fast.  A test holds the two together.
_FIELD_TERM = r"[1-9][0-9]{0,12}x(fourier[0-3]|quotient[0-3]|[0-6]e)"
_ELEMENTS = frozenset(re.findall(
    r"\w+",
    "He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br "
    "Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho "
    "Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm"
))
_FIELDS = re.compile(rf"{_FIELD_TERM}( *\+ *{_FIELD_TERM})*")


def _check_fields(text: str) -> str:
    if not _FIELDS.fullmatch(text):
        raise ValueError
    return text


def _check_elements(text: str) -> str:
    symbols = text.split()
    if symbols != ["all"] and not (symbols and set(symbols) <= _ELEMENTS):
        raise ValueError
    return " ".join(symbols)


def _check_odd(number: int) -> int:
    if number % 2 == 0:
        nearest = f"{number - 1} and {number + 1}"
        raise Hint(f"an even side breaks the symmetry of the cube; the nearest are {nearest}")
    return number


def _limit(most: float) -> Callable[[float], float]:
    """Return the check of a bound so high that it is named only where it is exceeded."""
    def check(number: float) -> float:
        if number > most:
            raise Hint(f"at most {most:g}")
        return number
    return check


def _check_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return text


FieldsText = Annotated[
    str, AfterValidator(_check_fields),
    Noun("fields such as '2xfourier1', '4xquotient2', '16x0e' or a sum of them, with frequency "
         "from 0 to 3 and l from 0 to 6"),
]
Elements = Annotated[
    str, AfterValidator(_check_elements),
    Noun("'all' or symbols of elements such as 'C N O'"),
]
Voxels = Annotated[
    Int, AfterValidator(_check_odd), Unit({"voxels": 1}), Noun("an odd number of voxels")]
Side = Annotated[Voxels, AfterValidator(_limit(999))]
Length = Annotated[
    Float, AfterValidator(_limit(1e6)), Unit({"Å": 1, "nm": 10, "pm": 0.01}),
    Noun("a length [Å, nm, pm]"),
]
Count = Annotated[Int, AfterValidator(_limit(10**9))]
# Products with losses and gradients stay finite in float32.
Weight = Annotated[Float, AfterValidator(_limit(1e30))]
Density = Annotated[
    Float, Unit({"atoms/nm³": 1, "atoms/Å³": 1000}), Noun("a density [atoms/nm³, atoms/Å³]")]
Name = Annotated[str, AfterValidator(_check_printable), Noun("a name")]


class DataHparams(TextModel):
    source: Name = Field("starter", min_length=1, description=(
        "Structures to crop: `starter` is the set that comes with this package; else a set that "
        "`atompaint-vae data build` wrote, or a database of macromol_gym_unsupervised. A relative "
        "path begins at the experiment's folder."))
    size_voxels: Side = Field(35, ge=5, description=(
        "Side of an image; odd, so that a voxel sits at its centre."))
    num_train_structures: Count = Field(0, ge=0, description=(
        "Structures of the training split to crop, always the same for a number; 0 takes all."))
    resolution_A: Length = Field(1.0, gt=0, description="Side of a voxel [Å].")
    radius_A: Length = Field(0.75, gt=0, description="Radius of every atom [Å].")
    min_density_atoms_nm3: Density = Field(25.0, ge=0, description=(
        "Crops with fewer atoms per volume than this are passed over [atoms/nm³]."))
    density: Literal["sphere", "gaussian"] = Field("sphere", description=(
        "What an atom is in an image: a ball, of which each voxel holds the part inside it; or a "
        "Gaussian of the same volume and variance."))
    elements: Elements = Field("all", description=(
        "Elements of the atoms that are kept, such as `C N O`; `all` keeps all."))
    min_occupancy: Float = Field(0.0, ge=0, le=1, description=(
        "Atoms of lower occupancy are left out."))
    min_nucleic_share: Float = Field(0.0, ge=0, le=1, description=(
        "Crops with a smaller part of their atoms in nucleic acid are passed over."))
    max_nucleic_share: Float = Field(1.0, ge=0, le=1, description=(
        "Crops with a larger part of their atoms in nucleic acid are passed over; 0 leaves "
        "protein and ligands."))
    min_border_distance_A: Length = Field(0.0, ge=0, description=(
        "Crops are centred near atoms at least this far inside the structure [Å]."))


class ModelHparams(TextModel):
    layers: tuple[FieldsText, ...] = Field(min_length=1, description=(
        "Fields that each layer of the encoder puts out; each layer halves the side of the image, "
        "and the decoder mirrors them."))
    latent: FieldsText = Field(description="Fields of the latent.")
    convs_per_layer: Annotated[Int, AfterValidator(_limit(99))] = Field(1, ge=1, description=(
        "Convolutions at each resolution."))
    kernel_size: Voxels = Field(3, ge=3, le=7, description=(
        "Side of every convolution's kernel [voxels]."))
    symmetry: Literal["rotation", "none"] = Field("rotation", description=(
        "`rotation` makes every layer equivariant; `none` makes a plain CNN to compare with, whose "
        "fields are scalars such as `64x0e`."))
    grid: Literal[
        "auto", "octahedral_48", "octahedral_72", "octahedral_96", "octahedral_120",
        "octahedral_144", "octahedral_192",
    ] = Field("auto", description=(
        "Points of SO(3) where the nonlinearity of Fourier fields is applied; `auto` takes 48 for "
        "fields of frequency 1, 96 for 2 and 192 for 3."))
    nonlinearity: Literal["elu", "relu", "hermite", "learned_hermite"] = Field("elu", description=(
        "Pointwise function of Fourier fields and of scalars; `hermite` is the first Hermite "
        "function, `learned_hermite` a learned sum of the first four."))
    irreps_nonlinearity: Literal["gate", "norm"] = Field("gate", description=(
        "What makes plain irreps above l = 0 nonlinear: gates, which are more scalars, or "
        "their own lengths."))
    posterior_std: Literal["logvar", "softplus"] = Field("logvar", description=(
        "What the posterior's standard deviations are made of: scalars that are log-variances, or "
        "the softplus of the norms of irreps, as in atompaint 0.1.0, which is never below ln 2."))


class LossHparams(TextModel):
    reduction: Literal["mean", "sum", "optimal"] = Field("sum", description=(
        "How the squared errors of one image become its data loss; batches are always averaged. "
        "`optimal` is the likelihood with the decoder variance that is best for each batch."))
    beta: Weight = Field(1.0, ge=0, description="Weight of the prior loss.")
    free_nats: Weight = Field(0.0, ge=0, description=(
        "Prior loss of each latent number that costs nothing [nats]."))


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
