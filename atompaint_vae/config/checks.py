"""Checks of a well-formed `hparams.nt`, before anything trains.

They find layers that can't be built, missing data, batches that can't be split over devices. Checks
of one kind of model are in its `Objective`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import pi
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..data.crops.filters import FilterError
from ..data.hparams import DataHparams
from ..data.sets.sources import StructureCountError
from ..models.kind import KINDS, get_kind
from ..text.files import is_file
from ..text.located import Located, Place, Problem, find_value, list_problems
from ..text.suggest import suggest_key
from ..text.typed import COMMENT_HINT, check_model, has_comment
from .datasets import SEED_OF_SPLIT, make_dataset, resolve_source
from .hparams import HparamsError, HparamsFile, check_trial, read_hparams
from .schema import Hparams, find_kind, get_schema, list_rules
from .space import Search

# Conditions on crops. If no crop meets them, the first one in the file is the likeliest mistake.
FILTERS = (
    "elements",
    "min_occupancy",
    "min_nucleic_share",
    "max_nucleic_share",
    "min_border_distance_A",
    "resolution_A",
    "size_voxels",
)

MIN_SHARE = 1e-6
"""Smallest fraction of a voxel that an atom may fill; below it, images are empty in float32."""


@dataclass(frozen=True)
class CheckedExperiment:
    """values: what is written for each run
    warnings: values that are allowed, but rarely intended
    """

    values: dict[str, Located]
    runs: dict[str, Hparams]
    warnings: list[str]


def check_experiment(
    path: Path, *, num_devices: int = 1, names: Collection[str] = ()
) -> CheckedExperiment:
    """Return the runs of an experiment's `hparams.nt`, after checking that they can be trained.

    num_devices: devices that share each batch
    names:       runs that use these devices; all runs if empty
    raises:      HparamsError with every mistake at its file, line and column
    """
    file = read_hparams(path)
    expt_dir = Path(path).parent
    found, warnings = check_runs(file.values, file.runs)
    for name, hparams in file.runs.items():
        if num_devices > 1 and (not names or name in names):
            found += check_shares(hparams, num_devices, file.values[name])
    problems = [*file.problems, *found, *check_data(file.values, file.runs, expt_dir)]
    if file.search:
        problems += [] if has_own_data(file.search) else check_shared_data(file, expt_dir)
        warnings += check_metric(file.search)
    if problems:
        raise HparamsError(list_problems(problems))
    return CheckedExperiment(file.values, file.runs, group_warnings(warnings))


def group_warnings(warnings: Iterable[Problem]) -> list[str]:
    """Return a line for each text, at its first place; further places are at the line's end."""
    in_order = sorted(warnings, key=lambda x: (str(x.place.path), x.place.line, x.place.column))
    places: dict[str, list[Place]] = {}
    for warning in in_order:
        places.setdefault(warning.text, []).append(warning.place)
    lines = []
    for text, (first, *others) in places.items():
        more = [f"line {x.line}" if x.path == first.path else str(x) for x in others if x != first]
        also = f" (also at {', '.join(dict.fromkeys(more))})" if more else ""
        lines.append(f"{first}: {text}{also}")
    return lines


def check_runs(
    values: Mapping[str, Located], runs: Mapping[str, Hparams]
) -> tuple[list[Problem], list[Problem]]:
    """Return problems of runs, except those of their data, and warnings of unusual values.

    values: what is written for each run
    runs:   the well-formed ones
    """
    problems, warnings = [], []
    for name, written in values.items():
        sections = check_sections(written)
        if sections.data is not None:
            problems += check_scale(sections.data, written)
        if find_kind(written) in KINDS:
            objective = get_kind(find_kind(written)).load_objective()
            problems += objective.check(sections, written)
            warnings += objective.check_sizes(sections, written)
        if name in runs:
            problems += check_learning_rate(runs[name], written)
            warnings += check_warmup(runs[name], written)
            warnings += check_average(runs[name], written)
            warnings += check_repeats(runs[name], written)
            warnings += get_kind(runs[name].kind).load_objective().check_effects(
                runs[name], written
            )
    return problems, warnings


