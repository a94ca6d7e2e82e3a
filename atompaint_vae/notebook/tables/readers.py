"""
Readers of tables: every cell is text, exactly as in its file.

Rows and columns are counted as in a spreadsheet: the header of a CSV file is row 1, its first
column is A.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...text.suggest import find_near
from .cells import Grid, Table, TableError
from .delimited import read_csv, read_tsv
from .spreadsheets import column_letters, format_value, read_ods, read_xlsx

RANGE = re.compile(r"([A-Z]*)([1-9]\d*)?(?::([A-Z]*)([1-9]\d*)?)?")


def read_table(
    path: Path,
    sheet: str | None = None,
    cells: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Table:
    """
    Read the table in a file; its first row is the header.

    sheet:     name of a spreadsheet's sheet, the first visible one by default
    cells:     a range such as B2:D10, B:D or 2:10, everything by default
    delimiter: of a CSV file, see `read_csv`
    encoding:  of a CSV file, see `read_csv`
    raises:    TableError if the file, the sheet or the range is missing or can't be read
    """
    if path.is_dir():
        raise TableError(f"{path.name}: a folder; expected a file")
    if not path.is_file():
        raise TableError(f"no such file: {path.name}{_suggest_sibling(path)}")
    try:
        reader = READERS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(READERS)
        raise TableError(
            f"{path.name}: unknown kind of table {path.suffix!r}; known: {known}"
        ) from None
    has_sheets, is_delimited = reader in (read_xlsx, read_ods), reader in (read_csv, read_tsv)
    for name, value, is_known, what in [
        ("sheet", sheet, has_sheets, "the file has no sheets"),
        ("delimiter", delimiter, is_delimited, "only CSV and TSV files have one"),
        ("encoding", encoding, is_delimited, "only of CSV and TSV files it can be chosen"),
    ]:
        if value is not None and not is_known:
            raise TableError(f"{path.name}: {name} {value!r} is given, but {what}")

    if has_sheets:
        grid = reader(path, sheet)
    elif is_delimited:
        grid = reader(path, delimiter, encoding)
    else:
        grid = Grid(reader(path))
    rows = grid.cells
    if cells is not None:
        rows = select_range(rows, cells, path.name)
    rows = [[x for x in row if x is not None] for row in rows if row != [None] * len(row)]
    if not rows or not rows[0]:
        raise TableError(f"{path.name}: empty; expected a row of column names")
    return Table(rows[0], rows[1:], grid.prefers_comma, grid.doubts)


def select_range(grid: list[list[Any]], cells: str, name: str) -> list[list[Any]]:
    """
    Return the part of a grid within a range such as B2:D10, B:D, 2:10 or C3.

    raises: TableError if the range is malformed or extends beyond the grid
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
        raise TableError(f"{name}: range {cells!r} ends before it starts")
    if bottom > num_rows or right > num_cols:
        raise TableError(
            f"{name}: range {cells!r} extends beyond the table, which is"
            f" A1:{column_letters(num_cols)}{num_rows}"
        )
    return [row[left - 1 : right] for row in grid[top - 1 : bottom]]


def read_nestedtext(path: Path) -> list[list[str]]:
    """
    Return the items of a NestedText list: dictionaries, or lists of which the first is the header.

    Dictionaries may have different keys; the columns are in the order in which keys first appear.

    raises: TableError if the file is broken, or isn't a list of rows of text
    """
    import nestedtext as nt

    try:
        keymap: dict = {}
        items = nt.load(path, top="any", keymap=keymap)
    except nt.NestedTextError as error:
        line = "" if error.lineno is None else f"{error.lineno + 1}:"
        raise TableError(f"{path.name}:{line} {error.get_message()}") from None
    except UnicodeDecodeError as error:
        raise TableError(f"{path.name}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise TableError(f"{path.name}: can't be read: {error.strerror}") from None
    if not items:
        return []

    def fail(keys, expected):
        line = nt.get_line_numbers(keys, keymap, kind="value", sep="-", strict=False) or 1
        raise TableError(f"{path.name}:{str(line).partition('-')[0]}: expected {expected}")

    if not isinstance(items, list):
        fail((), "a list, of lists or of dictionaries")
    kind = type(items[0])
    for i, item in enumerate(items):
        if type(item) is not kind or kind is str:
            fail((i,), "a list of lists, or of dictionaries")
        for key, value in item.items() if kind is dict else enumerate(item):
            if not isinstance(value, str):
                fail((i, key), "text")
        if kind is list and len(item) != len(items[0]):
            fail((i,), f"{len(items[0])} items as in the first row, not {len(item)}")
    if kind is list:
        return items
    header = list(dict.fromkeys(key for item in items for key in item))
    return [header, *([item.get(key, "") for key in header] for item in items)]


def read_parquet(path: Path) -> list[list[str]]:
    """
    Return the columns of a Parquet file as text, with pandas' index, if it has one, first.

    raises: TableError if the file is broken
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # read_table doesn't allow two columns of one name
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise TableError(f"{path.name}: not a readable Parquet file: {reason}") from error

    metadata = table.schema.pandas_metadata or {}
    index = [x for x in metadata.get("index_columns", []) if isinstance(x, str)]
    names = table.column_names
    order = sorted(range(len(names)), key=lambda i: names[i] not in index)
    header = ["" if re.fullmatch(r"__index_level_\d+__", names[i]) else names[i] for i in order]
    try:
        columns = [[format_value(x) for x in _list_values(table.column(i))] for i in order]
    except (pa.ArrowException, ValueError, OverflowError) as error:  # as for the year 300,000
        raise TableError(f"{path.name}: a value can't be shown: {error}") from error
    return [header, *map(list, zip(*columns, strict=True))]


READERS: dict[str, Callable] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".xlsx": read_xlsx,
    ".xlsm": read_xlsx,
    ".ods": read_ods,
    ".parquet": read_parquet,
    ".nt": read_nestedtext,
}


def _list_values(column) -> list[Any]:
    import numpy as np
    import pyarrow as pa

    values = column.to_pylist()
    # As a Python float, 0.1 in single precision would be shown as 0.10000000149011612.
    single = {pa.float32(): np.float32, pa.float16(): np.float16}.get(column.type)
    return values if single is None else [None if x is None else single(x) for x in values]


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _suggest_sibling(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    names = [x.name for x in path.parent.iterdir() if x.suffix.lower() in READERS]
    near = find_near(path.name, names, 1)
    return f"; did you mean {near[0]}?" if near else ""
