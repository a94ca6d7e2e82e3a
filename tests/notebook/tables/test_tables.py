import datetime

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atompaint_vae.notebook.tables.readers import (
    Table,
    TableError,
    read_table,
    select_range,
)

GRID = [["a", "b", "c"], ["1", "2", "3"], ["4", "5", "6"]]

TRICKY_CSV = (
    '\ufeffid,value,"note, quoted"\r\n'
    '001,1e5,"a ""quoted"" word"\r\n'
    '\r\n'
    'NaN,,<script>alert(1)</script>\r\n'
    '007,1.50," Å β, $x$ -- \'q\' "\r\n'
    '1e5,NA,"two\nlines"\r\n'
)
TRICKY_ROWS = [
    ["001", "1e5", 'a "quoted" word'],
    ["NaN", "", "<script>alert(1)</script>"],
    ["007", "1.50", " Å β, $x$ -- 'q' "],
    ["1e5", "NA", "two\nlines"],
]


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def write_xlsx(path, **sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_csv_keeps_cells_as_they_are_written(tmp_path):
    table = read_table(write(tmp_path / "x.csv", TRICKY_CSV))
    assert table == Table(["id", "value", "note, quoted"], TRICKY_ROWS)


def test_tsv_keeps_cells_as_they_are_written(tmp_path):
    table = read_table(write(tmp_path / "x.tsv", "id\tnote\n001\ta, b\n1e5\t\n"))
    assert table == Table(["id", "note"], [["001", "a, b"], ["1e5", ""]])


def test_csv_of_one_column_keeps_an_empty_cell(tmp_path):
    assert read_table(write(tmp_path / "x.csv", 'a\n1\n""\n')).rows == [["1"], [""]]


NT_DICTIONARIES = """\
-
  run: 001
  loss: 1e5
-
  run: NaN
  note:
    > two
    > lines
"""
NT_LISTS = "-\n  - run\n  - loss\n-\n  - 001\n  - <b>\n"


def test_nestedtext_dictionaries(tmp_path):
    assert read_table(write(tmp_path / "x.nt", NT_DICTIONARIES)) == Table(
        ["run", "loss", "note"], [["001", "1e5", ""], ["NaN", "", "two\nlines"]]
    )


def test_nestedtext_lists(tmp_path):
    table = read_table(write(tmp_path / "x.nt", NT_LISTS))
    assert table == Table(["run", "loss"], [["001", "<b>"]])


def test_xlsx_values(tmp_path):
    path = tmp_path / "x.xlsx"
    write_xlsx(
        path,
        first=[
            ["id", "number", "when", "flag"],
            ["001", 1, datetime.date(2024, 12, 17), True],
            ["1e5", 2.5, datetime.datetime(2024, 12, 17, 8, 30), False],
            ["NaN", None, None, None],
            [None, 1e5, None, None],
        ],
        second=[["x"], ["y"]],
    )
    book = openpyxl.load_workbook(path)
    book["first"]["B5"].number_format = "0000000"
    book["first"]["B2"].number_format = "000"
    book.save(path)

    assert read_table(path) == Table(
        ["id", "number", "when", "flag"],
        [
            ["001", "001", "2024-12-17", "TRUE"],
            ["1e5", "2.5", "2024-12-17 08:30:00", "FALSE"],
            ["NaN", "", "", ""],
            ["", "0100000", "", ""],
        ],
    )
    assert read_table(path, sheet="second") == Table(["x"], [["y"]])


def test_xlsx_without_the_empty_ends(tmp_path):
    path = write_xlsx(tmp_path / "x.xlsx", s=[["a", "b", None], [1, None, None], [None, None, ""]])
    assert read_table(path) == Table(["a", "b"], [["1", ""]])


def test_parquet_values(tmp_path):
    frame = pd.DataFrame(
        {
            "id": ["001", "1e5", "NaN"],
            "single": np.array([0.1, np.inf, 2], np.float32),
            "double": [0.1, 1e300, None],
            "whole": pd.array([2**62 + 1, None, 3], "Int64"),
            "text": ["<b>", None, "a,b"],
            "when": pd.to_datetime(["2024-10-29", "2024-12-17", None]),
        }
    )
    path = tmp_path / "x.parquet"
    frame.to_parquet(path)
    assert read_table(path).rows == [
        ["001", "0.1", "0.1", "4611686018427387905", "<b>", "2024-10-29 00:00:00"],
        ["1e5", "inf", "1e+300", "", "", "2024-12-17 00:00:00"],
        ["NaN", "2.0", "", "3", "a,b", ""],
    ]


def test_parquet_tells_nan_from_nothing(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1.0, float("nan"), None]}), path)
    assert read_table(path).rows == [["1.0"], ["NaN"], [""]]


@pytest.mark.parametrize("name, header", [("run", "run"), (None, "")])
def test_parquet_index_comes_first(tmp_path, name, header):
    path = tmp_path / "x.parquet"
    pd.DataFrame({"loss": [1, 2]}, index=pd.Index(["a", "b"], name=name)).to_parquet(path)
    assert read_table(path) == Table([header, "loss"], [["a", "1"], ["b", "2"]])


@pytest.mark.parametrize(
    "cells, expected",
    [
        ("A1:C3", GRID),
        ("B2:C3", [["2", "3"], ["5", "6"]]),
        ("$b$2:c3", [["2", "3"], ["5", "6"]]),
        ("B:B", [["b"], ["2"], ["5"]]),
        ("2:3", GRID[1:]),
        ("C3", [["6"]]),
        ("B2:C", [["2", "3"], ["5", "6"]]),
    ],
)
def test_select_range(cells, expected):
    assert select_range(GRID, cells, "x.csv") == expected


