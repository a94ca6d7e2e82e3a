"""
Sources of the figures and tables of a folder: its provenance.nt, and checks against it.

Contents are compared, not times, so that the result is the same in a fresh clone: the bytes of
files, and the source of code without comments, docstrings and blank lines.
"""

import ast
import fcntl
import hashlib
import io
import os
import shlex
import tokenize
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import nestedtext as nt
from pydantic import Field

import atompaint_vae

from ...records.record import Line, MaybeLine, RunPaths, find_run_state
from ...text.files import write_atomic
from ...text.located import LocatedError, list_problems, load_located
from ...text.typed import Bool, TextModel, check_model

FILE_NAME = "provenance.nt"
NUM_DIGITS = 16
"""Hexadecimal digits of a stored hash: 64 bits suffice against accidents."""

PACKAGE = Path(atompaint_vae.__file__).parent

DRAWING = ("data", "nn", "models", "analysis", "figures")
"""Packages whose modules make figures stale when they change.  The others find and read files,
which are compared themselves."""

DECLARING = ("__init__.py", "hparams.py", "kind.py")
"""Files of those packages with declarations: a new hyperparameter doesn't change figures."""


class ProvenanceError(LocatedError):
    """Mistakes in a provenance.nt, one per line."""


class Drawing(TextModel):
    """Outputs and sources of a script's last run: hashes, by paths relative to its folder."""

    git_commit: MaybeLine = Field(None, description="Blank outside a git repository.")
    git_dirty: Bool = Field(False, description="Whether the tree differed from the commit.")
    outputs: dict[str, Line]
    inputs: dict[str, Line] = Field({}, description="Files that were read.")
    code: dict[str, Line] = Field(description=(
        "The script and the modules that it imported; those of this package under its name."))
    unfinished: tuple[Line, ...] = Field((), description="Runs that were left out.")


def load_provenance(folder: Path) -> dict[str, Drawing]:
    """Return a folder's drawings by their commands, such as `plot_curves.py`; {} without a file.

    raises: ProvenanceError with file, line and column
    """
    path = folder / FILE_NAME
    if not path.is_file() or not path.read_bytes().strip():
        return {}
    drawings, problems = {}, []
    for command, values in load_located(path, ProvenanceError).content.items():
        drawings[command], found = check_model(Drawing, values, f"'{command}'")
        problems += found
    if problems:
        raise ProvenanceError(list_problems(problems))
    for command, drawing in drawings.items():
        code = {k: v for k, v in drawing.code.items() if draws(k)}
        drawings[command] = drawing.model_copy(update={"code": code})
    return drawings


def save_drawing(folder: Path, command: str, drawing: Drawing) -> None:
    """Save a drawing in the folder's file; it replaces earlier ones of the same outputs."""
    with _lock(folder):
        drawings = load_provenance(folder)
        ignored = {"git_commit": None, "git_dirty": False}
        old = drawings.pop(command, None)
        # A new commit alone isn't recorded: it would only cause merge conflicts.
        if old and old.model_copy(update=ignored) == drawing.model_copy(update=ignored):
            return
        for other, earlier in list(drawings.items()):
            outputs = {k: v for k, v in earlier.outputs.items() if k not in drawing.outputs}
            drawings[other] = earlier.model_copy(update={"outputs": outputs})
        drawings[command] = drawing
        kept = {
            k: v.model_dump(exclude_defaults=True) for k, v in sorted(drawings.items()) if v.outputs
        }
        texts = {bool: lambda value: str(value).lower()}
        text = nt.dumps(kept, indent=2, converters=texts) + "\n"
        write_atomic(folder / FILE_NAME, text)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock a folder: two scripts may end at the same time."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def find_reasons(
    folder: Path,
    drawing: Drawing,
    output: str,
    calc_code_hash: Callable[[Path], str] | None = None,
) -> list[str]:
    """
    Return the reasons why an output is stale or missing; [] if it is up to date.

    calc_code_hash: `hash_code`, or one that remembers
    """
    path = folder / output
    if not path.is_file():
        return [f"{path.name} is missing"]
    reasons = []
    if hash_file(path) != drawing.outputs[output]:
        reasons.append(f"{path.name} isn't what the script wrote")
    return reasons + _compare(folder, drawing, calc_code_hash or hash_code)


