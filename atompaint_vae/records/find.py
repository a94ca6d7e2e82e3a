"""
Find runs and experiments of a notebook by name.

Experiments are the folders below `expts` that hold `hparams.nt` or `runs/`, at any depth; in a
notebook without `expts`, they are below the folder of its `conf.py`. A run is named
`experiment/run`. An experiment is named by its folder, by the date at the start of the folder's
name, or by the folder's path. `all` stands for all experiments.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..text.files import is_file
from ..text.suggest import suggest
from .record import RunPaths

ALL = "all"

DATE = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d)")
REFERENCE = re.compile(
    r":(?:expt|metric):`([^`]+)`|^\s*\.\. (?:runs|curves|compare):: (.+)", re.MULTILINE
)
"""References to experiments in a page."""

NUMBER_FILE = ".expt/id"
"""The file in which exmemo stores an experiment's number."""

NUMBER = re.compile(r"(\d+)(?:_|$)", re.ASCII)
NUM_DATE_DIGITS = 8


class UnknownRunError(ValueError):
    """A name matches no run or experiment, or several."""


def find_expts_dir(start: Path) -> Path:
    """
    Return the folder that holds the experiments of the notebook that contains a folder.

    It is the folder `expts`, or that of Sphinx's `conf.py` if there is no `expts` beside it.

    raises: UnknownRunError if neither the folder nor one above it has `expts` or `conf.py`
    """
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / "expts").is_dir():
            return folder / "expts"
        if (folder / "conf.py").is_file():
            return folder
    raise UnknownRunError(f"{start}: no folder 'expts' here or above, and no conf.py")


def get_root(expts_dir: Path) -> Path:
    """Return the root of the notebook whose experiments a folder holds."""
    return expts_dir.parent if expts_dir.name == "expts" else expts_dir


def find_experiments(expts_dir: Path) -> list[str]:
    """Return the paths of all experiments below a folder, with slashes, sorted by date."""
    return _find_folders(
        expts_dir, lambda subfolders, files: "hparams.nt" in files or "runs" in subfolders
    )


def find_notes(expts_dir: Path) -> list[str]:
    """Return the paths of all folders with `notes.rst` below a folder, with slashes, sorted."""
    return _find_folders(expts_dir, lambda subfolders, files: "notes.rst" in files)


def _find_folders(top: Path, test: Callable[[list[str], list[str]], bool]) -> list[str]:
    names = []
    for folder, subfolders, files in os.walk(top):
        if folder != str(top) and test(subfolders, files):
            names.append(Path(folder).relative_to(top).as_posix())
        subfolders[:] = sorted(x for x in subfolders if x != "runs" and x[0] not in "._")
    return sorted(names)


def find_experiment(expts_dir: Path, name: str) -> Path:
    """
    Return the folder of one experiment.

    name:   as for `find_runs`; also the part after the date, or a path from the shell's completion,
            such as `expts/20241217_train_vae/`
    raises: UnknownRunError if the name matches none or several
    """
    known = find_experiments(expts_dir)
    name = name.rstrip("/").removeprefix("expts/")
    matches = _match_experiments(known, name) or [
        x for x in known if x.rpartition("/")[2].partition("_")[2] == name
    ]
    return expts_dir / _choose(name, matches, known)


def locate_experiment(name: str) -> Path:
    """
    Return the folder of the experiment that a command's argument names.

    name:   a folder with hparams.nt, or a name as for `find_experiment`
    raises: UnknownRunError as `find_experiment`
    """
    folder = Path(name)
    if (folder / "hparams.nt").exists():
        return folder
    return find_experiment(find_expts_dir(Path.cwd()), name)


def list_runs(expts_dir: Path, experiment: str) -> dict[str, RunPaths]:
    """Return the paths of an experiment's recorded runs, by `experiment/run`."""
    folder = expts_dir / experiment / "runs"
    runs = folder.iterdir() if folder.is_dir() else ()
    recorded = [x for x in runs if (x / "record.nt").exists()]
    recorded.sort(key=lambda run: _split_numbers(run.name))
    return {f"{experiment}/{run.name}": RunPaths(run) for run in recorded}


