from decimal import Decimal
from pathlib import Path

import nestedtext as nt
import pytest

from atompaint_vae.notebook.tables.cells import Table, TableError
from atompaint_vae.notebook.tables.order import make_text_key, read_columns

CASES = nt.load(Path(__file__).with_name("order.nt"), top=list)


def by_name(case):
    return case["name"]


def split(line):
    return [x.strip() for x in line.split("|")]


def list_first(table):
    return [row[0] for row in table.rows]


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_order(case):
    table = Table(["x"], [[x] for x in case["cells"]])
    expected = split(case["sorted"])
    assert list_first(table.sort_rows("x")) == expected
    (column,) = table.columns
    missing = [x for x, key in zip(case["cells"], column.keys, strict=True) if key is None]
    present = expected[: len(expected) - len(missing)]
    assert list_first(table.sort_rows("x desc")) == [*reversed(present), *missing]


@pytest.mark.parametrize("case", [x for x in CASES if "kept" in x], ids=by_name)
def test_conditions_on_numbers(case):
    table = Table(["x"], [[x] for x in case["cells"]])
    for line in case["kept"]:
        text, _, expected = line.partition(" => ")
        low, _, high = text.partition("..")
        sign, _, limit = text.partition(" ")
        sign = "==" if sign == "=" else sign
        where = f'x >= "{low}" and x <= "{high}"' if high else f'x {sign} "{limit}"'
        assert list_first(table.filter_rows(where)) == split(expected), where


@pytest.mark.parametrize(
    "texts, prefers_comma, expected",
    [
        (["1,500", "2,250"], False, [1500, 2250]),
        (["1,500", "2,250"], True, [Decimal("1.5"), Decimal("2.25")]),
        (["1.500", "2.250"], True, [Decimal("1.5"), Decimal("2.25")]),
        (["1,500", "0,250"], False, [Decimal("1.5"), Decimal("0.25")]),
        (["1.234.567", "35.000"], False, [1234567, 35000]),
        (["1,500", "1.5"], True, [1500, Decimal("1.5")]),
    ],
)
def test_commas(texts, prefers_comma, expected):
    (column,) = read_columns([texts], prefers_comma)
    assert column.keys == expected


def test_a_comma_is_decimal_where_another_column_has_decimal_commas():
    first, second = read_columns([["1,500", "2,250"], ["0,5", "1,25"]])
    assert first.keys == [Decimal("1.5"), Decimal("2.25")]
    assert second.keys == [Decimal("0.5"), Decimal("1.25")]


@pytest.mark.parametrize(
    "texts, packed",
    [
        (["3", "1", ""], {}),
        (["a", "b"], {}),
        (["b", "a", ""], {"ranks": [1, 0, None]}),
        (["1.5", "NA", "∞"], {"numbers": [1.5, None, "Infinity"]}),
        (["9007199254740993", "9007199254740992"], {"ranks": [1, 0]}),
        (["5 runs", "NA"], {"unit": "runs", "sizes": {"runs": 1}}),
        (["1,500 runs", "7"], {"numbers": [1500, 7], "unit": "runs", "sizes": {"runs": 1}}),
        (["0.25(3)", "-1.5e3 ± 2", "n/a"], {}),
    ],
)
def test_the_browser_gets_what_it_cannot_tell(texts, packed):
    (column,) = read_columns([texts])
    assert column.pack() == packed


def test_columns_of_nothing_have_no_numbers():
    empty, missing, one = read_columns([["", ""], ["NA", "–"], ["NA", "0"]])
    assert [empty.is_number, missing.is_number, one.is_number] == [False, False, True]


def test_huge_numbers_take_no_time():
    (column,) = read_columns([["1e9999", f"{'9' * 5000}", "-1e9999"]])
    assert column.ranks == [2, 1, 0]
    assert make_text_key(f"a{'9' * 5000}") > make_text_key("a10")


def test_where_by_text_and_names_in_quotes():
    rows = [["a", "0.5", "x"], ["b", "NA", ""], ["c", "2", "y"]]
    table = Table(["run", "R², test", "note"], rows)
    assert list_first(table.filter_rows('"R², test" > 0.1 and not note ~ x')) == ["c"]
    assert list_first(table.filter_rows("run != a")) == ["b", "c"]
    assert list_first(table.filter_rows("not note == x")) == ["b", "c"]  # a missing cell isn't x


@pytest.mark.parametrize(
    "where, message",
    [
        ("acc > 1", ":where: column 1: unknown property 'acc'; known: run, wall"),
        ("wall > long", ":where: column 8: wall is a number, got 'long'"),
        ('wall > "3 kg"', ":where: column 8: wall is a number, got '3 kg'"),
        ("run > 1", ":where: column 5: run is text, which > can't compare"),
        ("wall >", ":where: column 7: expected a value, got the end"),
        ("wall > 100", ":where: matches none of 2 rows"),
    ],
)
def test_wrong_where(where, message):
    table = Table(["run", "wall"], [["a", "1 h"], ["b", "2 h"]])
    with pytest.raises(TableError) as error:
        table.filter_rows(where)
    assert str(error.value).startswith(message)
