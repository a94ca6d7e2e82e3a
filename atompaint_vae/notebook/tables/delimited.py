"""
CSV and TSV: fields as written, delimited and encoded as the file says, or as can only be meant.

A file's encoding is UTF-8, or what its byte-order mark says. Its delimiter is what a first line
`sep=;` says; else commas (tabs in a .tsv file), unless only semicolons or tabs, of these three,
make rows of the same number of fields. Where several do, the file is refused until the page
names one.
"""

import codecs
import csv
import io
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

from .cells import Grid, TableError

NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "space": " ", "bar": "|"}
GUESSED = (",", ";", "\t")
SUSPECTS = (*GUESSED, "|", ":")
SEP_LINE = re.compile(r'"?sep=(.)"?(?:\r\n|\r|\n|$)')
SPACED = re.compile(r' +".*"$', re.DOTALL)  # a field that was meant to be quoted
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's mark, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_csv(
    path: Path, delimiter: str | None = None, encoding: str | None = None, default: str = ","
) -> Grid:
    """
    Return the fields of a CSV file as written, without blank lines.

    Where a quoted field follows spaces, as in `a, "b, c"`, fields begin after these spaces.

    delimiter: a character or one of NAMES; by default as above
    encoding:  a name that Python knows; by default as above
    default:   the delimiter of such files
    raises:    TableError if the file can't be read so, or can be read in several ways
    """
    text = _decode(path, encoding)
    first = SEP_LINE.match(text)
    text, num_skipped = (text[first.end() :], 1) if first else (text, 0)
    given = _read_delimiter(path, delimiter) if delimiter is not None else first and first[1]
    parse = partial(_parse, path, text, num_skipped)
    if given:
        cells = parse(given)
    else:
        given, cells = _guess(path, parse, default)
    doubts = []
    if cells and len(cells[0]) == 1:
        found = [x for x in SUSPECTS if x != given and all(x in row[0] for row in cells)]
        doubts = [
            f"one column, but each row has {_name(x)}; if it's the delimiter, write"
            f" ':delimiter: {_write(x)}'"
            for x in found[:1]
        ]
    return Grid(cells, prefers_comma=given == ";", doubts=doubts)


read_tsv = partial(read_csv, default="\t")


def _decode(path: Path, encoding: str | None) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path.name}: can't be read: {error.strerror}") from None
    known = encoding or next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(known)
    except LookupError:
        raise TableError(
            f"{path.name}: unknown encoding {encoding!r}; expected one such as latin-1 or utf-16"
        ) from None
    except UnicodeDecodeError as error:
        hint = "" if encoding else "; name its encoding, such as ':encoding: latin-1'"
        name = known.upper().removesuffix("-SIG")
        raise TableError(f"{path.name}: not {name} at byte {error.start}{hint}") from None
    if "\0" in text:
        hint = "; name its encoding, such as ':encoding: utf-16-le'" if not encoding else ""
        raise TableError(f"{path.name}: not {known.upper()}: it has null characters{hint}")
    return text.removeprefix("\ufeff")


def _read_delimiter(path: Path, text: str) -> str:
    delimiter = NAMES.get(text.strip().lower(), text.strip() or text)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        known = ", ".join(x for x in NAMES if x.isalpha())
        raise TableError(
            f"{path.name}: bad delimiter {text!r}; expected one character, or one of {known}"
        )
    return delimiter


def _guess(path: Path, parse, default: str) -> tuple[str, list[list[str]]]:
    """Return the only delimiter that makes a table of several columns; else the default."""
    failure = None
    tables = {}
    for delimiter in dict.fromkeys((default, *GUESSED)):
        try:
            tables[delimiter] = parse(delimiter)
        except TableError as error:
            failure = error if delimiter == default else failure
    wide = [x for x, cells in tables.items() if cells and len(cells[0]) > 1]
    if len(wide) > 1:
        raise TableError(
            f"{path.name}: its delimiter may be {' or '.join(map(_name, wide))};"
            f" write ':delimiter: {_write(wide[0])}' or ':delimiter: {_write(wide[1])}'"
        )
    if wide:
        return wide[0], tables[wide[0]]
    if failure:
        raise TableError(f"{failure}; if the delimiter isn't {_name(default)}, write ':delimiter:'")
    return default, tables[default]


def _parse(path: Path, text: str, num_skipped: int, delimiter: str) -> list[list[str]]:
    """
    Return the fields of a text.

    num_skipped: lines before the text, in the numbers of lines that errors name
    raises:      TableError if a line has a different number of fields than the header
    """

    def parse(**options) -> list[list[str]]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **options)
        grid: list[list[str]] = []
        try:
            for row in reader:
                if row and grid and len(row) != len(grid[0]):
                    raise TableError(
                        f"{path.name}:{reader.line_num + num_skipped}: {len(row)} fields,"
                        f" expected {len(grid[0])} as in the header"
                    )
                if row:
                    grid.append(row)
        except csv.Error as error:
            line = reader.line_num + num_skipped
            raise TableError(f"{path.name}:{line}: {error}") from None
        return grid

    failure, grid = None, []
    try:
        grid = parse(strict=True)
    except TableError as error:
        failure = error
    if f'{delimiter} "' in text and (failure or any(SPACED.match(x) for row in grid for x in row)):
        with suppress(TableError):  # a quote within a field
            return parse(strict=True, skipinitialspace=True)
    if failure:
        raise failure
    return grid


def _name(delimiter: str) -> str:
    return {"\t": "a tab"}.get(delimiter, repr(delimiter))


def _write(delimiter: str) -> str:
    return {"\t": "tab"}.get(delimiter, delimiter)
