import datetime
import zipfile
from pathlib import Path

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


FORMATS = Path(__file__).parent / "files/formats.xlsx"


def list_shown(table):
    return [[getattr(x, "shown", x) for x in row] for row in table.rows]


def test_xlsx_shows_what_the_sheet_shows():
    table = read_table(FORMATS)
    shown = dict(zip(table.header, list_shown(table)[0], strict=True))
    assert shown == {
        "pct": "48%", "pct1": "50.0%", "money": "$150,000", "eur": "1,234.50 €",
        "thou": "1,234,567", "date": "17/12/2024", "dt": "2024-12-17 08:30", "time": "08:30",
        "dur": "25:03", "sci": "1.50E-07", "frac": "1/4", "neg0": "0", "num1": "3.3",
        "err": "#DIV/0!", "rich": "x", "bool": "TRUE", "accounting": "-12.50",
    }  # fmt: skip
    exact = dict(zip(table.header, table.rows[0], strict=True))
    assert [exact[x] for x in ("pct", "date", "dt", "time", "dur", "frac")] == [
        "47.5%", "2024-12-17", "2024-12-17 08:30:00.500000", "08:30:00", "25:03:00", "0.25",
    ]  # fmt: skip


def test_xlsx_sorts_by_values():
    table = read_table(FORMATS)
    for name in ("pct", "money", "eur", "date", "dt", "time", "dur", "frac", "accounting"):
        i = table.header.index(name)
        assert name in ("date", "dt") or table.columns[i].is_number
    # 2 January comes before 17 December, 3 minutes before 25 hours
    for name in ("pct", "money", "eur", "date", "dt", "dur"):
        assert table.sort_rows(name).rows[0] == table.rows[1], name
    for name in ("time", "frac", "accounting"):
        assert table.sort_rows(name).rows[0] == table.rows[0], name
    assert table.filter_rows("pct > 40").rows == table.rows[:1]
    assert table.filter_rows('dur > "1:00:00"').rows == table.rows[:1]


def make_hidden_book(path):
    book = openpyxl.Workbook()
    secret = book.active
    secret.title = "secret"
    secret.append(["secret"])
    secret.sheet_state = "hidden"
    sheet = book.create_sheet("shown")
    for row in (["title", None, None, None], ["a", "b", "c", "d"], [1, 2, 3, 4], [5, 6, 7, 8],
                [9, 10, 11, 12]):  # fmt: skip
        sheet.append(row)
    sheet.row_dimensions[1].hidden = True
    sheet.row_dimensions[4].hidden = True
    sheet.column_dimensions["B"].hidden = True
    book.save(path)
    return path


def test_hidden_rows_columns_and_sheets_of_xlsx(tmp_path):
    path = make_hidden_book(tmp_path / "x.xlsx")
    assert read_table(path) == Table(["a", "c", "d"], [["1", "3", "4"], ["9", "11", "12"]])
    # a range counts hidden rows and columns, as the sheet does
    assert read_table(path, cells="B2:C5") == Table(["c"], [["3"], ["11"]])
    assert read_table(path, sheet="secret") == Table(["secret"], [])
    with pytest.raises(TableError, match=r"x\.xlsx: empty"):
        read_table(path, cells="B2:B5")


def test_all_sheets_hidden(tmp_path):
    path = make_hidden_book(tmp_path / "x.xlsx")
    with zipfile.ZipFile(tmp_path / "y.xlsx", "w") as new, zipfile.ZipFile(path) as old:
        for name in old.namelist():
            content = old.read(name)
            if name == "xl/workbook.xml":
                content = content.replace(b'state="visible"', b'state="hidden"')
            new.writestr(name, content)
    assert read_table(tmp_path / "y.xlsx").header == ["secret"]


def test_formulas_without_a_value_and_errors_of_xlsx(tmp_path):
    path = tmp_path / "x.xlsx"
    book = openpyxl.Workbook()
    for row in (["a", "b"], [1, "=A2*2"], [2, "=A3*2"], [3, "#DIV/0!"], [4, 7]):
        book.active.append(row)
    book.save(path)
    table = read_table(path)
    assert [row[1] for row in table.rows] == ["=A2*2", "=A3*2", "#DIV/0!", "7"]
    assert table.doubts == [
        "the formulas in B2, B3 have no value, only text; save the file from a spreadsheet program"
    ]
    assert table.columns[1].is_number
    assert [row[1] for row in table.sort_rows("b desc").rows] == ["7", "=A2*2", "=A3*2", "#DIV/0!"]


def test_ods_shows_what_the_sheet_shows(tmp_path):
    path = write_ods(
        tmp_path / "x.ods",
        s=[
            ["pct", "eur", "day", "time", "error"],
            [number_cell(0.475, "48%", "percentage"), number_cell(1234.5, "1,234.50 €", "currency"),
             {"valuetype": "date", "datevalue": "2024-12-17", "shown": "17/12/24"},
             {"valuetype": "time", "timevalue": "PT25H03M00S", "shown": "25:03"},
             number_cell(0, "#DIV/0!")],
        ],
    )  # fmt: skip
    table = read_table(path)
    assert table.rows == [["47.5%", "1,234.50 €", "2024-12-17", "25:03:00", "#DIV/0!"]]
    assert list_shown(table) == [["48%", "1,234.50 €", "17/12/24", "25:03", "#DIV/0!"]]


HIDDEN_ODS = """\
<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
  xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
  xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"
  xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0">
<office:automatic-styles><style:style style:name="ta2" style:family="table">
  <style:table-properties table:display="false"/></style:style></office:automatic-styles>
<office:body><office:spreadsheet>
<table:table table:name="secret" table:style-name="ta2">
  <table:table-row><table:table-cell><text:p>secret</text:p></table:table-cell></table:table-row>
</table:table>
<table:table table:name="shown">
  <table:table-column/><table:table-column table:visibility="collapse"/><table:table-column/>
  {rows}
</table:table>
</office:spreadsheet></office:body></office:document-content>
"""


def test_hidden_rows_columns_sheets_and_formulas_of_ods(tmp_path):
    cell = "<table:table-cell{}><text:p>{}</text:p></table:table-cell>".format
    rows = ["".join(cell("", x) for x in line) for line in ("abc", "123", "456")]
    formula = '<table:table-cell table:formula="of:=1+1"/>'
    lines = [("", rows[0]), (' table:visibility="filter"', rows[1]),
             ("", formula + cell("", "5") + cell("", "6"))]  # fmt: skip
    made = "".join(f"<table:table-row{x}>{y}</table:table-row>" for x, y in lines)
    write_zip(tmp_path / "x.ods", HIDDEN_ODS.format(rows=made))
    table = read_table(tmp_path / "x.ods")
    assert table == Table(["a", "c"], [["=1+1", "6"]])
    assert table.doubts[0].startswith("the formula in A3 has no value")
