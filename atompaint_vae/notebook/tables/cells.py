"""A table of text: its columns and rows, chosen, sorted and formatted as a page asks for."""

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
    """A table that can't be read or shown; the message is one line, for whoever wrote the page."""


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

    def find_column(self, name: str) -> int:
        """
        The index of a column, the first of that name.

        raises: TableError if there is none
        """
        if name not in self.header:
            raise TableError(f"no column {name!r}; {suggest(name, self.header)}")
        return self.header.index(name)

    def select_columns(self, names: str) -> "Table":
        """
        The table with these columns only, in this order.

        names:  separated by commas; a name that has a comma stands in quotes
        raises: TableError if a column isn't there
        """
        indices = [self.find_column(name) for name in split_names(names)]
        if not indices:
            raise TableError(f"no names of columns in {names!r}")
        return Table(
            [self.header[i] for i in indices], [[row[i] for i in indices] for row in self.rows]
        )

    def sort_rows(self, names: str) -> "Table":
        """
        The table sorted by these columns, the first of them foremost.

        Numbers are sorted as numbers, text as text in which numbers count as such. Empty cells
        come last.

        names:  separated by commas; ``desc`` after a name sorts downwards
        raises: TableError if a column isn't there
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
        The format of each column that has one, by its index.

        text:   a line ``name: format`` for each column, or one format for all columns of numbers
        raises: TableError if a column isn't there, or a format isn't one of Python's for numbers
        """
        formats = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            name, colon, spec = line.rpartition(":")
            spec = spec.strip()
            try:
                if re.search(r"\d{4}", spec):  # a cell as wide as a book
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
    """The names in a list that is written as CSV, on one line or on several."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return [name.strip() for row in rows for name in row if name.strip()]


def read_number(text: str) -> float | None:
    """The number that a cell of a column of numbers holds, None if it's empty."""
    digits = text.strip().rstrip("%x×").replace(",", "").replace("−", "-")
    return float(digits) if digits else None


def make_text_key(text: str) -> str:
    """What text is sorted by: no case, no diacritics, and 10 after 9."""
    plain = "".join(
        x for x in unicodedata.normalize("NFD", text.strip()) if not unicodedata.combining(x)
    )
    return re.sub(r"\d+", lambda m: m[0].zfill(12), plain.lower())


def format_number(text: str, spec: str) -> str:
    """A cell in a format of Python's; as it's written if it holds no plain number."""
    digits = text.replace(",", "").replace("−", "-")
    try:
        value = int(digits) if re.fullmatch(r"[+-]?\d+", digits.strip()) else float(digits)
        if value - value != 0:  # infinite, or not a number
            return text
        result = format(value, spec)
    except (ValueError, OverflowError):  # no number; too large; a fraction, in a format of integers
        return text
    # A rounded zero has no sign.
    return result if re.search(r"[1-9]", result) else result.replace("-", "", 1)
