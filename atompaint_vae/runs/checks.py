"""What is wrong with the runs of an experiment though their `hparams.nt` is well formed.

A layer that can't be, data that aren't there: whatever can be known before anything trains.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ..data.sources import StructureCountError
from ..data.voxelize import CHANNELS
from ..nn.fields import parse_field_type
from ..nn.grids import GRIDS, calc_synthesis, load_grid
from ..nn.resample import calc_halved_size
from .feed import SEED_OF_SPLIT, make_dataset
from .hparams import Hparams, HparamsError, HparamsFile, read_hparams, resolve_source
from .located import Located, Problem, list_problems
from .nestedtext_models import check_model, suggest_key
from .schema import DataHparams, ModelHparams


@dataclass(frozen=True)
class CheckedExperiment:
    """warnings: what may be meant, but seldom is"""

    runs: dict[str, Hparams]
    warnings: list[str]


def check_experiment(path: Path) -> CheckedExperiment:
    """The runs of an experiment's `hparams.nt`, all of which can be trained.

    raises: HparamsError, with every mistake at its file, line and column
    """
    file = read_hparams(path)
    problems, warnings = list(file.problems), []
    for values in file.values.values():
        data = _check_section(DataHparams, values, "data")
        model = _check_section(ModelHparams, values, "model")
        if model is not None:
            problems += check_grids(model, values)
            problems += check_symmetry(model, values)
        if model is not None and data is not None:
            found = check_sizes(model, data, values)
            problems += found
            warnings += [] if found else check_compression(model, data, values)
    for name, hparams in file.runs.items():
        warnings += check_warmup(hparams, file.values[name])
    problems += check_data(file, Path(path).parent)
    if problems:
        raise HparamsError(list_problems(problems))
    return CheckedExperiment(file.runs, list_problems(warnings).splitlines())


def _check_section(section: type, values: Located, name: str):
    """A section by itself, so that a mistake in another doesn't hide those in this one."""
    content = values.content if isinstance(values.content, dict) else {}
    nothing = Located({}, values.key_place, values.place)
    return check_model(section, content.get(name, nothing))[0]


def _find(values: Located, *keys: str | int) -> Located:
    """The value of a key; where it has its default, what it would be in."""
    for key in keys:
        try:
            values = values.content[key]
        except (KeyError, IndexError, TypeError):
            break
    return values


def check_grids(model: ModelHparams, values: Located) -> Iterator[Problem]:
    """Problems of layers whose fields the grid can't hold."""
    for i, layer in enumerate(model.layers):
        for term in parse_field_type(layer).terms:
            if term.kind == "irrep" or model.grid == "auto" or _can_hold(model.grid, term):
                continue
            others = [grid for grid in GRIDS if _can_hold(grid, term)]
            place = _find(values, "model", "layers", i).place
            yield Problem(
                place,
                f"model.layers[{i}]: {term.kind} fields of frequency {term.frequency} are too fine "
                f"for model.grid {model.grid}; expected {' or '.join(others)}",
            )


def check_symmetry(model: ModelHparams, values: Located) -> Iterator[Problem]:
    """Problems of fields that turn, in a network that doesn't."""
    if model.symmetry == "rotation":
        return
    for keys in (*(("layers", i) for i in range(len(model.layers))), ("latent",)):
        place = _find(values, "model", *keys)
        irreps = parse_field_type(place.content).irreps
        if irreps.lmax > 0:
            name = "latent" if keys == ("latent",) else f"layers[{keys[1]}]"
            yield Problem(
                place.place,
                f"model.{name}: {place.content} turns, but model.symmetry is none; "
                f"expected scalars such as {irreps.dim}x0e",
            )


def _can_hold(grid: str, term) -> bool:
    try:
        calc_synthesis(term, load_grid(grid))
    except ValueError:
        return False
    return True


def check_sizes(model: ModelHparams, data: DataHparams, values: Located) -> list[Problem]:
    """The problem of a layer that is given a single voxel."""
    sizes = [data.size_voxels]
    while sizes[-1] >= 3:
        sizes.append(calc_halved_size(sizes[-1]))
    most = len(sizes) - 1
    if len(model.layers) <= most:
        return []
    text = (
        f"model.layers: {len(model.layers)} layers, but {data.size_voxels} voxels can be halved "
        f"only {most} times: {' → '.join(map(str, sizes))}"
    )
    return [Problem(_find(values, "model", "layers", most).place, text)]


def check_compression(model: ModelHparams, data: DataHparams, values: Located) -> list[Problem]:
    """The problem of a latent of more numbers than the image."""
    size = data.size_voxels
    for _ in model.layers:
        size = calc_halved_size(size)
    num_latent = parse_field_type(model.latent).size * size**3
    num_image = prod((len(CHANNELS), *[data.size_voxels] * 3))
    if num_latent <= num_image:
        return []
    text = (
        f"warning: model.latent: {num_latent:,} numbers, more than the image's {num_image:,}: "
        f"compression ratio {num_image / num_latent:.2f}"
    )
    return [Problem(_find(values, "model", "latent").place, text)]


def check_warmup(hparams: Hparams, values: Located) -> list[Problem]:
    """The problem of a learning rate that never comes to its height."""
    num_steps = hparams.train.epochs * hparams.train.steps_per_epoch
    if hparams.optim.warmup_steps < num_steps:
        return []
    text = (
        f"warning: optim.warmup_steps: {hparams.optim.warmup_steps} steps of warm-up, but "
        f"the run has only {num_steps}; the learning rate doesn't come to its height"
    )
    return [Problem(_find(values, "optim", "warmup_steps").place, text)]


def check_data(file: HparamsFile, expt_dir: Path) -> Iterator[Problem]:
    """Problems of structures that can't be read, splits without any, filters that nothing passes.

    Data are looked at even where other sections of the run are wrong.
    """
    seen = set()
    for name, values in file.values.items():
        data = _check_section(DataHparams, values, "data")
        place = _find(values, "data", "source").place
        if data is None or (data, place) in seen:
            continue
        seen.add((data, place))
        if data.min_nucleic_share > data.max_nucleic_share:
            text = (
                f"data.min_nucleic_share: {data.min_nucleic_share:g} is above "
                f"data.max_nucleic_share {data.max_nucleic_share:g}"
            )
            yield Problem(_find(values, "data", "min_nucleic_share").place, text)
            continue
        hparams = file.runs.get(name) or _make_any_hparams(data)
        source = resolve_source(hparams, expt_dir)
        if isinstance(source, Path) and not source.is_file():
            near = suggest_key(data.source, ["starter"])
            hint = f"; did you mean '{near}'?" if near else ""
            yield Problem(place, f"data.source: {source}: no such file{hint}")
            continue
        for split in SEED_OF_SPLIT:
            try:
                make_dataset(hparams, expt_dir, split)
            except StructureCountError as error:
                place_of_count = _find(values, "data", "num_train_structures").place
                yield Problem(place_of_count, f"data.num_train_structures: {error}")
            except (ValueError, OSError) as error:
                yield Problem(place, f"data.source: {error}")


def _make_any_hparams(data: DataHparams) -> Hparams:
    return Hparams(
        data=data,
        model=ModelHparams(layers=("1x0e",), latent="1x0e"),
        train={"epochs": 1, "steps_per_epoch": 1},
    )
