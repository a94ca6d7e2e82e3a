"""What is wrong with the runs of an experiment though their `hparams.nt` is well formed.

A layer that can't be, data that aren't there: whatever can be known before anything trains.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import pi, prod
from pathlib import Path
from typing import Any

import numpy as np

from ..data.sources import StructureCountError
from ..data.voxelize import CHANNELS
from ..nn.fields import parse_field_type
from ..nn.grids import GRIDS, calc_synthesis, load_grid
from ..nn.resample import calc_halved_size
from .compare import RULES
from .feed import SEED_OF_SPLIT, make_dataset
from .hparams import (
    Hparams,
    HparamsError,
    HparamsFile,
    check_trial,
    read_hparams,
    resolve_source,
)
from .located import Located, Problem, list_problems
from .nestedtext_models import check_model, suggest_key
from .plan_text import format_bytes
from .schema import DataHparams, ModelHparams
from .space import Search

BYTES_OF_NUMBER = 4  # float32

MIN_SHARE = 1e-6
"""Of a voxel, that an atom fills: images of less are empty in float32."""


@dataclass(frozen=True)
class CheckedExperiment:
    """warnings: what may be meant, but seldom is"""

    runs: dict[str, Hparams]
    warnings: list[str]


def check_experiment(
    path: Path, *, num_devices: int = 1, names: Collection[str] = ()
) -> CheckedExperiment:
    """The runs of an experiment's `hparams.nt`, all of which can be trained.

    num_devices: that share each batch of the runs of these names; without any, of all
    raises:      HparamsError, with every mistake at its file, line and column
    """
    file = read_hparams(path)
    expt_dir = Path(path).parent
    found, warnings = check_runs(file.values, file.runs)
    for name, hparams in file.runs.items():
        if not names or name in names:
            found += check_shares(hparams, num_devices, file.values[name])
    problems = [*file.problems, *found, *check_data(file.values, file.runs, expt_dir)]
    if file.search:
        problems += [] if has_own_data(file.search) else check_shared_data(file, expt_dir)
        warnings += check_metric(file.search)
    if problems:
        raise HparamsError(list_problems(problems))
    return CheckedExperiment(file.runs, list_problems(warnings).splitlines())


def check_runs(
    values: Mapping[str, Located], runs: Mapping[str, Hparams]
) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with runs but for their data, and what may be meant, but seldom is.

    values: what is written for each run
    runs:   those that are well formed
    """
    problems, warnings = [], []
    for written in values.values():
        data = _check_section(DataHparams, written, "data")
        model = _check_section(ModelHparams, written, "model")
        if model is not None:
            problems += check_grids(model, written)
            problems += check_symmetry(model, written)
        if model is not None and data is not None:
            found = check_sizes(model, data, written)
            problems += found
            warnings += [] if found else check_compression(model, data, written)
        if data is not None:
            problems += check_scale(data, written)
    for name, hparams in runs.items():
        problems += check_learning_rate(hparams, values[name])
        if not check_sizes(hparams.model, hparams.data, values[name]):
            problems += check_memory(hparams, values[name])
        warnings += check_warmup(hparams, values[name])
    return problems, warnings


def find_infeasibility(
    file: HparamsFile, values: Mapping[str, Any], expt_dir: Path
) -> tuple[Hparams | None, str | None]:
    """The hyperparameters of a trial of the file's search, and why it can't be trained.

    values: those that were sampled
    """
    written, hparams, problems = check_trial(file, values, expt_dir)
    if hparams is not None:
        values, runs = {"trial": written}, {"trial": hparams}
        problems = check_runs(values, runs)[0]
        problems = problems or check_compression(hparams.model, hparams.data, written)
        if not problems and has_own_data(file.search):
            problems = list(check_data(values, runs, expt_dir))
    texts = [problem.text.removeprefix("warning: ") for problem in problems]
    return hparams, "; ".join(dict.fromkeys(texts)) or None


def has_own_data(search: Search) -> bool:
    """Whether the data of a search's trials differ."""
    return any(key.startswith("data.") for key in search.space)


def check_shared_data(file: HparamsFile, expt_dir: Path) -> Iterator[Problem]:
    """Problems of the data that all trials have: without any, all would be infeasible."""
    written, hparams, _ = check_trial(file, file.search.make_example(), expt_dir)
    if hparams is not None:
        yield from check_data({"trial": written}, {"trial": hparams}, expt_dir)


