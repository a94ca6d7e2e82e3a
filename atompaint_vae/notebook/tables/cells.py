"""Tables of text: their columns and rows are selected, sorted and formatted for a page."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from ...records.filters import WhereError, filter_rows
from ...text.suggest import suggest
from .order import Column, read_columns


class TableError(ValueError):
    """A table that can't be read or shown. The message is one line."""


class Cell(str):
    """
    A cell's text; a sheet may show a different one.

    shown: what the sheet shows, such as 48% of 47.5%
    """

    shown: str

    def __new__(cls, text: str, shown: str):
        cell = super().__new__(cls, text)
        cell.shown = shown
        return cell

    def __getnewargs__(self):  # to be pickled
        return str(self), self.shown


class Grid(NamedTuple):
    """
    The cells of a file.

    cells:         rows of the same length; None for a cell in a hidden row or column
    prefers_comma: whether the comma of a number like 1,234 is a decimal one
    doubts:        reasons why the file may not be meant so
    """

    cells: list[list[str | None]]
    prefers_comma: bool = False
    doubts: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """
    A header and rows of text, all of the same length.

    header:        one name for each column, possibly empty
    rows:          one list of cells for each row, as long as the header
    prefers_comma: whether the comma of a number like 1,234 is a decimal one
    doubts:        reasons why the file may not be meant so
    """

    header: list[str]
    rows: list[list[str]]
    prefers_comma: bool = field(default=False, compare=False)
    doubts: Sequence[str] = field(default=(), compare=False)

    @cached_property
    def columns(self) -> list[Column]:
        """What the cells of each column sort by."""
        cells = ([row[i] for row in self.rows] for i in range(len(self.header)))
        return read_columns(cells, self.prefers_comma)

    def find_number_columns(self) -> list[bool]:
        """Return, for each column, whether it has numbers and otherwise only missing cells."""
        return [column.is_number for column in self.columns]

    def find_column(self, name: str) -> int:
        """
        Return the index of the first column of a name, regardless of spaces around it.

        raises: TableError if there is no such column
        """
        names = [x.strip() for x in self.header]
        if name not in names:
            raise TableError(f"no column {name!r}; {suggest(name, names)}")
        return names.index(name)

    def select_columns(self, names: str) -> "Table":
        """
        Return the table with these columns only, in this order.

        names:  separated by commas; quote a name that contains a comma
        raises: TableError for an unknown column
        """
        indices = [self.find_column(name) for name in split_names(names)]
        if not indices:
            raise TableError(f"no column names in {names!r}")
        return replace(
            self,
            header=[self.header[i] for i in indices],
            rows=[[row[i] for i in indices] for row in self.rows],
        )

    def filter_rows(self, where: str) -> "Table":
        """
        Return the table with those rows only that match a filter expression, as of `.. runs::`.

        Missing cells fail every comparison. Numbers may have units: `wall < "90 min"`.

        raises: TableError if the expression is wrong, or no row matches it
        """
        columns, values = {}, {}
        for i, (name, column) in enumerate(zip(self.header, self.columns, strict=True)):
            if (name := name.strip()) not in columns:
                columns[name] = column
                cells = column.keys if column.is_number else [row[i].strip() for row in self.rows]
                values[name] = [
                    None if key is None else x for key, x in zip(column.keys, cells, strict=True)
                ]
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        try:
            chosen = filter_rows(where, rows, lambda name, text: columns[name].read_limit(text))
        except WhereError as error:
            raise TableError(f":where: {error}") from None
        if not chosen:
            raise TableError(f":where: matches none of {len(self.rows)} rows")
        return replace(self, rows=[self.rows[i] for i in chosen])

    def sort_rows(self, names: str) -> "Table":
        """
        Return the table sorted by these columns, the first of them being the primary key.

        Equal cells stay in their order.  `order.py` says what is less.

        names:  separated by commas; ``desc`` after a name sorts in descending order
        raises: TableError for an unknown column
        """
        order = list(range(len(self.rows)))
        for item in reversed(split_names(names)):
            name, _, direction = item.rpartition(" ")
            down = direction == "desc" and item not in map(str.strip, self.header)
            keys = self.columns[self.find_column(name.strip() if down else item)].keys
            present = [i for i in order if keys[i] is not None]
            missing = [i for i in order if keys[i] is None]
            order = [*sorted(present, key=keys.__getitem__, reverse=down), *missing]
        return replace(self, rows=[self.rows[i] for i in order])

    def read_formats(self, text: str) -> dict[int, str]:
        """
        Return the formats of columns, by index.

        text:   a line ``name: format`` for each column, or one format for all columns of numbers
        raises: TableError for an unknown column, or a format that Python doesn't know for numbers
        """
        formats = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            name, colon, spec = line.rpartition(":")
            spec = spec.strip()
            try:
                if re.search(r"\d{4}", spec):  # wider than any page
                    raise ValueError
                format(1, spec)
            except ValueError:
                raise TableError(
                    f"bad format {spec!r}; expected one of Python's for numbers, such as .3f"
                ) from None
            columns = [i for i, yes in enumerate(self.find_number_columns()) if yes]
            for i in [self.find_column(name.strip())] if colon else columns:
                formats[i] = spec
        return formats


def split_names(text: str) -> list[str]:
    """Return the names in a list that is written as CSV, on one or several lines."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return [name.strip() for row in rows for name in row if name.strip()]


def format_number(text: str, spec: str) -> str:
    """Format a cell, unless it isn't a plain number."""
    digits = text.replace(",", "").replace("−", "-")
    try:
        value = int(digits) if re.fullmatch(r"[+-]?\d+", digits.strip()) else float(digits)
        if value - value != 0:  # infinite, or not a number
            return text
        result = format(value, spec)
    except (ValueError, OverflowError):  # no number; too large; a fraction with an integer format
        return text
    # A rounded zero has no sign.
    return result if re.search(r"[1-9]", result) else result.replace("-", "", 1)