def find_infeasibility(
    file: HparamsFile, values: Mapping[str, Any], expt_dir: Path
) -> tuple[Hparams | None, str | None]:
    """Return the hyperparameters of a trial of the file's search, and why it can't be trained.

    values: the sampled values
    """
    written, hparams, problems = check_trial(file, values, expt_dir)
    if hparams is not None:
        values, runs = {"trial": written}, {"trial": hparams}
        objective = get_kind(hparams.kind).load_objective()
        problems = check_runs(values, runs)[0]
        problems = problems or list(objective.check_sizes(check_sections(written), written))
        if not problems and has_own_data(file.search):
            problems = list(check_data(values, runs, expt_dir))
    texts = [problem.text.removeprefix("warning: ") for problem in problems]
    return hparams, "; ".join(dict.fromkeys(texts)) or None


def has_own_data(search: Search) -> bool:
    """Return whether a search samples hyperparameters of the data."""
    return any(key.startswith("data.") for key in search.space)


def check_shared_data(file: HparamsFile, expt_dir: Path) -> Iterator[Problem]:
    """Yield problems of the data that all trials share: they would make every trial infeasible."""
    written, hparams, _ = check_trial(file, file.search.make_example(), expt_dir)
    if hparams is not None:
        yield from check_data({"trial": written}, {"trial": hparams}, expt_dir)


def check_metric(search: Search) -> Iterator[Problem]:
    """Yield warnings of sampled keys that change the meaning of the search's metric."""
    metric = search.settings.metric
    for keys, parts, why in list_rules():
        for key in keys:
            if key in search.space and any(part in metric for part in parts):
                text = f"warning: search.space.{key}: trials aren't comparable by {metric}: {why}"
                yield Problem(search.places[key], text)


def check_sections(written: Located) -> SimpleNamespace:
    """Return each section by itself, None if it is ill formed.

    Thus a mistake in one section doesn't hide those in another.
    """
    kind = find_kind(written)
    fields = get_schema(kind if kind in KINDS else next(iter(KINDS))).model_fields
    content = written.content if isinstance(written.content, dict) else {}
    nothing = Located({}, written.key_place, written.place)
    return SimpleNamespace(**{
        name: check_model(fields[name].annotation, content.get(name, nothing))[0]
        for name in ("data", "model", "loss", "optim", "train")
    })


def check_data(
    values: Mapping[str, Located], runs: Mapping[str, Hparams], expt_dir: Path
) -> Iterator[Problem]:
    """Yield problems of unreadable structures, and of splits and filters that leave no crops.

    Data are checked even if other sections of the run are wrong.
    """
    seen = set()
    for name, written in values.items():
        data = check_sections(written).data
        place = find_value(written, "data", "source").place
        if data is None or (data, place) in seen:
            continue
        seen.add((data, place))
        if data.min_nucleic_share > data.max_nucleic_share:
            text = (
                f"data.min_nucleic_share: {data.min_nucleic_share:g} is above "
                f"data.max_nucleic_share {data.max_nucleic_share:g}"
            )
            yield Problem(find_value(written, "data", "min_nucleic_share").place, text)
            continue
        hparams = runs.get(name) or _make_any_hparams(data)
        source = resolve_source(hparams, expt_dir)
        if isinstance(source, Path) and not is_file(source):
            near = suggest_key(data.source, ["starter"])
            hint = f"; did you mean '{near}'?" if near else ""
            if has_comment(data.source):
                hint = f"; {COMMENT_HINT}"
            yield Problem(place, f"data.source: {source}: no such file{hint}")
            continue
        for split in SEED_OF_SPLIT:
            try:
                make_dataset(hparams, expt_dir, split)
            except StructureCountError as error:
                place_of_count = find_value(written, "data", "num_train_structures").place
                yield Problem(place_of_count, f"data.num_train_structures: {error}")
            except FilterError as error:
                found = find_value(written, "data").content
                keys = [key for key in FILTERS if isinstance(found, dict) and key in found]
                key = (*keys, "source")[0]
                yield Problem(find_value(written, "data", key).place, f"data.{key}: {error}")
                break  # the other splits have the same problem
            except (ValueError, OSError) as error:
                yield Problem(place, f"data.source: {error}")