def find_runs(
    expts_dir: Path,
    names: Sequence[str] = (),
    known: Sequence[str] | None = None,
    list_runs: Callable[[Path, str], dict[str, RunPaths]] = list_runs,
) -> dict[str, RunPaths]:
    """
    Return the paths of recorded runs, by `experiment/run`.

    names:  experiments or runs; all experiments if empty or `all`
    known:  result of `find_experiments`, to avoid calling it again
    list_runs: cached version of the function of that name, to look up many names
    raises: UnknownRunError if a name matches nothing, or several experiments
    """
    if known is None:
        known = find_experiments(expts_dir)
    found = {}
    if list(names) in ([], [ALL]):
        names = known
    for name in names:
        parent, _, run = name.rpartition("/")
        if name in known or not parent:
            if name not in known and not _match_experiments(known, name):
                _check_not_run(expts_dir, known, name)
            experiment = name if name in known else _choose_named(known, name)
            found |= list_runs(expts_dir, experiment)
            continue
        experiment = parent if parent in known else _choose_named(known, parent)
        runs = list_runs(expts_dir, experiment)
        if (run_id := f"{experiment}/{run}") not in runs:
            names_there = [x.rpartition("/")[2] for x in runs]
            hint = suggest(run, names_there)
            raise UnknownRunError(f"unknown run {run!r} of {experiment}; {hint}")
        found[run_id] = runs[run_id]
    return found


def find_references(root: Path, name: str) -> list[str]:
    """Return the places where pages below a folder refer to a name, such as `docs/page.rst:12`."""
    places = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(x for x in subfolders if x != "runs" and x[0] not in "._")
        for path in [Path(folder, x) for x in sorted(files) if x.endswith(".rst")]:
            text = path.read_text("utf-8", "replace")
            for match in REFERENCE.finditer(text):
                words = re.split(r"[\s<>/]+", DATE.sub(r"\1\2\3", match[1] or match[2]))
                if name in words:
                    line = text.count("\n", 0, match.start(match.lastindex)) + 1
                    places.append(f"{path.relative_to(root)}:{line}")
    return places


def get_date(experiment: str) -> str | None:
    """Return the date YYYYMMDD of the innermost dated folder in an experiment's path."""
    for part in reversed(experiment.split("/")):
        date = part.partition("_")[0]
        if len(date) == NUM_DATE_DIGITS and date.isascii() and date.isdigit():
            return date
    return None


def read_number(folder: Path) -> int | None:
    """
    Return an experiment's number: that in `.expt/id`, else the one that its name begins with.

    A date isn't a number.
    """
    path = folder / NUMBER_FILE
    text = path.read_text("utf-8", "replace").strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else parse_number(folder.name)


def parse_number(name: str) -> int | None:
    """Return the number that a folder's name begins with, None if there is none or it's a date."""
    match = NUMBER.match(name)
    return int(match[1]) if match and len(match[1]) != NUM_DATE_DIGITS else None


def _match_experiments(known: Sequence[str], name: str) -> list[str]:
    exact = [x for x in known if name in (x, x.rpartition("/")[2])]
    by_date = [x for x in known if x.rpartition("/")[2].partition("_")[0] == name]
    return exact or by_date


def _check_not_run(expts_dir: Path, known: Sequence[str], name: str) -> None:
    """Check that a name is not that of a run without its experiment; raises: UnknownRunError."""
    for experiment in reversed(known):
        if name and is_file(RunPaths(expts_dir / experiment / "runs" / name).record):
            hint = f"write experiment/run, for example {experiment}/{name}"
            raise UnknownRunError(f"unknown experiment {name!r}; {hint}")


def _choose_named(known: Sequence[str], name: str) -> str:
    return _choose(name, _match_experiments(known, name), known)


def _choose(name: str, matches: Sequence[str], known: Sequence[str]) -> str:
    if len(matches) > 1:
        raise UnknownRunError(f"{name!r} may be {' or '.join(matches)}; give the whole name")
    if not matches:
        raise UnknownRunError(f"unknown experiment {name!r}; {suggest(name, known)}")
    return matches[0]


def _split_numbers(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts run_2 before run_10."""
    parts = re.split(r"([0-9]+)", name)
    return [(not x.isdigit(), int(x) if x.isdigit() else 0, x) for x in parts if x]