def check_metric(search: Search) -> Iterator[Problem]:
    """Problems of keys that change what the search's metric means."""
    metric = search.settings.metric
    for keys, part, why in RULES:
        for key in keys:
            if key in search.space and part in metric:
                text = f"warning: search.space.{key}: trials aren't comparable by {metric}: {why}"
                yield Problem(search.places[key], text)


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
    """The problem of a latent of no fewer numbers than the image."""
    size = data.size_voxels
    for _ in model.layers:
        size = calc_halved_size(size)
    num_latent = parse_field_type(model.latent).size * size**3
    num_image = prod((len(CHANNELS), *[data.size_voxels] * 3))
    if num_latent < num_image:
        return []
    text = (
        f"warning: model.latent: {num_latent:,} numbers, no fewer than the image's {num_image:,}: "
        f"compression ratio {num_image / num_latent:.2f}"
    )
    return [Problem(_find(values, "model", "latent").place, text)]


def check_scale(data: DataHparams, values: Located) -> Iterator[Problem]:
    """Problems of atoms that no image could show."""
    place = _find(values, "data", "radius_A").place
    side_A = data.size_voxels * data.resolution_A
    share = 4 / 3 * pi * (data.radius_A / data.resolution_A) ** 3
    if data.radius_A > side_A:
        text = f"data.radius_A: {data.radius_A:g} Å is more than the side of an image, {side_A:g} Å"
        yield Problem(place, text)
    elif share < MIN_SHARE:
        text = f"data.radius_A: an atom of {data.radius_A:g} Å fills {share:.2g} of a voxel of"
        yield Problem(place, f"{text} {data.resolution_A:g} Å; expected at least {MIN_SHARE:g}")


def check_learning_rate(hparams: Hparams, values: Located) -> Iterator[Problem]:
    """The problem of a first step of Adam's, ten times the learning rate, that overflows."""
    rate, most = hparams.optim.learning_rate, np.finfo(np.float32).max / 10
    if rate > most:
        text = f"optim.learning_rate: expected a number <= {most:.3g}, got {rate:g}"
        yield Problem(_find(values, "optim", "learning_rate").place, text)


def check_memory(hparams: Hparams, values: Located) -> Iterator[Problem]:
    """The problem of a batch that no machine like this could hold."""
    size, model = hparams.data.size_voxels, hparams.model
    num_numbers = len(CHANNELS) * size**3
    for layer in model.layers:
        size = calc_halved_size(size)
        num_numbers += parse_field_type(layer).size * size**3
    num_numbers += parse_field_type(model.latent).size * size**3
    num_bytes = BYTES_OF_NUMBER * hparams.optim.batch_size * num_numbers
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_bytes > memory_bytes:
        text = (
            f"data.size_voxels: a batch, its layers and its latent take {format_bytes(num_bytes)} "
            f"at least; this machine has {format_bytes(memory_bytes)}"
        )
        yield Problem(_find(values, "data", "size_voxels").place, text)


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


def check_shares(hparams: Hparams, num_devices: int, values: Located) -> Iterator[Problem]:
    """Problems of crops that devices can't share."""
    batch_size = hparams.optim.batch_size
    if batch_size % num_devices:
        text = (
            f"optim.batch_size: expected a multiple of {num_devices}, since --devices "
            f"{num_devices} share each batch equally; got {batch_size}"
        )
        yield Problem(_find(values, "optim", "batch_size").place, text)
    for key in ("num_val_crops", "num_test_crops"):
        if (num_crops := getattr(hparams.train, key)) < num_devices:
            text = (
                f"train.{key}: expected at least one for each of --devices {num_devices}, "
                f"got {num_crops}"
            )
            yield Problem(_find(values, "train", key).place, text)


def check_data(
    values: Mapping[str, Located], runs: Mapping[str, Hparams], expt_dir: Path
) -> Iterator[Problem]:
    """Problems of structures that can't be read, splits without any, filters that nothing passes.

    Data are looked at even where other sections of the run are wrong.
    """
    seen = set()
    for name, written in values.items():
        data = _check_section(DataHparams, written, "data")
        place = _find(written, "data", "source").place
        if data is None or (data, place) in seen:
            continue
        seen.add((data, place))
        if data.min_nucleic_share > data.max_nucleic_share:
            text = (
                f"data.min_nucleic_share: {data.min_nucleic_share:g} is above "
                f"data.max_nucleic_share {data.max_nucleic_share:g}"
            )
            yield Problem(_find(written, "data", "min_nucleic_share").place, text)
            continue
        hparams = runs.get(name) or _make_any_hparams(data)
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
                place_of_count = _find(written, "data", "num_train_structures").place
                yield Problem(place_of_count, f"data.num_train_structures: {error}")
            except (ValueError, OSError) as error:
                yield Problem(place, f"data.source: {error}")


def _make_any_hparams(data: DataHparams) -> Hparams:
    return Hparams(
        data=data,
        model=ModelHparams(layers=("1x0e",), latent="1x0e"),
        train={"epochs": 1, "steps_per_epoch": 1},
    )