@pytest.mark.parametrize(
    "cells, message",
    [
        ("B2-D10", "x.csv: bad range 'B2-D10'; expected one such as B2:D10"),
        ("", "bad range ''"),
        ("7", "bad range '7'"),
        ("A0:B2", "bad range 'A0:B2'"),
        ("C3:A1", "range 'C3:A1' ends before it starts"),
        ("A1:D3", "range 'A1:D3' extends beyond the table, which is A1:C3"),
        ("A2:A9", "range 'A2:A9' extends beyond"),
    ],
)
def test_bad_range(cells, message):
    with pytest.raises(TableError) as error:
        select_range(GRID, cells, "x.csv")
    assert message in str(error.value)


def test_columns_beyond_z():
    grid = [[str(i) for i in range(30)]]
    assert select_range(grid, "Z1:AB1", "x.csv") == [["25", "26", "27"]]
    with pytest.raises(TableError, match="which is A1:AD1"):
        select_range(grid, "AE1:AE1", "x.csv")


def test_number_columns():
    rows = [
        ["001", "1e5", "2.0x", "a", "", "1,000", "−3", "2024-12-17"],
        ["2", "NaN", "10x", "1", "", "", "-inf", "2024-10-29"],
    ]
    assert Table([""] * 8, rows).find_number_columns() == [
        True, True, True, False, False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("x.csv", b"", "x.csv: empty; expected a row of column names"),
        ("x.csv", b"a,b\n1,2\n1,2,3\n", "x.csv:3: 3 fields, expected 2 as in the header"),
        ("x.csv", b"a,b\n\n1\n", "x.csv:3: 1 fields, expected 2"),
        ("x.csv", b'a,b\n"1,2\n', "x.csv:2: unexpected end of data"),
        ("x.csv", b"a\n\xff\n", "x.csv: not UTF-8 at byte 2"),
        ("x.xlsx", b"no archive", "x.xlsx: not a readable spreadsheet"),
        ("x.parquet", b"no Parquet file at all", "x.parquet: not a readable Parquet file"),
        ("x.nt", b"- a\nb: c\n", "x.nt:2: expected list item"),
        ("x.nt", b"- a\n- b\n", "x.nt:1: expected a list of lists, or of dictionaries"),
        ("x.nt", b"a: 1\n", "x.nt:1: expected a list, of lists or of dictionaries"),
        ("x.nt", b"-\n  a: 1\n-\n  - b\n", "x.nt:4: expected a list of lists, or of dict"),
        ("x.nt", b"-\n  a: 1\n  b:\n    - x\n", "x.nt:4: expected text"),
        ("x.nt", b"-\n  - a\n  - b\n-\n  - 1\n", "x.nt:5: expected 2 items as in the first"),
        ("x.nt", b"- \xff\n", "x.nt: not UTF-8"),
        ("x.nt", b"", "x.nt: empty; expected a row of column names"),
        ("x.docx", b"", "x.docx: unknown kind of table '.docx'; known: .csv, .tsv, .xlsx"),
    ],
)
def test_broken_file(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError) as error:
        read_table(tmp_path / name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_suggests_its_neighbour(tmp_path):
    write(tmp_path / "ratios.csv", "a\n")
    with pytest.raises(TableError) as error:
        read_table(tmp_path / "ratio.csv")
    assert str(error.value) == "no such file: ratio.csv; did you mean ratios.csv?"


def test_unknown_sheet(tmp_path):
    path = write_xlsx(tmp_path / "x.xlsx", first=[["a"]], second=[["b"]])
    with pytest.raises(TableError) as error:
        read_table(path, sheet="third")
    assert str(error.value) == "x.xlsx: no sheet 'third'; known: first, second"


def test_sheet_of_a_file_without_sheets(tmp_path):
    with pytest.raises(TableError, match="sheet 'first' is given, but the file has no sheets"):
        read_table(write(tmp_path / "x.csv", "a\n"), sheet="first")


def test_formula_without_a_value(tmp_path):
    path = write_xlsx(tmp_path / "x.xlsx", s=[["a"], [1], ["=1+1"]])
    table = read_table(path)
    assert table.rows == [["1"], ["=1+1"]]
    assert table.find_number_columns() == [True]  # a formula is a missing number
    assert table.doubts == [
        "the formula in A3 has no value, only text; save the file from a spreadsheet program"
    ]


def test_merged_cells_have_the_value_of_the_first(tmp_path):
    path = write_xlsx(tmp_path / "x.xlsx", first=[["a", "b", "c"], [1, None, 3]])
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("A2:B2")
    book.save(path)
    assert read_table(path).rows == [["1", "", "3"]]


def test_rows_of_a_sheet_need_not_be_as_long_as_the_header(tmp_path):
    path = write_xlsx(tmp_path / "x.xlsx", first=[["a", "b"], [1], [], [2, 3, 4]])
    assert read_table(path) == Table(
        ["a", "b", ""], [["1", "", ""], ["", "", ""], ["2", "3", "4"]]
    )


def test_formatted_empty_rows_are_no_part_of_a_table(tmp_path):
    path = write_xlsx(tmp_path / "x.xlsx", first=[["a"], [1]])
    book = openpyxl.load_workbook(path)
    book.active["C20000"].font = openpyxl.styles.Font(bold=True)
    book.save(path)
    assert read_table(path) == Table(["a"], [["1"]])


def test_parquet_columns_of_one_name(tmp_path):
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet") == Table(["a", "a"], [["1", "2"]])


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(TableError) as error:
        read_table(tmp_path / "x.csv")
    assert str(error.value) == "x.csv: a folder; expected a file"
