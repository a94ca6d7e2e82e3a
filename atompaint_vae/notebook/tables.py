"""Tables as they are written: every cell is text, exactly as in its file.

Rows and columns are counted as a spreadsheet counts them: the header of a CSV file is row 1,
its first column is A.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class TableError(ValueError):
    """A table that can't be read; the message is one line, for whoever wrote the page."""


@dataclass(frozen=True)
class Table:
    """
    A header and rows of text, all of the same length.

    header: one name for each column, possibly empty
    rows:   one list of cells for each row, as long as the header
    """

    header: list[str]
    rows: list[list[str]]

    def find_number_columns(self) -> list[bool]:
        """Whether each column holds numbers, and nothing else but empty cells."""
        return [
            any(column) and all(not x or NUMBER.fullmatch(x) for x in column)
            for column in (
                [row[i].strip() for row in self.rows] for i in range(len(self.header))
            )
        ]


NUMBER = re.compile(
    r"[+\-−]?"
    r"(\d{1,3}(,\d{3})+(\.\d*)?|\d+(\.\d*)?|\.\d+)([eE][+\-−]?\d+)?"
    r"\s?[%x×]?"
    r"|nan|[+\-−]?inf(inity)?",
    re.IGNORECASE,
)
RANGE = re.compile(r"([A-Z]*)([1-9]\d*)?(?::([A-Z]*)([1-9]\d*)?)?")


def read_table(path: Path, sheet: str | None = None, cells: str | None = None) -> Table:
    """
    The table in a file; its first row is the header.

    sheet:  name of a spreadsheet's sheet, the first by default
    cells:  a range such as B2:D10, B:D or 2:10, everything by default
    raises: TableError if the file, the sheet or the range isn't there or can't be read
    """
    if not path.is_file():
        raise TableError(f"no such file: {path.name}{_suggest_sibling(path)}")
    try:
        reader = READERS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(READERS)
        raise TableError(
            f"{path.name}: unknown kind of table {path.suffix!r}; known: {known}"
        ) from None
    if sheet is not None and reader is not read_xlsx:
        raise TableError(f"{path.name}: sheet {sheet!r} of a file that has no sheets")

    grid = reader(path, sheet) if reader is read_xlsx else reader(path)
    if cells is not None:
        grid = select_range(grid, cells, path.name)
    if not grid:
        raise TableError(f"{path.name}: empty; expected a row of column names")
    return Table(grid[0], grid[1:])


def select_range(grid: list[list[str]], cells: str, name: str) -> list[list[str]]:
    """
    The part of a grid within a range such as B2:D10, B:D, 2:10 or C3.

    raises: TableError if the range isn't one, or reaches beyond the grid
    """
    match = RANGE.fullmatch(cells.strip().upper().replace("$", ""))
    if not match or not any(match.groups()):
        raise TableError(f"{name}: bad range {cells!r}; expected one such as B2:D10, B:D or 2:10")
    first_col, first_row, last_col, last_row = match.groups()
    if ":" not in cells:
        if not (first_col and first_row):
            raise TableError(f"{name}: bad range {cells!r}; expected one such as B2:D10")
        last_col, last_row = first_col, first_row
    num_rows, num_cols = len(grid), len(grid[0]) if grid else 0

    top, bottom = int(first_row or 1), int(last_row or num_rows)
    left = _column_number(first_col) if first_col else 1
    right = _column_number(last_col) if last_col else num_cols
    if top > bottom or left > right:
        raise TableError(f"{name}: range {cells!r} ends before it begins")
    if bottom > num_rows or right > num_cols:
        raise TableError(
            f"{name}: range {cells!r} reaches beyond the table, which is"
            f" A1:{_column_letters(num_cols)}{num_rows}"
        )
    return [row[left - 1 : right] for row in grid[top - 1 : bottom]]


