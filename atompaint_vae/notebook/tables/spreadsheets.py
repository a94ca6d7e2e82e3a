"""
XLSX and ODS: the values of a sheet as text, and what the sheet shows of them.

A value's text is what the sheet shows, unless that loses digits or isn't for every reader: then it
has all digits, dates are as of ISO 8601, and durations in hours, minutes and seconds.
"""

import datetime
import re
from collections.abc import Iterable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

from .cells import Cell, Grid, TableError
from .number_formats import format_serial
from .order import ERROR, normalise, read_quantity

ODF = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
TABLE, TEXT, OFFICE, STYLE = (ODF % x for x in ("table", "text", "office", "style"))
MAX_ROWS = 2**20  # of a sheet, in any spreadsheet program
MAX_COLUMNS = 2**14
DURATION = re.compile(r"(-?)P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d+))?S)?")


def read_xlsx(path: Path, sheet: str | None) -> Grid:
    """
    Return the values of a sheet as text, without empty rows and columns at the end.

    sheet:  name of the sheet, the first visible one by default
    raises: TableError if the file is broken, or the sheet is missing
    """
    import openpyxl

    def choose(book):
        names = [x.title for x in book.worksheets]
        visible = [x.sheet_state == "visible" for x in book.worksheets]
        chosen = book.worksheets[find_sheet(path, sheet, names, visible)]
        chosen.reset_dimensions()  # those in the file may be wrong
        return chosen

    try:
        # Without read_only, formatted empty rows can take a thousand times the memory.
        with closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as book:
            chosen = choose(book)
            hidden_rows, hidden_columns, unknown = _read_layout(chosen)
            cells = [[_read_xlsx_cell(x, book.epoch) for x in row] for row in chosen.iter_rows()]
        if unknown:
            with closing(openpyxl.load_workbook(path, read_only=True)) as book:
                for i, row in enumerate(choose(book).iter_rows()):
                    for j, cell in enumerate(row):
                        if (i, j) in unknown:
                            cells[i][j] = str(getattr(cell.value, "text", cell.value))
    except TableError:
        raise
    except Exception as error:
        # A broken archive can raise any error in the parsers below.
        raise TableError(f"{path.name}: not a readable spreadsheet: {error}") from error
    return _make_grid(cells, hidden_rows, hidden_columns, unknown)


def _read_layout(sheet) -> tuple[set[int], set[int], set[tuple[int, int]]]:
    """
    Return the hidden rows, the hidden columns and the formulas without a value, counted from 0.

    openpyxl tells none of them of a sheet that it reads row by row.
    """
    from openpyxl.utils.cell import coordinate_to_tuple

    rows, columns, unknown = set(), set(), set()
    number = 0
    with sheet._get_source() as source:
        for _, element in ElementTree.iterparse(source):
            tag = element.tag.rpartition("}")[2]
            is_hidden = element.get("hidden") in ("1", "true")
            if tag == "col" and is_hidden:
                last = min(int(element.get("max")), MAX_COLUMNS)
                columns.update(range(int(element.get("min")) - 1, last))
            elif tag == "row":
                number = int(float(element.get("r", number + 1)))
                rows.update([number - 1] * is_hidden)
                column = 0
                for cell in element:
                    place = cell.get("r")
                    column = coordinate_to_tuple(place)[1] if place else column + 1
                    if _lacks_value(cell):
                        unknown.add((number - 1, column - 1))
                element.clear()
    return rows, columns, unknown


def _lacks_value(cell: ElementTree.Element) -> bool:
    parts = {x.tag.rpartition("}")[2]: x for x in cell}
    if "f" not in parts or "is" in parts:
        return False
    return not ("v" in parts and (parts["v"].text or cell.get("t") == "str"))


