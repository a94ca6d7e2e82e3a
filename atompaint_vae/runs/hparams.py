"""
Hyperparameters of an experiment's runs, read strictly from its `hparams.nt`.

The file has `shared:` values and named `runs:`, each of which overrides what it likes:

    shared:
      model:
        latent: 10x0e+5x1e+3x2e
      ...
    runs:
      beta_1:
        loss:
          beta: 1
      beta_4:
        loss:
          beta: 4

Mappings are merged deeply; lists and single values are replaced.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from .located import (
    Located,
    LocatedError,
    Problem,
    list_problems,
    load_located,
    merge_located,
)
from .nestedtext_models import (
    Float,
    Int,
    Noun,
    TextModel,
    check_model,
    describe_type,
    dump_model,
    iter_keys,
    say_unknown,
    suggest_key,
)


class HparamsError(LocatedError):
    """Mistakes in a file of hyperparameters, one per line."""


# The syntax only: what the fields mean is the business of atompaint_vae.nn.fields, which needs
# torch, and this module must load fast.
_FIELD_TERM = r"[1-9][0-9]*x(fourier[0-3]|quotient[0-3]|[0-3]e)"
_FIELDS = re.compile(rf"{_FIELD_TERM}( *\+ *{_FIELD_TERM})*")


def _check_fields(text: str) -> str:
    if not _FIELDS.fullmatch(text):
        raise ValueError
    return text


def _check_odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError
    return number


def _check_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return text


FieldsText = Annotated[
    str, AfterValidator(_check_fields),
    Noun("fields such as '2xfourier1', '4xquotient2', '16x0e' or a sum of them, with l and "
         "frequency from 0 to 3"),
]
OddInt = Annotated[Int, AfterValidator(_check_odd), Noun("an odd integer")]
Name = Annotated[str, AfterValidator(_check_printable), Noun("a name")]


class DataHparams(TextModel):
    source: Name = Field("starter", min_length=1, description=(
        "Structures to crop: `starter` is the set that comes with this package."))
    size_voxels: OddInt = Field(35, ge=5, description=(
        "Side of an image; odd, so that a voxel sits at its centre."))
    resolution_A: Float = Field(1.0, gt=0, description="Side of a voxel [Å].")
    radius_A: Float = Field(0.75, gt=0, description="Radius of every atom [Å].")
    min_density_atoms_nm3: Float = Field(25.0, ge=0, description=(
        "Crops with fewer atoms per volume than this are passed over [atoms/nm³]."))


class ModelHparams(TextModel):
    layers: tuple[FieldsText, ...] = Field(min_length=1, description=(
        "Fields that each layer of the encoder puts out; each layer halves the side of the image, "
        "and the decoder mirrors them."))
    latent: FieldsText = Field(description="Fields of the latent.")
    convs_per_layer: Int = Field(1, ge=1, description="Convolutions at each resolution.")
    grid: Literal[
        "octahedral_48", "octahedral_72", "octahedral_96", "octahedral_120", "octahedral_144",
        "octahedral_192",
    ] = Field("octahedral_96", description=(
        "Points of SO(3) where the nonlinearity of Fourier fields is applied."))
    nonlinearity: Literal["elu", "relu", "hermite", "learned_hermite"] = Field("elu", description=(
        "Pointwise function of Fourier fields and of scalars; `hermite` is the first Hermite "
        "function, `learned_hermite` a learned sum of the first four."))


class LossHparams(TextModel):
    reduction: Literal["mean", "sum"] = Field("sum", description=(
        "How the squared errors of one image become its data loss; batches are always averaged."))
    beta: Float = Field(1.0, ge=0, description="Weight of the prior loss.")


class OptimHparams(TextModel):
    learning_rate: Float = Field(2e-2, gt=0, description="Highest learning rate, after warm-up.")
    warmup_steps: Int = Field(50, ge=0, description=(
        "Steps over which the learning rate rises from zero."))
    gradient_clip: Float = Field(100.0, ge=0, description=(
        "Largest norm of a step's gradient; 0 doesn't clip."))
    batch_size: Int = Field(4, ge=1, description="Crops of one step, over all devices.")


class TrainHparams(TextModel):
    epochs: Int = Field(ge=1, description="Epochs; each ends with a validation.")
    steps_per_epoch: Int = Field(ge=1, description="Optimizer steps of one epoch.")
    num_val_crops: Int = Field(32, ge=1, description="Crops of each validation, always the same.")
    num_test_crops: Int = Field(64, ge=1, description="Crops of the test after training.")
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


def list_keys() -> list[HparamsKey]:
    """Return every key of the schema, for the reference page."""
    return [
        HparamsKey(
            name=name,
            expected=describe_type(field.annotation, field.metadata),
            default=None if field.is_required() else str(field.default),
            description=field.description,
        )
        for name, field in iter_keys(Hparams)
    ]


def load_hparams(path: Path) -> dict[str, Hparams]:
    """
    Return the hyperparameters of each run of an experiment, in the order of the file.

    raises: HparamsError, with every mistake at its file, line and column
    """
    root = load_located(path, HparamsError)
    known = ["shared", "runs"]
    problems = [
        Problem(root.content[key].key_place, say_unknown(key, suggest_key(key, known), known))
        for key in root.content if key not in known
    ]
    nothing = Located({}, root.key_place, root.place)
    shared = root.content.get("shared", nothing)
    runs = root.content.get("runs", nothing)

    problems += [p for p in check_model(Hparams, shared, "shared")[1] if not p.missing]
    if not isinstance(runs.content, dict) and runs.content != "":
        problems.append(Problem(runs.place, "runs: expected names of runs, each with keys below"))
    elif not runs.content:
        problems.append(Problem(runs.key_place, "no runs; name at least one below 'runs:'"))
    else:
        problems += _check_names(runs.content)
        hparams, missing = {}, {}
        for name, values in runs.content.items():
            merged = merge_located(shared, values)
            hparams[name], found = check_model(Hparams, merged, f"run '{name}'")
            problems += [p for p in found if not p.missing]
            missing[name] = [p.missing for p in found if p.missing]
        problems += _place_missing(missing, runs.content, shared)

    if problems:
        raise HparamsError(list_problems(problems))
    return hparams


def _check_names(runs: Mapping[str, Located]) -> list[Problem]:
    problems, seen = [], {}
    for name, values in runs.items():
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
            text = ("expected a name of at most 100 letters, digits, '.', '_' or '-' that does not "
                    f"begin with '.' or '-', got {name!r}")
            problems.append(Problem(values.key_place, f"run: {text}"))
        # Two such runs would share a folder on file systems that ignore case.
        if (other := seen.setdefault(name.lower(), name)) != name:
            text = f"runs '{other}' and '{name}' differ only in upper and lower case"
            problems.append(Problem(values.key_place, text))
    return problems


def _place_missing(
        missing: Mapping[str, list[str]], runs: Mapping[str, Located],
        shared: Located) -> list[Problem]:
    first, *others = missing.values()
    in_every_run = [k for k in first if others and all(k in keys for keys in others)]
    problems = [
        Problem(shared.key_place, f"{key} is missing; give it in 'shared:' or in every run", key)
        for key in in_every_run
    ]
    problems += [
        Problem(runs[name].key_place, f"run '{name}': {key} is missing", key)
        for name, keys in missing.items() for key in keys if key not in in_every_run
    ]
    return problems


def load_resolved(path: Path) -> Hparams:
    """Return the hyperparameters of one run, as `dump_hparams` wrote them into its folder."""
    hparams, problems = check_model(Hparams, load_located(path, HparamsError))
    if problems:
        raise HparamsError(list_problems(problems))
    return hparams


def dump_hparams(hparams: Hparams) -> str:
    """Return NestedText with every value, defaults too; `load_resolved` reads back the equal."""
    return dump_model(hparams)


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


def find_differences(runs: Mapping[str, Hparams]) -> dict[str, dict[str, Any]]:
    """Return, for each run, its values of those dotted keys in which the runs are not all equal."""
    flat = {run: flatten(hparams) for run, hparams in runs.items()}
    names = [name for name, _ in iter_keys(Hparams)]
    differing = [n for n in names if len({values[n] for values in flat.values()}) > 1]
    return {run: {n: values[n] for n in differing} for run, values in flat.items()}
