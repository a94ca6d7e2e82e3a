"""
NestedText values that know their file, line and column.

`load_located` reads a file into a tree of `Located` values. Each of them keeps its place, even
after `merge_located` has combined several sections or files.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nestedtext as nt


@dataclass(frozen=True)
class Place:
    """Where a key or value was written; lines and columns count from 1."""
    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Located:
    """A value of a NestedText file, with its place and that of its key."""
    content: "str | list[Located] | dict[str, Located]"
    key_place: Place
    place: Place

    @property
    def plain(self) -> Any:
        if isinstance(self.content, dict):
            return {k: v.plain for k, v in self.content.items()}
        if isinstance(self.content, list):
            return [v.plain for v in self.content]
        return self.content


@dataclass(frozen=True)
class Problem:
    """One mistake in a file; `missing` is the dotted name of a missing key."""
    place: Place
    text: str
    missing: str | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class LocatedError(ValueError):
    """Mistakes in a file, one per line, each with its place."""


def list_problems(problems: Iterable[Problem]) -> str:
    """Return the text of all problems, in the order of the file, without duplicates."""
    in_order = sorted(problems, key=lambda p: (str(p.place.path), p.place.line, p.place.column))
    return "\n".join(dict.fromkeys(map(str, in_order)))


def read_text(path: Path, error: type[LocatedError] = LocatedError) -> str:
    """Return the text of a UTF-8 file; raises: `error` at the first byte that isn't UTF-8."""
    try:
        raw = path.read_bytes()
        # Line ends of any system, as Python's text files accept.
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as err:
        raise error(f"{path}: cannot be read: {err.strerror}") from None
    except UnicodeDecodeError as err:
        before = raw[:err.start].decode("utf-8", "replace")
        place = Place(path, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
        raise error(f"{place}: not UTF-8 text: byte 0x{raw[err.start]:02x}") from None


def load_located(path: Path, error: type[LocatedError] = LocatedError) -> Located:
    """Return the mapping in a NestedText file; raises: `error` if it holds something else."""
    path = Path(path)
    start = Place(path, 1, 1)
    text = read_text(path, error)
    keymap = {}
    try:
        content = nt.loads(text, top="any", keymap=keymap)
    except nt.NestedTextError as err:
        # Some of NestedText's errors have a line, but no column.
        place = Place(path, (err.lineno or 0) + 1, (err.colno or 0) + 1)
        text = err.get_message().rstrip(".")
        if text == "unrecognized line":
            text += "; expected 'key: value' or '- item', with a space after ':' or '-'"
        raise error(f"{place}: {text}") from None
    except RecursionError:
        raise error(f"{start}: nested too deeply") from None
    if content is None:
        raise error(f"{start}: the file is empty")
    if not isinstance(content, dict):
        raise error(f"{start}: expected keys, got {show_value(content)}")
    return _locate(content, (), keymap, start, start)


def place_all(content: Any, place: Place) -> Located:
    """Return a value that was not read from a file, with the same place for all of it."""
    return _locate(content, (), {}, place, place)


def _locate(content, keys: tuple, keymap: dict, key_place: Place, place: Place) -> Located:
    if keys in keymap:
        line, column = keymap[keys].as_tuple("key")
        key_place = replace(place, line=line + 1, column=column + 1)
        line, column = keymap[keys].as_tuple("value")
        place = replace(place, line=line + 1, column=column + 1)
    # Without an entry in the keymap (nestedtext 3.8 files lists inside inline mappings under the
    # wrong keys) a value keeps the place of what it is in.
    if isinstance(content, dict):
        content = {k: _locate(v, (*keys, k), keymap, place, place) for k, v in content.items()}
    elif isinstance(content, list):
        content = [_locate(v, (*keys, i), keymap, place, place) for i, v in enumerate(content)]
    else:
        content = content.strip()
    return Located(content, key_place, place)


def merge_located(base: Located, over: Located) -> Located:
    """Return `base` with the values of `over`: mappings are merged deeply, the rest replaced."""
    if isinstance(base.content, dict) and over.content == "":
        return base
    if not (isinstance(base.content, dict) and isinstance(over.content, dict)):
        return over
    merged = dict(base.content)
    for key, value in over.content.items():
        merged[key] = merge_located(merged[key], value) if key in merged else value
    return replace(over, content=merged)


def show_value(value: Any) -> str:
    """Return how an error message quotes a value."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    return "a list" if isinstance(value, list) else "keys"


def find_value(values: Located, *keys: str | int) -> Located:
    """Return the value of a key; where it has its default, what it would be in."""
    for key in keys:
        try:
            values = values.content[key]
        except (KeyError, IndexError, TypeError):
            break
    return values


def is_written(values: Located, *keys: str | int) -> bool:
    """Return whether a key is written, and not blank."""
    value = find_value(values, *keys)
    return value is not find_value(values, *keys[:-1]) and value.content != ""