def _compare(
    folder: Path, drawing: Drawing, calc_code_hash: Callable[[Path], str]
) -> list[str]:
    reasons = []
    for names, find, calc_hash in (
        (drawing.inputs, lambda name: folder / name, hash_file),
        (drawing.code, lambda name: find_code(folder, name), calc_code_hash),
    ):
        for name, digest in names.items():
            path = find(name)
            if not path.is_file():
                reasons.append(f"{name} is gone")
            elif calc_hash(path) != digest:
                reasons.append(f"{name} has changed")
    for name in drawing.unfinished:
        if find_run_state(RunPaths(folder / "runs" / name)) == "finished":
            reasons.append(f"run {name} has finished since")
    return reasons


def describe_reasons(reasons: list[str], limit: int = 3) -> str:
    """Return the first reasons, and the number of others."""
    more = len(reasons) - limit
    return "; ".join([*reasons[:limit], *([f"and {more} more"] if more > 0 else [])])


def find_drawing(path: Path, drawings: Mapping[str, Drawing]) -> str | None:
    """Return the command that wrote a file of the folder, None if unknown."""
    return next((k for k, v in drawings.items() if path.name in v.outputs), None)


def list_watched(folder: Path, drawing: Drawing) -> list[Path]:
    """Return the files that determine whether a drawing is stale."""
    runs = [RunPaths(folder / "runs" / name).record for name in drawing.unfinished]
    return [
        *(folder / name for name in [*drawing.outputs, *drawing.inputs]),
        *(find_code(folder, name) for name in drawing.code),
        *runs,
    ]


def split_command(command: str) -> list[str]:
    """Return the script's name and its arguments."""
    return shlex.split(command)


def name_code(folder: Path, path: Path) -> str:
    """Return a module's name in a drawing: `atompaint_vae/...`, or the path from its folder."""
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE.parent).as_posix()
    return Path(os.path.relpath(path, folder)).as_posix()


def draws(name: str) -> bool:
    """Return whether a module, named by `name_code`, affects what is drawn."""
    package, *parts = name.split("/")
    if package != PACKAGE.name:
        return True
    is_provenance = parts[:2] == ["figures", "provenance"]
    return parts[0] in DRAWING and not is_provenance and parts[-1] not in DECLARING


def find_code(folder: Path, name: str) -> Path:
    """Return the path of a module that `name_code` named."""
    return (PACKAGE.parent if name.startswith(f"{PACKAGE.name}/") else folder) / name


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, shortened."""
    return _hash_as_of(path, *_stat(path), False)


def hash_code(path: Path) -> str:
    """Return the shortened SHA-256 of a module's source without comments and docstrings."""
    return _hash_as_of(path, *_stat(path), True)


def _stat(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@cache
def _hash_as_of(path: Path, _time: int, _size: int, is_code: bool) -> str:
    """Return a hash, cached: hundreds of figures have the same modules."""
    content = path.read_bytes()
    if is_code:
        content = strip_source(content.decode("utf-8", "replace")).encode()
    return hashlib.sha256(content).hexdigest()[:NUM_DIGITS]


def strip_source(source: str) -> str:
    """Return Python source without comments, docstrings, blank lines; unchanged if it is invalid.

    The result consists of the source's own lines: tokens and syntax trees differ between versions
    of Python.
    """
    try:
        tree = ast.parse(source)
        comments = {
            token.start for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }  # fmt: skip
    except (SyntaxError, ValueError, tokenize.TokenError):
        return source
    lines = source.split("\n")
    dropped, verbatim = set(), set()
    for row, column in comments:
        lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        rows = range(node.lineno, (node.end_lineno or 0) + 1) if hasattr(node, "lineno") else ()
        if isinstance(node, ast.Expr) and _is_text(node.value) and _stands_alone(lines, node):
            dropped.update(rows)
        elif _is_text(node) or isinstance(node, ast.JoinedStr):
            verbatim.update(rows[:-1])
    return "\n".join(
        line if row in verbatim else line.rstrip()
        for row, line in enumerate(lines, 1)
        if row not in dropped and (row in verbatim or line.strip())
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _stands_alone(lines: list[str], node: ast.Expr) -> bool:
    before = lines[node.lineno - 1].encode()[: node.col_offset]
    after = lines[node.end_lineno - 1].encode()[node.end_col_offset :]
    return not before.strip() and not after.strip()