def read_ods(path: Path, sheet: str | None) -> Grid:
    """
    Return the values of a sheet as text, without empty rows and columns at the end.

    sheet:  name of the sheet, the first visible one by default
    raises: TableError if the file is broken or the sheet is missing
    """
    try:
        with ZipFile(path) as archive:
            tree = ElementTree.fromstring(archive.read("content.xml"))
    except (BadZipFile, KeyError, OSError, ElementTree.ParseError) as error:
        reason = str(error).strip("'\"")
        raise TableError(f"{path.name}: not a readable spreadsheet: {reason}") from error
    sheets = tree.findall(f".//{OFFICE}spreadsheet/{TABLE}table")
    names = [x.get(f"{TABLE}name", "") for x in sheets]
    if not names:
        raise TableError(f"{path.name}: not a readable spreadsheet: it has no sheets")
    hidden = {
        style.get(f"{STYLE}name")
        for style in tree.iter(f"{STYLE}style")
        for properties in style.findall(f"{STYLE}table-properties")
        if properties.get(f"{TABLE}display") == "false"
    }
    visible = [x.get(f"{TABLE}style-name") not in hidden for x in sheets]
    chosen = sheets[find_sheet(path, sheet, names, visible)]

    grid: list[list[str]] = []
    hidden_rows: set[int] = set()
    for row in chosen.iter(f"{TABLE}table-row"):
        cells: list[str] = []
        for cell in row:
            if cell.tag in (f"{TABLE}table-cell", f"{TABLE}covered-table-cell"):
                _repeat(cells, _read_ods_cell(cell), cell.get(f"{TABLE}number-columns-repeated"))
        while cells and not cells[-1]:
            cells.pop()
        before = len(grid)
        _repeat(grid, cells, row.get(f"{TABLE}number-rows-repeated"))
        if _is_collapsed(row):
            hidden_rows.update(range(before, len(grid)))
    columns: list[bool] = []
    for column in chosen.iter(f"{TABLE}table-column"):
        _repeat(columns, _is_collapsed(column), column.get(f"{TABLE}number-columns-repeated"))
    hidden_columns = {i for i, is_hidden in enumerate(columns) if is_hidden}
    unknown = {
        (i, j) for i, row in enumerate(grid) for j, x in enumerate(row) if isinstance(x, Formula)
    }
    return _make_grid(grid, hidden_rows, hidden_columns, unknown)


class Formula(str):
    """A formula without a value."""


def _is_collapsed(element: ElementTree.Element) -> bool:
    return element.get(f"{TABLE}visibility") in ("collapse", "filter")


def find_sheet(path: Path, sheet: str | None, names: list[str], visible: list[bool]) -> int:
    """
    Return the index of a sheet, of the first visible one if none is named.

    raises: TableError for an unknown sheet
    """
    if sheet is None:
        return visible.index(True) if any(visible) else 0
    if sheet not in names:
        raise TableError(f"{path.name}: no sheet {sheet!r}; known: {', '.join(names)}")
    return names.index(sheet)


def format_value(value) -> str:
    """Return a value as text: dates without a time, floats with their shortest digits."""
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        is_moment = hasattr(value, "hour") and hasattr(value, "year")
        return value.isoformat(sep=" ") if is_moment else value.isoformat()
    text = str(value)
    return {"nan": "NaN"}.get(text, text) if not isinstance(value, str) else text


def _read_xlsx_cell(cell, epoch: datetime.datetime) -> str:
    from openpyxl.utils.datetime import to_excel

    value = cell.value
    if value is None:  # includes all but the first of merged cells, which have no type
        return ""
    if isinstance(value, bool):
        return str(value).upper()  # as spreadsheets show it
    code = cell.number_format or "General"
    if isinstance(value, int | float):
        return _pair(Decimal(repr(value)), format_serial(value, code, epoch), format_value(value))
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        if isinstance(value, datetime.timedelta):
            exact = _write_duration(value)
        else:
            is_day = isinstance(value, datetime.datetime) and value.time() == datetime.time()
            has_time = "h" in code.lower()
            exact = format_value(value.date() if is_day and not has_time else value)
        shown = format_serial(to_excel(value, epoch), code, epoch)
        return exact if shown in (None, exact) else Cell(exact, shown.strip())
    return format_value(value)


