import datetime
import zipfile

import openpyxl
import pytest
from odf import table, text
from odf.opendocument import OpenDocumentSpreadsheet

from atompaint_vae.notebook.tables.cells import Table, TableError
from atompaint_vae.notebook.tables.readers import read_table


def write_ods(path, **sheets):
    """A spreadsheet; a cell is text, or a dictionary of attributes and what is `shown`."""
    document = OpenDocumentSpreadsheet()
    for name, rows in sheets.items():
        sheet = table.Table(name=name)
        for row in rows:
            line = table.TableRow()
            for cell in row:
                attributes = {"shown": cell} if isinstance(cell, str) else dict(cell)
                shown = attributes.pop("shown", None)
                if isinstance(cell, str) and cell:
                    attributes["valuetype"] = "string"
                node = table.TableCell(**attributes)
                for paragraph in (shown or "").split("\n") if shown else []:
                    node.addElement(text.P(text=paragraph))
                line.addElement(node)
            sheet.addElement(line)
        document.spreadsheet.addElement(sheet)
    document.save(path)
    return path


def number_cell(value, shown, kind="float"):
    return {"valuetype": kind, "value": value, "shown": shown}


def test_ods_values(tmp_path):
    path = write_ods(
        tmp_path / "x.ods",
        first=[
            ["id", "number", "when", "flag"],
            ["001", number_cell(1, "001"),
             {"valuetype": "date", "datevalue": "2024-12-17", "shown": "17/12/24"},
             {"valuetype": "boolean", "booleanvalue": "true", "shown": "TRUE"}],
            ["1e5", number_cell(0.123456, "0.12"),
             {"valuetype": "date", "datevalue": "2024-12-17T08:30:00", "shown": "17/12/24"}, ""],
            ["NaN", number_cell(0.5, "50%", "percentage"), "two\nlines", ""],
            ["<b>", number_cell(1.5, "1.50"), "", ""],
            ["x", number_cell(100000, "1E+05"), "", ""],
        ],
        second=[["x"], ["y"]],
    )  # fmt: skip
    assert read_table(path) == Table(
        ["id", "number", "when", "flag"],
        [
            # as it is shown, unless that is rounded
            ["001", "001", "2024-12-17", "TRUE"],
            ["1e5", "0.123456", "2024-12-17 08:30:00", ""],
            ["NaN", "50%", "two\nlines", ""],
            ["<b>", "1.50", "", ""],
            ["x", "1E+05", "", ""],
        ],
    )
    assert read_table(path, sheet="second") == Table(["x"], [["y"]])


def test_ods_repeated_cells_rows_and_spaces(tmp_path):
    path = tmp_path / "x.ods"
    document = OpenDocumentSpreadsheet()
    sheet = table.Table(name="s")
    header = table.TableRow()
    for name in "abc":
        cell = table.TableCell(valuetype="string")
        cell.addElement(text.P(text=name))
        header.addElement(cell)
    row = table.TableRow(numberrowsrepeated=2)
    cell = table.TableCell(valuetype="string", numbercolumnsrepeated=2)
    paragraph = text.P(text="x")
    paragraph.addElement(text.S(c=2))
    paragraph.addElement(text.Span(text="y"))
    cell.addElement(paragraph)
    row.addElement(cell)
    row.addElement(table.TableCell(numbercolumnsrepeated=16000))
    empty = table.TableRow(numberrowsrepeated=1048570)
    empty.addElement(table.TableCell(numbercolumnsrepeated=16384))
    for part in (header, row, empty):
        sheet.addElement(part)
    document.spreadsheet.addElement(sheet)
    document.save(path)
    assert read_table(path) == Table(["a", "b", "c"], [["x  y", "x  y", ""]] * 2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path.write_bytes(b"no archive"), "x.ods: not a readable spreadsheet: File"),
        (
            lambda path: zipfile.ZipFile(path, "w").close(),
            "x.ods: not a readable spreadsheet: There is no item named 'content.xml'",
        ),
        (
            lambda path: write_zip(path, "<a"),
            "x.ods: not a readable spreadsheet: unclosed token",
        ),
        (lambda path: write_zip(path, "<a/>"), "x.ods: not a readable spreadsheet: it has no"),
        (lambda path: write_ods(path, s=[]), "x.ods: empty; expected a row of column names"),
    ],
)
def test_broken_ods(tmp_path, make, message):
    make(tmp_path / "x.ods")
    with pytest.raises(TableError) as error:
        read_table(tmp_path / "x.ods")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def write_zip(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("content.xml", content)


def test_unknown_sheet_of_ods(tmp_path):
    path = write_ods(tmp_path / "x.ods", first=[["a"]], second=[["b"]])
    with pytest.raises(TableError) as error:
        read_table(path, sheet="third")
    assert str(error.value) == "x.ods: no sheet 'third'; known: first, second"


@pytest.mark.parametrize(
    "value, code, expected",
    [
        (1.5, "0.00", "1.50"),
        (0.123456, "0.00", "0.123456"),
        (7, "000", "007"),
        (0.1, "General", "0.1"),
        (datetime.date(2024, 12, 17), "dd/mm/yy", "2024-12-17"),
    ],
)
def test_xlsx_number_formats(tmp_path, value, code, expected):
    book = openpyxl.Workbook()
    book.active.append(["a"])
    book.active.append([value])
    book.active["A2"].number_format = code
    book.save(tmp_path / "x.xlsx")
    assert read_table(tmp_path / "x.xlsx").rows == [[expected]]
