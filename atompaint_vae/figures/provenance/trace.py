"""
Trace the files that a script reads and writes while it draws.

Python's audit hooks report every file that Python opens, but not those that a library opens itself:
pass such a library an open file.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ...records.find import UnknownRunError, find_expts_dir
from ...records.record import find_git_state
from .drawings import (
    FILE_NAME,
    PACKAGE,
    Drawing,
    draws,
    hash_code,
    hash_file,
    name_code,
    save_drawing,
    strip_source,
)


@dataclass
class Trace:
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def note(self, event: str, args: tuple) -> None:
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            is_writing = args[2] & (os.O_WRONLY | os.O_RDWR)
            (self.written if is_writing else self.read).add(_make_absolute(args[0]))
        elif event == "os.rename":
            self.written.add(_make_absolute(args[1]))


def _make_absolute(path: str | bytes | os.PathLike) -> str:
    # resolve() would follow links, and access the disk for each opened file.
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100


_traces: list[Trace] = []


def _hear(event: str, args: tuple) -> None:
    for trace in _traces:
        trace.note(event, args)


@contextmanager
def trace_files() -> Iterator[Trace]:
    """Record the absolute paths of files that are read, written or moved."""
    _install_hook()
    trace = Trace()
    _traces.append(trace)
    try:
        yield trace
    finally:
        _traces.remove(trace)


@cache
def _install_hook() -> None:
    """Install the audit hook, once: it can't be removed."""
    sys.addaudithook(_hear)


@contextmanager
def record_drawing(script: Path, unfinished: Iterable[str] = ()) -> Iterator[None]:
    """Record what is written beside the script meanwhile in provenance.nt, with its sources.

    unfinished: runs of the script's folder that are left out
    """
    script = script.resolve()
    folder = script.parent
    with trace_files() as trace:
        yield
    names = _name_files(folder, trace.written, folder)
    outputs = {name: hash_file(folder / name) for name in names}
    if not outputs:
        return
    unfinished = sorted(unfinished)
    root = _find_root(folder)
    inputs = [
        name
        for name in _name_files(folder, trace.read, root)
        if name not in outputs and not any(name.startswith(f"runs/{x}/") for x in unfinished)
    ]
    ignored = _list_ignored(folder, inputs)
    git = find_git_state(folder)
    drawing = Drawing(
        git_commit=git.commit,
        git_dirty=git.dirty,
        outputs=outputs,
        inputs={name: hash_file(folder / name) for name in inputs if name not in ignored},
        code={name_code(folder, path): hash_code(path) for path in _list_code(script, root)},
        unfinished=tuple(unfinished),
    )
    save_drawing(folder, shlex.join([script.name, *sys.argv[1:]]), drawing)


def _find_root(folder: Path) -> Path:
    try:
        return find_expts_dir(folder).parent
    except UnknownRunError:
        return folder


def _name_files(folder: Path, paths: Iterable[str], root: Path) -> list[str]:
    """Return the relative paths of visible files below root, without code."""
    names = []
    for path in map(Path, paths):
        if not path.is_relative_to(root) or path.suffix in (".py", ".pyc"):
            continue
        if path.is_file() and not _is_hidden(path, root) and path.name != FILE_NAME:
            names.append(Path(os.path.relpath(path, folder)).as_posix())
    return sorted(names)


def _list_ignored(folder: Path, names: list[str]) -> set[str]:
    """Return the names that git ignores: a fresh clone doesn't have these files."""
    command = ["git", "-C", str(folder), "check-ignore", "--stdin", "-z"]
    try:
        found = subprocess.run(
            command, input="\0".join(names), capture_output=True, text=True, check=False
        )
    except OSError:  # git isn't installed
        return set()
    return set(found.stdout.split("\0")) - {""}


def _list_code(script: Path, root: Path) -> list[Path]:
    """Return the script, and the imported modules of this package and of the notebook."""
    named = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    # Some of torch's modules name files that don't exist.
    files = {path for x in named if x and (path := Path(x).resolve()).is_file()}
    own = {path for path in files if path.suffix == ".py" and _draws(path, root)} | {script}
    return sorted(path for path in own if strip_source(path.read_text("utf-8")))


def _draws(module: Path, root: Path) -> bool:
    if module.is_relative_to(PACKAGE):
        return draws(module.relative_to(PACKAGE.parent).as_posix())
    return module.is_relative_to(root) and not _is_hidden(module, root)


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
