"""What is wrong with the runs of an experiment though their `hparams.nt` is well formed.

A layer that can't be, data that aren't there: whatever can be known before anything trains.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.crops.filters import FilterError
from ..data.hparams import DataHparams
from ..data.sets.sources import StructureCountError
from ..models.vae.hparams import ModelHparams
from ..records.compare import RULES
from ..text.files import is_file
from ..text.located import Located, Problem, list_problems
from ..text.typed import check_model, suggest_key
from ..training.feed import SEED_OF_SPLIT, make_dataset
from .checks_of_run import (
    check_compression,
    check_grids,
    check_learning_rate,
    check_memory,
    check_scale,
    check_shares,
    check_sizes,
    check_symmetry,
    check_warmup,
    find_value,
)
from .hparams import (
    Hparams,
    HparamsError,
    HparamsFile,
    check_trial,
    read_hparams,
    resolve_source,
)
from .space import Search

# What crops have to meet; where nothing does, the first that is written is the likeliest mistake.
FILTERS = (
    "elements",
    "min_occupancy",
    "min_nucleic_share",
    "max_nucleic_share",
    "min_border_distance_A",
    "resolution_A",
    "size_voxels",
)


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
    nothing = Located({}, values.key_place, values.place)
    return check_model(section, _get_content(values).get(name, nothing))[0]


def _get_content(values: Located) -> Mapping[str, Located]:
    return values.content if isinstance(values.content, dict) else {}


def check_data(
    values: Mapping[str, Located], runs: Mapping[str, Hparams], expt_dir: Path
) -> Iterator[Problem]:
    """Problems of structures that can't be read, splits without any, filters that nothing passes.

    Data are looked at even where other sections of the run are wrong.
    """
    seen = set()
    for name, written in values.items():
        data = _check_section(DataHparams, written, "data")
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
            yield Problem(place, f"data.source: {source}: no such file{hint}")
            continue
        for split in SEED_OF_SPLIT:
            try:
                make_dataset(hparams, expt_dir, split)
            except StructureCountError as error:
                place_of_count = find_value(written, "data", "num_train_structures").place
                yield Problem(place_of_count, f"data.num_train_structures: {error}")
            except FilterError as error:
                keys = [key for key in FILTERS if key in _get_content(find_value(written, "data"))]
                key = (*keys, "source")[0]
                yield Problem(find_value(written, "data", key).place, f"data.{key}: {error}")
                break  # the other splits would say the same
            except (ValueError, OSError) as error:
                yield Problem(place, f"data.source: {error}")


def _make_any_hparams(data: DataHparams) -> Hparams:
    return Hparams(
        data=data,
        model=ModelHparams(layers=("1x0e",), latent="1x0e"),
        train={"epochs": 1, "steps_per_epoch": 1},
    )
