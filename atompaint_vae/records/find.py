"""
Find runs and experiments of a notebook by name.

Experiments are the folders below `expts` that hold `hparams.nt` or records of runs, at any depth;
in a notebook without `expts`, they are below the folder of its `conf.py`.

An experiment is named by its folder, the date or number at the start of the folder's name, the rest
of that name, or the folder's path below `expts`. A run is named `experiment/run`; within its own
experiment, on its pages or in its folder, `run` will do. `all` stands for all experiments. Commands
also take paths, as a shell completes them. The same names work in commands and on pages.
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


def get_expts_dir(root: Path) -> Path:
    """Return the folder that holds the experiments of a notebook, by the notebook's root."""
    return root / "expts" if (root / "expts").is_dir() else root


def get_root(expts_dir: Path) -> Path:
    """Return the root of the notebook whose experiments a folder holds."""
    return expts_dir.parent if expts_dir.name == "expts" else expts_dir


def find_experiments(expts_dir: Path) -> list[str]:
    """Return the paths of all experiments below a folder, with slashes, sorted by date."""
    return _find_folders(
        expts_dir,
        lambda folder, subfolders, files: "hparams.nt" in files
        or ("runs" in subfolders and any(Path(folder).glob("runs/*/record.nt"))),
    )


def find_notes(expts_dir: Path) -> list[str]:
    """Return the paths of all folders with `notes.rst` below a folder, with slashes, sorted."""
    return _find_folders(expts_dir, lambda folder, subfolders, files: "notes.rst" in files)


def _find_folders(top: Path, test: Callable[[str, list[str], list[str]], bool]) -> list[str]:
    names = []
    for folder, subfolders, files in os.walk(top):
        if "pyvenv.cfg" in files:  # an environment of Python in a notebook of one's own
            subfolders.clear()
            continue
        if folder != str(top) and test(folder, subfolders, files):
            names.append(Path(folder).relative_to(top).as_posix())
        subfolders[:] = sorted(x for x in subfolders if x != "runs" and x[0] not in "._")
    return sorted(names)


def find_experiment(expts_dir: Path, name: str) -> Path:
    """
    Return the folder of one experiment.

    raises: UnknownRunError if the name matches none or several
    """
    known = find_experiments(expts_dir)
    return expts_dir / _choose(expts_dir, known, name.rstrip("/").removeprefix("expts/"))


def find_own_experiment(known: Sequence[str], path: str) -> str | None:
    """
    Return the experiment whose folder a page or folder lies in, at any depth.

    path: below `expts`, with slashes
    """
    return max((x for x in known if f"{path}/".startswith(f"{x}/")), key=len, default=None)


def locate_experiment(name: str) -> Path:
    """
    Return the folder of the experiment that a command's argument names.

    name:   as for `find_experiment`, or a path from the current folder
    raises: UnknownRunError as `find_experiment`
    """
    folder = Path(name)
    if (folder / "hparams.nt").exists():
        return folder
    expts_dir = find_expts_dir(Path.cwd())
    return find_experiment(expts_dir, _strip_path(name, expts_dir))


def locate_runs(names: Sequence[str]) -> dict[str, RunPaths]:
    """
    Return the paths of the recorded runs that a command's arguments name, by `experiment/run`.

    names:  as for `find_runs`, or paths from the current folder
    raises: UnknownRunError as `find_runs`
    """
    expts_dir = find_expts_dir(Path.cwd())
    known, here = find_experiments(expts_dir), Path.cwd().resolve()
    inside = here.relative_to(expts_dir).as_posix() if here.is_relative_to(expts_dir) else "."
    own = find_own_experiment(known, inside)
    return find_runs(expts_dir, [_strip_path(x, expts_dir) for x in names], known, own=own)


def _strip_path(name: str, expts_dir: Path) -> str:
    """Return a name for `find_runs` from a path that the shell completed."""
    path = Path(name).resolve()
    if not (path.is_dir() and path.is_relative_to(expts_dir) and path != expts_dir):
        return name
    return "/".join(x for x in path.relative_to(expts_dir).parts if x != "runs")


