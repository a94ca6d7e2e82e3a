"""
Metrics of a run: CSV tables to which training appends rows.

A process may be killed in the middle of a line, so only lines with a newline count. Cells contain
no commas, quotes or newlines, so each line is a row and each `,` a separator.
"""

import os
import re
from collections.abc import Mapping, Sequence
from errno import ENOSPC
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..text.files import write_atomic
from ..text.suggest import suggest_key

if TYPE_CHECKING:
    import pandas as pd


class MetricsError(ValueError):
    """A table of metrics is damaged, or a row doesn't fit it."""


def append_metrics(path: Path, row: Mapping[str, Any]) -> None:
    """
    Append a row to a table; the first row determines the columns, one of which is `step`.

    row:    numbers (NumPy's and torch's too) or short text; missing columns stay blank
    raises: MetricsError if the table lacks one of the row's columns; OSError if it can't be
            written, with the table as it was
    """
    cells = {str(key): _format_cell(path, key, value) for key, value in row.items()}
    if not re.fullmatch("[0-9]+", cells.get("step", "")):
        raise MetricsError(f"{path}: a row needs the integer 'step', got {row.get('step')!r}")

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        with os.fdopen(os.dup(fd), "rb") as file:
            header = file.readline()
            end = _find_end(file)
        columns = header.decode().rstrip("\n").split(",") if end else list(cells)
        for key in cells:
            if key not in columns:
                near = suggest_key(key, columns)
                hint = f"did you mean '{near}'?" if near else f"known: {', '.join(columns)}"
                raise MetricsError(f"{path}: column '{key}' is unknown; {hint}")
        line = ",".join(cells.get(c, "") for c in columns) + "\n"
        text = line if end else ",".join(columns) + "\n" + line
        os.ftruncate(fd, end)  # removes a line that a killed process left unfinished
        try:
            if os.write(fd, text.encode()) != len(text.encode()):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        except OSError as error:  # the disk is full: remove the partial line
            os.ftruncate(fd, end)
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(fd)


def _find_end(file) -> int:
    """Return the position after the last newline of a binary file."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        if (index := file.read(end - start).rfind(b"\n")) >= 0:
            return start + index + 1
        end = start
    return 0


def _format_cell(path: Path, key: str, value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        # Models compute in float32. 9 significant digits restore any float32 exactly; the 17 that
        # float64 needs are hard to read.
        text = f"{value:.9g}"
        return text if re.search("[.en]", text) else f"{text}.0"
    text = "" if value is None else str(value)
    if re.search(r'[,"\r\n]', text + str(key)):
        raise MetricsError(f"{path}: column {key!r}: commas, quotes and newlines can't be stored: "
                           f"{text!r}")
    return text


def copy_metrics(path: Path) -> str:
    """Return the finished lines of a table, with the header; "" before the first row."""
    content = Path(path).read_bytes() if Path(path).exists() else b""
    return content[:content.rfind(b"\n") + 1].decode("utf-8", "replace")


def restore_metrics(path: Path, text: str) -> None:
    """Restore a table to what `copy_metrics` returned, whatever it holds now."""
    if text:
        write_atomic(path, text)
    else:
        Path(path).unlink(missing_ok=True)


def load_metrics(path: Path) -> "pd.DataFrame":
    """
    Return the finished rows of a table, even while a run is writing to it.

    raises: FileNotFoundError before the first row, MetricsError if the table is damaged
    """
    import pandas as pd  # slow to import, and launching runs doesn't need it

    lines = [",".join(row) for row in _read_rows(path)] or ["step"]
    return pd.read_csv(StringIO("\n".join(lines)))


def load_columns(path: Path) -> dict[str, list[int | float | str | None]]:
    """
    Return the finished rows of a table as columns, without pandas; empty cells are None.

    raises: FileNotFoundError before the first row, MetricsError if the table is damaged
    """
    header, *rows = _read_rows(path) or [["step"]]
    columns = zip(*rows, strict=True) if rows else [[] for _ in header]
    return {
        name: _parse_column(cells)
        for name, cells in zip(header, columns, strict=True)
    }


def _parse_column(cells: Sequence[str]) -> list[int | float | str | None]:
    for parse in (int, float):
        try:
            return list(map(parse, cells))
        except ValueError:
            continue
    return [_parse_cell(cell) for cell in cells]


def _parse_cell(text: str) -> int | float | str | None:
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    return text or None


def _read_rows(path: Path) -> list[list[str]]:
    """Return the cells of each finished line, the header first; [] if there is none."""
    lines = Path(path).read_bytes().decode("utf-8", "replace").split("\n")[:-1]
    rows = [line.split(",") for line in lines]
    if rows and "step" not in rows[0]:
        raise MetricsError(f"{path}:1: no column 'step', got {lines[0]!r}")
    for line, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise MetricsError(f"{path}:{line}: expected {len(rows[0])} cells, got {len(row)}")
    return rows