def _make_any_hparams(data: DataHparams) -> SimpleNamespace:
    train = SimpleNamespace(steps_per_epoch=1, num_val_crops=1, num_test_crops=1)
    return SimpleNamespace(seed=0, data=data, optim=SimpleNamespace(batch_size=1), train=train)


def check_scale(data: DataHparams, values: Located) -> Iterator[Problem]:
    """Yield problems of atoms too large or too small to show."""
    place = find_value(values, "data", "radius_A").place
    side_A = data.size_voxels * data.resolution_A
    share = 4 / 3 * pi * (data.radius_A / data.resolution_A) ** 3
    if data.radius_A > side_A:
        text = f"data.radius_A: {data.radius_A:g} Å is more than the side of an image, {side_A:g} Å"
        yield Problem(place, text)
    elif share < MIN_SHARE:
        text = f"data.radius_A: an atom of {data.radius_A:g} Å fills {share:.2g} of a voxel of"
        yield Problem(place, f"{text} {data.resolution_A:g} Å; expected at least {MIN_SHARE:g}")


def check_learning_rate(hparams: Hparams, values: Located) -> Iterator[Problem]:
    """Yield a problem if Adam's first step, ten times the learning rate, overflows."""
    rate, most = hparams.optim.learning_rate, float(np.finfo(np.float32).max) / 10
    if rate > most:
        text = f"optim.learning_rate: expected a number <= {most:.3g}, got {rate:g}"
        yield Problem(find_value(values, "optim", "learning_rate").place, text)


def check_warmup(hparams: Hparams, values: Located) -> list[Problem]:
    """Return a warning if the learning rate never reaches its maximum."""
    num_steps = hparams.train.epochs * hparams.train.steps_per_epoch
    if hparams.optim.warmup_steps < num_steps:
        return []
    text = (
        f"warning: optim.warmup_steps: {hparams.optim.warmup_steps} steps of warm-up, but "
        f"the run has only {num_steps}; the learning rate never reaches its maximum"
    )
    return [Problem(find_value(values, "optim", "warmup_steps").place, text)]


def check_average(hparams: Hparams, values: Located) -> list[Problem]:
    """Return a warning if an average of the weights remembers more steps than the run has."""
    num_steps = hparams.train.epochs * hparams.train.steps_per_epoch
    memory_steps = 1 / (1 - hparams.optim.ema_decay)
    if memory_steps < num_steps:
        return []
    text = (
        f"warning: optim.ema_decay: {hparams.optim.ema_decay:g} averages over some "
        f"{memory_steps:,.0f} steps, but the run has only {num_steps}; the average stays near the "
        "first weights"
    )
    return [Problem(find_value(values, "optim", "ema_decay").place, text)]


def check_repeats(hparams: Hparams, values: Located) -> list[Problem]:
    """Return a warning if a run is too short to see all of its crops."""
    num_crops = hparams.data.num_train_crops
    train, batch_size = hparams.train, hparams.optim.batch_size
    num_seen = train.epochs * train.steps_per_epoch * batch_size
    if num_crops <= num_seen:
        return []
    text = f"warning: data.num_train_crops: {num_crops:,} crops, but the run sees only {num_seen:,}"
    return [Problem(find_value(values, "data", "num_train_crops").place, text)]


def check_shares(hparams: Hparams, num_devices: int, values: Located) -> Iterator[Problem]:
    """Yield problems of batches and crops that can't be split over the devices."""
    batch_size = hparams.optim.batch_size
    if batch_size % num_devices:
        text = (
            f"optim.batch_size: expected a multiple of {num_devices}, since "
            f"{num_devices} devices share each batch equally; got {batch_size}"
        )
        yield Problem(find_value(values, "optim", "batch_size").place, text)
    for key in ("num_val_crops", "num_test_crops"):
        if (num_crops := getattr(hparams.train, key)) < num_devices:
            text = (
                f"train.{key}: expected at least one for each of {num_devices} devices, "
                f"got {num_crops}"
            )
            yield Problem(find_value(values, "train", key).place, text)
    yield from get_kind(hparams.kind).load_objective().check_devices(hparams, values)
