"""A folder, a pattern or a list of files -> the structure files that it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from atompaint_vae.data import PDB_ID
from atompaint_vae.data.structures.formats import (
    EXPECTED,
    SUFFIXES,
    StructureError,
    describe_error,
    find_suffix,
)

_IS_PATTERN = re.compile(r"[*?\[]")


def find_structure_files(
    inputs: list[str], folder: Path | None = None, *,
    report: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Return the structure files that the inputs name, each once, in order.

    inputs: each a folder (searched to any depth), a structure file, a pattern such as
            'pdb/**/*.cif.gz', or a text file that lists files and PDB ids
    folder: where to look for the ids and relative paths of a list; by default, where the list is
    report: called with a line for each folder or pattern in which other files are passed over
    raises: StructureError if an input doesn't exist, or names no structure file
    """
    found: dict[Path, None] = {}
    for text in inputs:
        files = _find_files(text, folder, report)
        if not files:
            raise StructureError(f"{text}: no structure files; {EXPECTED}")
        found.update(dict.fromkeys(files))
    return list(found)


def read_ids(path: Path) -> list[str]:
    """Return the PDB ids of a text file, in lower case, each once; # begins a comment.

    raises: StructureError, with the line, for a word that is not an id; or if there are no ids
    """
    ids: dict[str, None] = {}
    for line, word in _read_words(path):
        if not PDB_ID.fullmatch(word):
            raise StructureError(
                f"{path}:{line}: {word!r} is not a PDB id, such as 1ema or pdb_00001ema"
            )
        ids[word.lower()] = None
    if not ids:
        raise StructureError(f"{path}: no PDB ids")
    return list(ids)


def _find_files(
    text: str, folder: Path | None, report: Callable[[str], None]
) -> list[Path]:
    path = Path(text)
    try:
        if path.is_dir():
            return _choose_files(text, path.rglob("*"), report)
        if path.exists():
            return [path] if find_suffix(path) in SUFFIXES else _read_list(path, folder)
        if _IS_PATTERN.search(text):
            start = Path(path.anchor)
            pattern = str(path.relative_to(start))
            return _choose_files(text, start.glob(pattern), report)
    except (OSError, ValueError, NotImplementedError) as error:
        if isinstance(error, StructureError):
            raise
        raise StructureError(f"{text}: {describe_error(error)}") from error
    raise StructureError(f"{text}: no such file or directory")


def _choose_files(
    text: str, paths: Iterable[Path], report: Callable[[str], None]
) -> list[Path]:
    """Return the structure files, in order, and report how many others there are."""
    files = sorted(path for path in paths if path.is_file() and not path.name.startswith("."))
    found = [path for path in files if _is_structure(path)]
    others = Counter(path.suffix.lower() or "no suffix" for path in set(files) - set(found))
    if others:
        suffixes = ", ".join(f"{num} {suffix}" for suffix, num in others.most_common())
        report(f"{text}: passed over {others.total()} other files: {suffixes}")
    return found


def _read_list(path: Path, folder: Path | None) -> list[Path]:
    folder = path.parent if folder is None else folder
    by_id: dict[str, Path] = {}
    files = []
    for line, word in _read_words(path):
        if find_suffix(Path(word)) in SUFFIXES:
            files.append(folder / word)  # if it is missing, the reader reports it
            continue
        if not PDB_ID.fullmatch(word):
            raise StructureError(
                f"{path}:{line}: {word!r} is neither a PDB id nor a file name, so this is no list; "
                f"of a structure, {EXPECTED}"
            )
        by_id = by_id or _index_folder(folder)
        if word.lower() not in by_id:
            raise StructureError(f"{path}:{line}: no structure file of {word} in {folder}")
        files.append(by_id[word.lower()])
    return files


def _index_folder(folder: Path) -> dict[str, Path]:
    """Find structure files by the PDB archives' naming: 1ema.cif, pdb1ema.ent.gz."""
    by_id = {}
    for file in sorted(folder.rglob("*")):
        if _is_structure(file):
            name = file.name.split(".")[0].lower()
            by_id.setdefault(name, file)
            by_id.setdefault(re.sub("^pdb(?=....$)", "", name), file)
    return by_id


def _read_words(path: Path) -> list[tuple[int, str]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "not a text file" if isinstance(error, ValueError) else describe_error(error)
        raise StructureError(f"{path}: {reason}") from error
    return [
        (number, word)
        for number, line in enumerate(lines, 1)
        for word in re.split(r"[\s,]+", line.split("#")[0]) if word
    ]  # fmt: skip


def _is_structure(path: Path) -> bool:
    return find_suffix(path) in SUFFIXES and not path.name.startswith(".") and path.is_file()
