import pytest

from atompaint_vae.notebook.tables.cells import Table, TableError
from atompaint_vae.notebook.tables.readers import read_table

ROWS = Table(["name", "value"], [["a", "1,5"], ["b", "x"]])


def write(tmp_path, content, name="x.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize(
    "content",
    [
        'name,value\na,"1,5"\nb,x\n',
        "name;value\na;1,5\nb;x\n",
        "name\tvalue\na\t1,5\nb\tx\n",
        "sep=;\r\nname;value\r\na;1,5\r\nb;x\r\n",
        "sep=|\nname|value\na|1,5\nb|x\n",
        'name, value\na, "1,5"\nb, x\n',
        "name;value\ra;1,5\rb;x\r",
    ],
)
def test_delimiters_are_guessed(tmp_path, content):
    table = read_table(write(tmp_path, content))
    assert table == ROWS
    assert table.doubts == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_says_the_encoding(tmp_path, encoding):
    path = write(tmp_path, "name\tvalue\nü\t1\n", encoding=encoding)
    assert read_table(path) == Table(["name", "value"], [["ü", "1"]])


def test_what_the_page_says_goes_first(tmp_path):
    path = write(tmp_path, "a;b,c\n1;2,3\n")
    assert read_table(path, delimiter="semicolon") == Table(["a", "b,c"], [["1", "2,3"]])
    assert read_table(path, delimiter=",") == Table(["a;b", "c"], [["1;2", "3"]])
    path = write(tmp_path, "ü|b\n1|2\n", encoding="latin-1")
    assert read_table(path, delimiter="bar", encoding="latin-1").header == ["ü", "b"]
    path = write(tmp_path, "a b\n1 2\n", "x.tsv")
    assert read_table(path, delimiter="space").rows == [["1", "2"]]


def test_spaces_and_quotes_within_fields_stay(tmp_path):
    path = write(tmp_path, 'a,b\n1, "quoted" word\n')
    assert read_table(path).rows == [["1", ' "quoted" word']]
    path = write(tmp_path, 'a,b\n" 1","x, ""y"""\n')
    assert read_table(path).rows == [[" 1", 'x, "y"']]
    assert read_table(write(tmp_path, "a,b\n1, x \n")).rows == [["1", " x "]]


def test_columns_are_found_without_their_spaces(tmp_path):
    table = read_table(write(tmp_path, "a, b\n1, 3\n2, 1\n"))
    assert table.sort_rows("b").rows == [["2", " 1"], ["1", " 3"]]


def test_in_files_with_semicolons_a_comma_is_decimal(tmp_path):
    table = read_table(write(tmp_path, "a;b\n1,500;9\n1;10\n"))
    assert [row[0] for row in table.sort_rows("a").rows] == ["1", "1,500"]
    assert table.columns[0].keys[0] < 2


@pytest.mark.parametrize(
    "content, doubt",
    [
        ("a|b\n1|2\n", "one column, but each row has '|'; if it's the delimiter, write ':delim"),
        ("a;b\n1;2\n1;2;3\n", "one column, but each row has ';'"),
        ("a:b\n1:2\n", "one column, but each row has ':'"),
    ],
)  # fmt: skip
def test_one_column_by_the_wrong_delimiter(tmp_path, content, doubt):
    table = read_table(write(tmp_path, content))
    assert len(table.header) == 1
    assert table.doubts[0].startswith(doubt)


def test_one_column_by_a_delimiter_that_is_given(tmp_path):
    table = read_table(write(tmp_path, "a,b\n1,2\n"), delimiter=";")
    assert table.doubts[0].startswith("one column, but each row has ','")


@pytest.mark.parametrize("content", ["a\n1\n2\n", "time\n1:30\n2:45\n", "text\nso; it is\nno\n"])
def test_one_column_is_no_reason_to_warn(tmp_path, content):
    assert read_table(write(tmp_path, content)).doubts == []


@pytest.mark.parametrize(
    "content, options, message",
    [
        (
            "mm, a;mm, b\n1,5;2,5\n",
            {},
            "x.csv: its delimiter may be ',' or ';'; write ':delimiter: ,' or ':delimiter: ;'",
        ),
        ("a,b\n1,2,3\n", {}, "x.csv:2: 3 fields, expected 2 as in the header; if the delimiter"),
        ("sep=,\na,b\n1\n", {}, "x.csv:3: 1 fields, expected 2"),
        ("a\n", {"delimiter": "ab"}, "x.csv: bad delimiter 'ab'; expected one character, or one"),
        (b"a\n\xfc\n", {}, "x.csv: not UTF-8 at byte 2; name its encoding, such as ':enc"),
        (b"a\n\xfc\n", {"encoding": "ascii"}, "x.csv: not ASCII at byte 2"),
        ("a\n", {"encoding": "klingon"}, "x.csv: unknown encoding 'klingon'; expected one such as"),
        ("a\n1\n".encode("utf-16-le"), {}, "x.csv: not UTF-8: it has null characters; name"),
    ],
)  # fmt: skip
def test_refused(tmp_path, content, options, message):
    with pytest.raises(TableError) as error:
        read_table(write(tmp_path, content), **options)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_other_files_have_neither_delimiter_nor_encoding(tmp_path):
    path = write(tmp_path, "-\n  a: 1\n", "x.nt")
    with pytest.raises(TableError, match="delimiter ';' is given, but only CSV and TSV files have"):
        read_table(path, delimiter=";")
    with pytest.raises(TableError, match="encoding 'x' is given, but only of CSV and TSV files"):
        read_table(path, encoding="x")
