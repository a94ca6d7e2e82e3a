"""Tables of text: their columns and rows are selected, sorted and formatted for a page."""

import csv
import re
import unicodedata
from dataclasses import dataclass

from ...text.suggest import suggest

NUMBER = re.compile(
    r"[+\-−]?"
    r"(\d{1,3}(,\d{3})+(\.\d*)?|\d+(\.\d*)?|\.\d+)([eE][+\-−]?\d+)?"
    r"\s?[%x×]?"
    r"|nan|[+\-−]?inf(inity)?",
    re.IGNORECASE,
)


class TableError(ValueError):
    """A table that can't be read or shown. The message is one line."""


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
        """Return, for each column, whether it has numbers and otherwise only empty cells."""
        return [
            any(column) and all(not x or NUMBER.fullmatch(x) for x in column)
            for column in (
                [row[i].strip() for row in self.rows] for i in range(len(self.header))
            )
        ]

    def find_column(self, name: str) -> int:
        """
        Return the index of the first column of a name.

        raises: TableError if there is no such column
        """
        if name not in self.header:
            raise TableError(f"no column {name!r}; {suggest(name, self.header)}")
        return self.header.index(name)

    def select_columns(self, names: str) -> "Table":
        """
        Return the table with these columns only, in this order.

        names:  separated by commas; quote a name that contains a comma
        raises: TableError for an unknown column
        """
        indices = [self.find_column(name) for name in split_names(names)]
        if not indices:
            raise TableError(f"no column names in {names!r}")
        return Table(
            [self.header[i] for i in indices], [[row[i] for i in indices] for row in self.rows]
        )

    def sort_rows(self, names: str) -> "Table":
        """
        Return the table sorted by these columns, the first of them being the primary key.

        Numbers are sorted by value, text in natural order (2 before 10). Empty cells come last.

        names:  separated by commas; ``desc`` after a name sorts in descending order
        raises: TableError for an unknown column
        """
        are_numbers = self.find_number_columns()
        rows = list(self.rows)
        for item in reversed(split_names(names)):
            name, _, order = item.rpartition(" ")
            down = item not in self.header and order == "desc"
            i = self.find_column(name.strip() if down else item)
            make_key = read_number if are_numbers[i] else make_text_key
            full, empty = [], []
            for row in rows:
                key = make_key(row[i])
                if key is None or key != key or key == "":
                    empty.append(row)
                else:
                    full.append((key, row))
            full.sort(key=lambda x: x[0], reverse=down)
            rows = [row for _, row in full] + empty
        return Table(self.header, rows)

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


def read_number(text: str) -> float | None:
    """Return the number in a cell of a column of numbers, None if the cell is empty."""
    digits = text.strip().rstrip("%x×").replace(",", "").replace("−", "-")
    return float(digits) if digits else None


def make_text_key(text: str) -> str:
    """Return the key to sort text by: without case and diacritics, 10 after 9."""
    plain = "".join(
        x for x in unicodedata.normalize("NFD", text.strip()) if not unicodedata.combining(x)
    )
    return re.sub(r"\d+", lambda m: m[0].zfill(12), plain.lower())


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