def read_csv(path: Path, delimiter: str = ",") -> list[list[str]]:
    """
    The fields of a CSV file as they are written; blank lines are skipped.

    raises: TableError if a line has another number of fields than the first
    """
    grid = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for row in reader:
                if not row:
                    continue
                if grid and len(row) != len(grid[0]):
                    raise TableError(
                        f"{path.name}:{reader.line_num}: {len(row)} fields,"
                        f" expected {len(grid[0])} as in the header"
                    )
                grid.append(row)
    except csv.Error as error:
        raise TableError(f"{path.name}:{reader.line_num}: {error}") from None
    except UnicodeDecodeError as error:
        raise TableError(f"{path.name}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise TableError(f"{path.name}: can't be read: {error.strerror}") from None
    return grid


def read_tsv(path: Path) -> list[list[str]]:
    """The fields of a file of tab-separated values as they are written."""
    return read_csv(path, delimiter="\t")


def read_xlsx(path: Path, sheet: str | None) -> list[list[str]]:
    """
    The values of a sheet as text, without empty rows and columns at its ends.

    sheet:  name of the sheet, the first by default
    raises: TableError if the file is broken, the sheet isn't there, or a formula has no value
    """
    import openpyxl

    def load(**kwargs):
        book = openpyxl.load_workbook(path, **kwargs)
        names = [x.title for x in book.worksheets]
        if sheet is None:
            return book.worksheets[0]
        if sheet not in names:
            raise TableError(f"{path.name}: no sheet {sheet!r}; known: {', '.join(names)}")
        return book[sheet]

    try:
        values = load(data_only=True)
        # Formulas are read apart from their values: one without a value would look empty.
        formulas = {
            cell.coordinate
            for row in load(data_only=False).iter_rows()
            for cell in row
            if cell.data_type == "f"
        }
    except TableError:
        raise
    except Exception as error:
        # Whatever a broken archive makes of the parsers underneath.
        raise TableError(f"{path.name}: not a readable spreadsheet: {error}") from error

    grid = []
    for row in values.iter_rows():
        for cell in row:
            if cell.value is None and cell.coordinate in formulas:
                raise TableError(
                    f"{path.name}: the formula in {cell.coordinate} has no value;"
                    " save the file from a spreadsheet program"
                )
        grid.append([_format_cell(cell) for cell in row])

    while grid and not any(grid[-1]):
        grid.pop()
    width = max((i + 1 for row in grid for i, x in enumerate(row) if x), default=0)
    return [row[:width] for row in grid]


def read_parquet(path: Path) -> list[list[str]]:
    """
    The columns of a Parquet file as text, with pandas' index, if one was written, first.

    raises: TableError if the file is broken
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise TableError(f"{path.name}: not a readable Parquet file: {reason}") from error

    metadata = table.schema.pandas_metadata or {}
    index = [x for x in metadata.get("index_columns", []) if isinstance(x, str)]
    names = [*index, *(x for x in table.column_names if x not in index)]
    header = ["" if re.fullmatch(r"__index_level_\d+__", x) else x for x in names]
    columns = [[_format_value(x) for x in _list_values(table[name])] for name in names]
    return [header, *map(list, zip(*columns, strict=True))]


READERS: dict[str, Callable] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".xlsx": read_xlsx,
    ".xlsm": read_xlsx,
    ".parquet": read_parquet,
}


def _list_values(column) -> list[Any]:
    import numpy as np
    import pyarrow as pa

    values = column.to_pylist()
    # Python's floats are double: 0.1 in single precision would read 0.10000000149011612.
    single = {pa.float32(): np.float32, pa.float16(): np.float16}.get(column.type)
    return values if single is None else [None if x is None else single(x) for x in values]


def _format_cell(cell) -> str:
    zeros = re.fullmatch(r"0+", cell.number_format or "")
    if zeros and isinstance(cell.value, int) and not isinstance(cell.value, bool):
        return f"{cell.value:0{len(zeros[0])}d}"
    if cell.is_date and cell.value is not None and "h" not in cell.number_format.lower():
        date = getattr(cell.value, "date", None)
        return _format_value(date() if date else cell.value)
    if isinstance(cell.value, bool):
        return str(cell.value).upper()  # as spreadsheets show it
    return _format_value(cell.value)


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return value.isoformat(sep=" ") if hasattr(value, "hour") and hasattr(
            value, "year"
        ) else value.isoformat()
    text = str(value)
    return {"nan": "NaN"}.get(text, text) if not isinstance(value, str) else text


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _column_letters(number: int) -> str:
    letters = ""
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters or "A"


def _suggest_sibling(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    names = [x.name for x in path.parent.iterdir() if x.suffix.lower() in READERS]
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""
