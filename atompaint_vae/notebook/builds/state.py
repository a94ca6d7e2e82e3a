"""
The state of all that the pages were made of, so that a build of unchanged pages ends at once.

It is taken before Sphinx reads anything and kept beside the doctrees after a build without a
warning: the arguments, the installed packages, the content of the notebook's files, of this package
and of files elsewhere that pages watch, and the files that were made. This module imports no
Sphinx, whose import takes longer than the comparison.
"""

import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..core.watch import WATCHED, hash_file

NAME = "atompaint_state.json"
PACKAGE = Path(__file__).parents[2]
KEPT = ".expt"
"""The hidden folder that pages show something of."""

WRITTEN_BY_RUNS = ("checkpoints", "tensorboard", "__pycache__", "node_modules")
TEMPORARY = (".tmp", ".lock", ".pyc")

Files = dict[str, list]  # size, modification time and, for what pages are made of, a hash


def is_unchanged(source: Path, out: Path, doctrees: Path, arguments: list[str]) -> bool:
    """Return whether a build would make the same pages as the last one."""
    try:
        before = json.loads((doctrees / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    built = find_built(source, out, doctrees)
    now = sign_inputs(source, built, before["elsewhere"], before["inputs"])
    return (
        before["arguments"] == arguments
        and before["installed"] == list_installed()
        and before["outputs"] == sign_outputs(out)
        and _forget_times(before["inputs"]) == _forget_times(now)
    )


def _forget_times(files: Files) -> dict[str, str]:
    return {path: digest for path, (*_, digest) in files.items()}


def find_built(source: Path, out: Path, doctrees: Path) -> Path:
    """Return the folder of all that is built: pages, and doctrees beside or in them."""
    return out.parent if doctrees.parent == out.parent != source else out


def list_installed() -> list[str]:
    """Return the version of Python, and the names and versions of all installed packages."""
    folders = {sysconfig.get_path(x) for x in ("purelib", "platlib")}
    names = {x.name for folder in folders for x in Path(folder).iterdir()}
    return [sys.version, *sorted(x for x in names if x.endswith(".dist-info"))]


def sign_outputs(out: Path) -> Files:
    """Return size and time of each file that a build has made."""
    return {
        path: [stat.st_size, stat.st_mtime_ns] for path, stat in _list_files(out, hidden=True)
    }


def sign_inputs(source: Path, built: Path, elsewhere: Iterable[str], known: Files) -> Files:
    """
    Return the state of each file that pages may be made of.

    built:     a folder that is left out
    elsewhere: paths outside of the notebook and this package
    known:     hashes of files; those with the same size and time aren't read again
    """
    found = dict(_list_files(source, skip=built))
    if not PACKAGE.is_relative_to(source):
        found |= dict(_list_files(PACKAGE))
    for path in elsewhere:
        found[path] = Path(path).stat() if Path(path).exists() else None
    return {
        path: [0, 0, ""] if stat is None else _sign(path, stat, known)
        for path, stat in found.items()
    }


def _sign(path: str, stat: os.stat_result, known: Mapping[str, list]) -> list:
    size, modified_ns, digest = known.get(path, (None, None, ""))
    if [size, modified_ns] != [stat.st_size, stat.st_mtime_ns]:
        digest = hash_file(path, stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return [stat.st_size, stat.st_mtime_ns, digest]


def _list_files(
    top: Path, *, skip: Path | None = None, hidden: bool = False
) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield the paths of all files below a folder; None for a broken link."""
    for folder, subfolders, names in os.walk(top):
        if "pyvenv.cfg" in names:
            subfolders.clear()
            continue
        if not hidden:
            subfolders[:] = [
                x for x in subfolders if not is_left_out(x) and f"{folder}/{x}" != str(skip)
            ]
            names = [x for x in names if not x.endswith(TEMPORARY)]
        for name in names:
            path = f"{folder}/{name}"
            try:
                yield path, os.stat(path)  # noqa: PTH116  (thousands; a Path takes longer)
            except OSError:
                yield path, None


def is_left_out(folder: str) -> bool:
    """Return whether pages are made of nothing in folders of this name."""
    return (folder[0] == "." and folder != KEPT) or folder in WRITTEN_BY_RUNS


def take_state(app) -> None:
    """Note down the state of the inputs; until the build has ended well, there is no state."""
    path = Path(app.doctreedir, NAME)
    try:
        known = json.loads(path.read_text("utf-8"))["inputs"]
    except (OSError, ValueError):
        known = {}
    path.unlink(missing_ok=True)
    source, out, doctrees = (Path(x) for x in (app.srcdir, app.outdir, app.doctreedir))
    app.atompaint_inputs = sign_inputs(source, find_built(source, out, doctrees), [], known)


def keep_state(app, error) -> None:
    """Keep the state after a build without a warning."""
    if error is not None or app.statuscode or app._warncount or app.builder.name != "html":
        return
    inputs = app.atompaint_inputs
    elsewhere = sorted(x for x in _list_watched(app.env) if x not in inputs)
    inputs = inputs | {
        path: _sign(path, Path(path).stat(), {}) if Path(path).exists() else [0, 0, ""]
        for path in elsewhere
    }
    state = {
        "arguments": sys.argv[1:],
        "installed": list_installed(),
        "elsewhere": elsewhere,
        "inputs": inputs,
        "outputs": sign_outputs(Path(app.outdir)),
    }
    Path(app.doctreedir, NAME).write_text(json.dumps(state), "utf-8")


def _list_watched(env) -> set[str]:
    """Return the paths of all files that pages depend on."""
    root = str(env.srcdir)
    paths = {path for paths in env.dependencies.values() for path in map(str, paths)}
    for metadata in env.metadata.values():
        for text in metadata.get(WATCHED, ()):
            paths.update(text.split("\n"))
    return {os.path.normpath(os.path.join(root, path)) for path in paths}  # noqa: PTH118


def setup_component(app):
    app.connect("builder-inited", take_state, priority=900)  # after sheets were written
    app.connect("build-finished", keep_state, priority=900)