def list_runs(expts_dir: Path, experiment: str) -> dict[str, RunPaths]:
    """Return the paths of an experiment's recorded runs, by `experiment/run`."""
    folder = expts_dir / experiment / "runs"
    names = [x.name for x in os.scandir(folder)] if folder.is_dir() else []
    # Thousands on a large notebook's pages; a Path takes longer.
    recorded = [x for x in names if os.path.exists(f"{folder}/{x}/record.nt")]  # noqa: PTH110
    recorded.sort(key=_split_numbers)
    return {f"{experiment}/{name}": RunPaths(folder / name) for name in recorded}


def find_runs(
    expts_dir: Path,
    names: Sequence[str] = (),
    known: Sequence[str] | None = None,
    list_runs: Callable[[Path, str], dict[str, RunPaths]] = list_runs,
    own: str | None = None,
) -> dict[str, RunPaths]:
    """
    Return the paths of recorded runs, by `experiment/run`.

    names:  experiments or runs; all experiments if empty or `all`
    known:  result of `find_experiments`, to avoid calling it again
    list_runs: cached version of the function of that name, to look up many names
    own:    the experiment whose runs need no prefix
    raises: UnknownRunError if a name matches nothing, or several experiments
    """
    if known is None:
        known = find_experiments(expts_dir)
    found = {}
    if list(names) in ([], [ALL]):
        names = known
    for name in names:
        parent, _, run = name.rpartition("/")
        if name in known:
            found |= list_runs(expts_dir, name)
        elif parent:
            experiment = parent if parent in known else _choose(expts_dir, known, parent)
            found |= _choose_run(list_runs(expts_dir, experiment), experiment, run)
        elif own and not _match_folders(known, name) and f"{own}/{name}" in (
            runs := list_runs(expts_dir, own)
        ):
            found |= _choose_run(runs, own, name)
        else:
            found |= list_runs(expts_dir, _choose(expts_dir, known, name))
    return found


def _choose_run(runs: dict[str, RunPaths], experiment: str, run: str) -> dict[str, RunPaths]:
    if (id := f"{experiment}/{run}") not in runs:
        hint = suggest(run, [x.rpartition("/")[2] for x in runs])
        raise UnknownRunError(f"unknown run {run!r} of {experiment}; {hint}")
    return {id: runs[id]}


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


def _match_folders(known: Sequence[str], name: str) -> list[str]:
    """Return the experiments whose path, folder or date a name is."""
    exact = [x for x in known if name in (x, x.rpartition("/")[2])]
    by_date = [x for x in known if x.rpartition("/")[2].partition("_")[0] == name]
    return exact or by_date


def _choose(expts_dir: Path, known: Sequence[str], name: str) -> str:
    """Return the one experiment that a name matches; raises: UnknownRunError."""
    matches = _match_folders(known, name)
    if not matches:
        matches = [x for x in known if x.rpartition("/")[2].partition("_")[2] == name]
    if not matches and name.isdecimal():
        matches = [x for x in known if read_number(expts_dir / x) == int(name)]
    if len(matches) > 1:
        raise UnknownRunError(f"{name!r} may be {' or '.join(matches)}; give the whole name")
    if not matches:
        raise UnknownRunError(_say_unknown(expts_dir, known, name))
    return matches[0]


def _say_unknown(expts_dir: Path, known: Sequence[str], name: str) -> str:
    parent, _, run = name.rpartition("/")
    for experiment in _match_folders(known, parent) if parent else ():
        if is_file(RunPaths(expts_dir / experiment / "runs" / run).record):
            return f"{name!r} is a run; expected an experiment, such as {experiment}"
    for experiment in reversed(known):
        if name and is_file(RunPaths(expts_dir / experiment / "runs" / name).record):
            hint = f"write experiment/run, for example {experiment}/{name}"
            return f"unknown experiment {name!r}; {hint}"
    return f"unknown experiment {name!r}; {suggest(name, known)}"


def _split_numbers(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts run_2 before run_10."""
    parts = re.split(r"([0-9]+)", name)
    return [(not x.isdigit(), int(x) if x.isdigit() else 0, x) for x in parts if x]
