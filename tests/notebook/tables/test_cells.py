import pytest

from atompaint_vae.notebook.tables.cells import (
    Table,
    TableError,
    format_number,
    split_names,
)

TABLE = Table(
    ["run", "R², test", "steps", "id"],
    [
        ["run 10", "0.5", "1,000", "b"],
        ["Run 9", "", "200", "a"],
        ["übung", "NaN", "30", "a"],
        ["Ufer", "-0.25", "1e5", "c"],
    ],
)


def list_first(table):
    return [row[0] for row in table.rows]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a, b", ["a", "b"]),
        ('a, "b, c"\nd', ["a", "b, c", "d"]),
        (" a ,", ["a"]),
    ],
)
def test_names(text, expected):
    assert split_names(text) == expected


def test_columns_in_the_order_that_is_asked_for():
    table = TABLE.select_columns('steps, "R², test"')
    assert table == Table(
        ["steps", "R², test"],
        [["1,000", "0.5"], ["200", ""], ["30", "NaN"], ["1e5", "-0.25"]],
    )


@pytest.mark.parametrize(
    "names, expected",
    [
        ("steps", ["übung", "Run 9", "run 10", "Ufer"]),
        ("steps desc", ["Ufer", "run 10", "Run 9", "übung"]),
        # empty cells and NaN come last, whichever the direction
        ('"R², test"', ["Ufer", "run 10", "Run 9", "übung"]),
        ('"R², test" desc', ["run 10", "Ufer", "Run 9", "übung"]),
        # 9 before 10; neither case nor diacritics matter
        ("run", ["Run 9", "run 10", "übung", "Ufer"]),
        ("id, steps", ["übung", "Run 9", "run 10", "Ufer"]),
        ("id desc, steps", ["Ufer", "run 10", "übung", "Run 9"]),
    ],
)
def test_sort(names, expected):
    assert list_first(TABLE.sort_rows(names)) == expected


def test_a_column_whose_name_ends_in_desc():
    table = Table(["x desc"], [["2"], ["1"]])
    assert list_first(table.sort_rows("x desc")) == ["1", "2"]
    assert list_first(table.sort_rows("x desc desc")) == ["2", "1"]


def test_formats():
    assert TABLE.read_formats(".1f") == {1: ".1f", 2: ".1f"}
    assert TABLE.read_formats("steps: ,d\nR², test:.2f\n") == {1: ".2f", 2: ",d"}
    assert TABLE.read_formats("") == {}


@pytest.mark.parametrize(
    "text, spec, expected",
    [
        ("0.58311", ".3f", "0.583"),
        ("-0.0004", ".3f", "0.000"),
        ("-0.0006", ".3f", "-0.001"),
        ("-0.0000", ".1e", "0.0e+00"),
        ("−1,234.5", ",.0f", "-1,234"),
        ("51360", ",d", "51,360"),
        ("0.5", "d", "0.5"),
        ("12", ".2f", "12.00"),
        ("1e5", ".0f", "100000"),
        ("9007199254740993", "d", "9007199254740993"),
        ("0.125", ".1%", "12.5%"),
        ("", ".3f", ""),
        ("NaN", ".3f", "NaN"),
        ("inf", ".3f", "inf"),
        ("2.0x", ".3f", "2.0x"),
    ],
)
def test_format_of_a_number(text, spec, expected):
    assert format_number(text, spec) == expected


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda t: t.select_columns("run, step"), "no column 'step'; did you mean 'steps'?"),
        (lambda t: t.select_columns("zz"), "no column 'zz'; known: run, R², test, steps, id"),
        (lambda t: t.sort_rows("Steps desc"), "no column 'Steps'; did you mean 'steps'?"),
        (lambda t: t.read_formats("loss: .3f"), "no column 'loss'; known:"),
        (lambda t: t.read_formats("run: .3q"), "bad format '.3q'; expected one of Python's"),
    ],
)
def test_errors(ask, message):
    with pytest.raises(TableError) as error:
        ask(TABLE)
    assert message in str(error.value)