def _pair(value: Decimal, shown: str | None, exact: str) -> str:
    """Return the text of a number: what the sheet shows if that is the number, else both."""
    if shown is None:
        return exact
    shown = shown.strip()
    quantity = read_quantity(normalise(shown))
    if shown.endswith("%"):
        value = 100 * value
        exact = f"{value.normalize():f}%"
    return shown if quantity and quantity.value == value else Cell(exact, shown)


def _write_duration(duration: datetime.timedelta) -> str:
    """Return a duration as hours, minutes and seconds."""
    seconds, part = divmod(abs(duration), datetime.timedelta(seconds=1))
    rest = f".{part.microseconds:06d}".rstrip("0").rstrip(".")
    sign = "-" if duration < datetime.timedelta() else ""
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{rest}"


def _read_ods_cell(cell: ElementTree.Element) -> str:
    shown = "\n".join(_read_text(x) for x in cell.findall(f"{TEXT}p"))
    kind = cell.get(f"{OFFICE}value-type")
    formula = cell.get(f"{TABLE}formula")
    if formula and kind is None and not shown:
        return Formula(formula[formula.find("=") :])
    if ERROR.fullmatch(shown.lower()):
        return shown
    if kind == "boolean":
        return cell.get(f"{OFFICE}boolean-value", shown).upper()
    if kind == "date":
        exact = cell.get(f"{OFFICE}date-value", shown).replace("T", " ")
        return Cell(exact, shown or exact)
    if kind == "time":
        exact = _read_duration(cell.get(f"{OFFICE}time-value", "")) or shown
        return Cell(exact, shown or exact)
    if kind in ("float", "percentage", "currency"):
        value = cell.get(f"{OFFICE}value", shown)
        try:
            return _pair(Decimal(value), shown or None, value)
        except ArithmeticError:  # no number
            return shown
    return shown


def _read_duration(text: str) -> str | None:
    """Return a duration of ISO 8601 as hours, minutes and seconds."""
    match = DURATION.fullmatch(text)
    if not match:
        return None
    days, hours, minutes, seconds = (int(x or 0) for x in match.groups()[1:5])
    rest = (match[6] or "").rstrip("0")
    return f"{match[1]}{24 * days + hours}:{minutes:02d}:{seconds:02d}{rest and '.'}{rest}"


def _read_text(element: ElementTree.Element) -> str:
    pieces = [element.text or ""]
    for child in element:
        if child.tag == f"{TEXT}s":
            pieces.append(" " * int(child.get(f"{TEXT}c", "1")))
        elif child.tag in (f"{TEXT}tab", f"{TEXT}line-break"):
            pieces.append("\t" if child.tag == f"{TEXT}tab" else "\n")
        elif child.tag in (f"{TEXT}span", f"{TEXT}a"):
            pieces.append(_read_text(child))
        pieces.append(child.tail or "")
    return "".join(pieces)


def _repeat(items: list, item, count: str | None):
    # Files repeat the last row to the end of the sheet, a million times.
    items.extend([item] * min(int(count or 1), MAX_ROWS))


def _make_grid(
    cells: list[list[str]],
    hidden_rows: set[int],
    hidden_columns: set[int],
    unknown: Iterable[tuple[int, int]],
) -> Grid:
    """Return the cells without empty ends, None where they are hidden."""
    while cells and not any(cells[-1]):
        cells.pop()
    width = max((i + 1 for row in cells for i, x in enumerate(row) if x), default=0)
    shown = [
        [
            None if i in hidden_rows or j in hidden_columns else row[j] if j < len(row) else ""
            for j in range(width)
        ]
        for i, row in enumerate(cells)
    ]
    places = [f"{column_letters(j + 1)}{i + 1}" for i, j in sorted(unknown)]
    if not places:
        return Grid(shown)
    formulas = f"formula in {places[0]} has" if len(places) == 1 else \
        f"formulas in {', '.join(places[:3])}{', ...' * (len(places) > 3)} have"
    return Grid(shown, doubts=[
        f"the {formulas} no value, only text; save the file from a spreadsheet program"
    ])


def column_letters(number: int) -> str:
    """Return the letters of a column, which counts from 1."""
    letters = ""
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters or "A"
