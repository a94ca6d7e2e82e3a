"""XLSX and ODS: the values of a sheet as text, in the format shown unless that loses digits."""

import re
from contextlib import closing, suppress
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

from .cells import TableError, read_number

ODF = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
TABLE, TEXT, OFFICE = ODF % "table", ODF % "text", ODF % "office"
MAX_ROWS = 2**20  # of a sheet, in any spreadsheet program
NUMBER_FORMAT = re.compile(r"(0+)(?:\.(0+))?")  # 000, 0.00


def read_xlsx(path: Path, sheet: str | None) -> list[list[str]]:
    """
    Return the values of a sheet as text, without empty rows and columns at the end.

    sheet:  name of the sheet, the first by default
    raises: TableError if the file is broken, the sheet is missing, or a formula has no value
    """
    import openpyxl

    def load(**kwargs):
        # Without read_only, formatted empty rows can take a thousand times the memory.
        with closing(openpyxl.load_workbook(path, read_only=True, **kwargs)) as book:
            names = [x.title for x in book.worksheets]
            chosen = book.worksheets[find_sheet(path, sheet, names)]
            chosen.reset_dimensions()  # those in the file may be wrong
            yield from chosen.iter_rows()

    grid = []
    try:
        # Formulas are read too: one without a stored value would look like an empty cell.
        for values, formulas in zip(load(data_only=True), load(data_only=False), strict=True):
            for value, formula in zip(values, formulas, strict=True):
                if value.value is None and formula.data_type == "f":
                    raise TableError(
                        f"{path.name}: the formula in {formula.coordinate} has no value;"
                        " save the file from a spreadsheet program"
                    )
            grid.append([_format_cell(cell) for cell in values])
    except TableError:
        raise
    except Exception as error:
        # A broken archive can raise any error in the parsers below.
        raise TableError(f"{path.name}: not a readable spreadsheet: {error}") from error
    return _trim(grid)


def read_ods(path: Path, sheet: str | None) -> list[list[str]]:
    """
    Return the values of a sheet as text, without empty rows and columns at the end.

    sheet:  name of the sheet, the first by default
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

    grid: list[list[str]] = []
    for row in sheets[find_sheet(path, sheet, names)].iter(f"{TABLE}table-row"):
        cells: list[str] = []
        for cell in row:
            if cell.tag in (f"{TABLE}table-cell", f"{TABLE}covered-table-cell"):
                _repeat(cells, _read_ods_cell(cell), cell.get(f"{TABLE}number-columns-repeated"))
        while cells and not cells[-1]:
            cells.pop()
        _repeat(grid, cells, row.get(f"{TABLE}number-rows-repeated"))
    return _trim(grid)


def find_sheet(path: Path, sheet: str | None, names: list[str]) -> int:
    """
    Return the index of a sheet, 0 if none is named.

    raises: TableError for an unknown sheet
    """
    if sheet is None:
        return 0
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


def _format_cell(cell) -> str:
    value = cell.value
    if value is None:  # includes all but the first of merged cells, which have no type
        return ""
    if isinstance(value, bool):
        return str(value).upper()  # as spreadsheets show it
    if isinstance(value, int | float) and (
        match := NUMBER_FORMAT.fullmatch(cell.number_format or "")
    ):
        text = f"{value:0{len(match[0])}.{len(match[2] or '')}f}"
        if float(text) == value:
            return text
    if cell.is_date and "h" not in cell.number_format.lower():
        date = getattr(value, "date", None)
        return format_value(date() if date else value)
    return format_value(value)


def _read_ods_cell(cell: ElementTree.Element) -> str:
    shown = "\n".join(_read_text(x) for x in cell.findall(f"{TEXT}p"))
    kind = cell.get(f"{OFFICE}value-type")
    if kind == "boolean":
        return cell.get(f"{OFFICE}boolean-value", shown).upper()
    if kind == "date":
        value = cell.get(f"{OFFICE}date-value", shown)
        return value.replace("T", " ")
    if kind in ("float", "percentage", "currency"):
        value = cell.get(f"{OFFICE}value", shown)
        with suppress(ValueError, TypeError):
            scale = 100 if shown.rstrip().endswith("%") else 1
            # The text shown may be rounded; then use the value itself.
            if abs(read_number(shown) - scale * float(value)) <= 1e-12 * abs(scale * float(value)):
                return shown
        return value
    return shown


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


def _trim(grid: list[list[str]]) -> list[list[str]]:
    while grid and not any(grid[-1]):
        grid.pop()
    width = max((i + 1 for row in grid for i, x in enumerate(row) if x), default=0)
    return [row[:width] + [""] * (width - len(row)) for row in grid]
