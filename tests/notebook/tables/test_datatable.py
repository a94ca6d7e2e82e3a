import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks._lab import make_table_pages
from benchmarks.notebook import build

FORMATS = Path(__file__).parent / "files/formats.xlsx"
TRICKY = (
    "id,number,text\n"
    '001,1e5,"a ""quoted"" -- word, $x$ and $y$"\n'
    "NaN,,<script>alert(1)</script>\n"
    '007,1.50," Å & *β* |s| x_ "\n'
)
TRICKY_CELLS = [
    ["id", "number", "text"],
    ["001", "1e5", 'a "quoted" -- word, $x$ and $y$'],
    ["NaN", "", "<script>alert(1)</script>"],
    ["007", "1.50", " Å & *β* |s| x_ "],
]


TWO_PAGES = "Title\n=====\n\n.. datatable:: x.csv\n\n.. toctree::\n\n   other\n"


class TableParser(HTMLParser):
    """Collects the text of each cell, by tables and rows."""

    def __init__(self):
        super().__init__()
        self.tables, self.text = [], None

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.text = ""

    def handle_data(self, data):
        if self.text is not None:
            self.text += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self.text)
            self.text = None


def read_cells(page):
    parser = TableParser()
    parser.feed(page.read_text("utf-8"))
    return parser.tables


def test_html_holds_the_exact_values(notebook):
    notebook.write("tricky.csv", TRICKY)
    notebook.write("index.rst", "Title\n=====\n\n.. datatable:: tricky.csv\n")
    warnings, out = notebook.build()
    assert warnings == ""
    assert read_cells(out / "index.html") == [TRICKY_CELLS]
    html = (out / "index.html").read_text("utf-8")
    assert "<script>alert" not in html
    assert 'data-file="tricky.csv"' in html


def test_range_and_path_from_the_root(notebook):
    notebook.write("expts/x/tricky.csv", TRICKY)
    notebook.write("index.rst", "T\n=\n\n.. toctree::\n\n   docs/page\n")
    notebook.write(
        "docs/page.rst", "P\n=\n\n.. datatable:: /expts/x/tricky.csv\n   :range: A1:B3\n"
    )
    warnings, out = notebook.build()
    assert warnings == ""
    assert read_cells(out / "docs/page.html") == [[row[:2] for row in TRICKY_CELLS[:3]]]


def test_columns_sorted_and_formatted(notebook):
    notebook.write("x.csv", "run,loss,steps\na,0.12345,1000\nb,-0.00001,30000\nc,NaN,\n")
    options = ":columns: steps, loss\n   :sort: loss\n   :format:\n      loss: .2f\n      steps: ,d"
    notebook.write("index.rst", f"T\n=\n\n.. datatable:: x.csv\n   {options}\n")
    warnings, out = notebook.build()
    assert warnings == ""
    rows = [["30,000", "0.00"], ["1,000", "0.12"], ["", "NaN"]]
    assert read_cells(out / "index.html") == [[["steps", "loss"], *rows]]
    # What is written stays with the cell, for copies and downloads.
    html = (out / "index.html").read_text("utf-8")
    written = re.findall(r'<data title="(.*?)" value="\1">', html)
    assert written == ["30000", "-0.00001", "1000", "0.12345"]
    warnings, out = notebook.build("text")
    text = (out / "index.txt").read_text("utf-8")
    assert re.search(r"\| 30,000 +\| 0.00 +\|\n.*\n\| 1,000 +\| 0.12 ", text)


def write_long(notebook, num_rows):
    rows = "".join(f"{i:05d},1e{i},<b>\n" for i in range(num_rows))
    notebook.write("data/long.csv", "id,number,text\n" + rows)
    directive = ".. datatable:: /data/long.csv\n   :format: number: .1e\n"
    notebook.write("index.rst", "T\n=\n\n.. toctree::\n\n   sub/page\n")
    notebook.write("sub/page.rst", f"P\n=\n\n{directive}\n{directive}")


def test_rows_of_a_long_table_are_beside_the_page(notebook):
    write_long(notebook, 340)
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "sub/page.html").read_text("utf-8")
    first, second = read_cells(out / "sub/page.html")
    assert len(first) == len(second) == 26
    assert first[25] == ["00024", "1.0e+24", "<b>"]
    sources = re.findall('data-rows="(.*?)"', html)
    assert len(set(sources)) == 2
    script = (out / "sub" / sources[1]).read_text("utf-8")
    data = re.fullmatch(r"NotebookTable\.receive\((.*)\);\n", script)[1]
    rows, shown, keys = json.loads(data)
    assert rows == [[f"{i:05d}", f"1e{i}", "<b>"] for i in range(340)]
    assert list(shown) == ["1"]
    assert shown["1"][3] == "1.0e+03"
    # as floats, 1e309 and more are the same
    assert keys == {"1": {"ranks": list(range(340))}, "2": {"ranks": [0] * 340}}
    # Without the script, the file itself is a click away.
    text = re.sub("<.*?>", "", html)
    assert "The first 25 of 340 rows; all: long.csv" in text
    assert (out / "sub" / re.search('href="([^"]*long.csv)"', html)[1]).is_file()


def test_in_print_a_long_table_is_whole(notebook):
    write_long(notebook, 340)
    warnings, out = notebook.build("text")
    text = (out / "sub/page.txt").read_text("utf-8")
    assert warnings == ""
    assert "00339" in text
    assert "The first" not in text

    write_long(notebook, 1001)
    _, out = notebook.build("text")
    text = (out / "sub/page.txt").read_text("utf-8")
    assert "00999" in text
    assert "01000" not in text
    assert "The first 1,000 of 1,001 rows; all: " in text


def test_a_reference_by_number(notebook):
    notebook.write("conf.py", notebook.source.joinpath("conf.py").read_text() + "numfig = True\n")
    notebook.write("x.csv", "a\n1\n")
    table = ".. datatable:: x.csv\n   :name: {}\n\n   Caption.\n\n"
    notebook.write(
        "index.rst",
        f"T\n=\n\n{table.format('one')}{table.format('two')}See :numref:`two`, :numref:`three`.\n\n"
        ".. toctree::\n\n   other\n",
    )
    notebook.write("other.rst", "Other\n=====\n\n" + table.format("three"))
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    assert re.findall('<span class="std std-numref">(.*?)<', html) == ["Table 2", "Table 1"]
    # Another table on one page changes no other.
    written_ns = (out / "other.html").stat().st_mtime_ns
    notebook.write("index.rst", (notebook.source / "index.rst").read_text() + table.format("four"))
    notebook.build()
    assert (out / "index.html").read_text("utf-8").count("caption-number") == 3
    assert (out / "other.html").stat().st_mtime_ns == written_ns
    notebook.build()
    assert "no targets are out of date" in notebook.status


def test_caption_is_restructured_text(notebook):
    notebook.write("x.csv", "a\n1\n")
    notebook.write(
        "index.rst",
        "Title\n=====\n\n.. datatable:: x.csv\n   :name: ratios\n\n"
        "   *Ratios* of $35^3$ voxels.\n\n   - a: the first\n\nSee :ref:`this <ratios>`.\n",
    )
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    caption = re.search(r"<caption>(.*?)</caption>", html, re.DOTALL)[1]
    assert "<em>Ratios</em>" in caption
    assert "<msup><mn>35</mn><mn>3</mn></msup>" in caption
    assert "<li><p>a: the first</p></li>" in html
    assert 'href="#ratios"' in html


def test_plain_text_holds_the_values(notebook):
    notebook.write("tricky.csv", TRICKY)
    notebook.write("index.rst", "Title\n=====\n\n.. datatable:: tricky.csv\n\n   The caption.\n")
    warnings, out = notebook.build("text")
    assert warnings == ""
    text = (out / "index.txt").read_text("utf-8")
    assert "The caption." in text
    for row in TRICKY_CELLS:
        assert all(cell.strip() in text for cell in row)
    assert re.search(r"\| 001 +\| 1e5 +\| a", text)


def test_latex_holds_the_values(notebook):
    notebook.write("tricky.csv", TRICKY)
    notebook.write("index.rst", "Title\n=====\n\n.. datatable:: tricky.csv\n\n   The caption.\n")
    warnings, out = notebook.build("latex")
    assert warnings == ""
    (path,) = out.glob("*.tex")
    tex = path.read_text("utf-8")
    assert r"\begin{tabulary}" in tex or r"\begin{tabular}" in tex
    for cell in ["001", "1e5", "NaN", r"\$x\$ and \$y\$", r"\textless{}script\textgreater{}"]:
        assert cell in tex
    assert "The caption." in tex


@pytest.mark.parametrize(("num_columns", "is_small"), [(7, False), (8, True)])
def test_many_columns_are_printed_small(notebook, num_columns, is_small):
    header = ["experiment", *[f"metric{i}" for i in range(num_columns - 1)]]
    row = ["20250101_a_long_name_of_it", *["1"] * (num_columns - 1)]
    notebook.write("t.csv", f"{','.join(header)}\n{','.join(row)}\n")
    notebook.write("index.rst", "Title\n=====\n\n.. datatable:: t.csv\n\nEnd.\n")
    warnings, out = notebook.build("latex")
    assert warnings == ""
    (tex,) = out.glob("*.tex")
    page = tex.read_text("utf-8").partition(r"\begin{document}")[2]
    before, table, after = re.split(r"\\(?:begin|end)\{tabular\w*\}", page)
    assert (r"\begingroup\scriptsize" in before) == (r"\endgroup" in after) == is_small
    assert (r"20250101\_\allowbreak{}a" in table) == is_small


def test_other_builders_take_it(notebook):
    notebook.write("x.csv", "a\n001\n")
    notebook.write("index.rst", "Title\n=====\n\n.. datatable:: x.csv\n")
    for builder in ("man", "texinfo", "epub", "singlehtml"):
        warnings, _ = notebook.build(builder)
        # An epub lacks a version and a copyright, which doesn't concern the table.
        assert [x for x in warnings.splitlines() if "conf value" not in x] == [], builder


FAILURES = [
    ("none.csv", "datatable: no such file: none.csv"),
    ("xs.csv", "datatable: no such file: xs.csv; did you mean x.csv?"),
    ("broken.csv", "datatable: broken.csv:2: 2 fields, expected 1 as in the header"),
    ("broken.xlsx", "datatable: broken.xlsx: not a readable spreadsheet"),
    ("x.csv\n   :sheet: s", "datatable: x.csv: sheet 's' is given, but the file has no sheets"),
    ("x.csv\n   :range: Z9", "datatable: x.csv: range 'Z9' extends beyond the table"),
    ("x.csv\n   :range: what", "datatable: x.csv: bad range 'what'"),
    ("x.csv\n   :columns: b", "datatable: x.csv: no column 'b'; known: a"),
    ("x.csv\n   :where: b > 1", "datatable: x.csv: :where: column 1: unknown property 'b'"),
    ("x.csv\n   :where: a > 1", "datatable: x.csv: :where: matches none of 1 rows"),
    ("x.csv\n   :delimiter: ab", "datatable: x.csv: bad delimiter 'ab'; expected one character"),
    ("x.csv\n   :encoding: x", "datatable: x.csv: unknown encoding 'x'; expected one such as"),
    ("x.csv\n   :sort: b", "datatable: x.csv: no column 'b'; known: a"),
    ("x.csv\n   :format: b: d", "datatable: x.csv: no column 'b'; known: a"),
    ("x.csv\n   :format: 3f!", "datatable: x.csv: bad format '3f!'"),
    ("x.csv\n\n   - a list", "datatable: the caption must begin with a paragraph"),
]


def test_failures_are_warnings_at_the_line(notebook):
    notebook.write("x.csv", "a\n1\n")
    notebook.write("broken.csv", "a\n1,2\n")
    notebook.write("broken.xlsx", "no archive")
    notebook.write("index.rst", "Title\n=====\n\n.. toctree::\n   :glob:\n\n   page*\n")
    for i, (directive, _) in enumerate(FAILURES):
        text = f"Title\n=====\n\nText.\n\n.. datatable:: {directive}\n\nAfter.\n"
        notebook.write(f"page{i}.rst", text)
    warnings, out = notebook.build()
    lines = warnings.splitlines()
    for i, (directive, message) in enumerate(FAILURES):
        (warning,) = (x for x in lines if f"page{i}.rst:" in x)
        assert f"page{i}.rst:6: WARNING: {message}" in warning, directive
        html = (out / f"page{i}.html").read_text("utf-8")
        assert "Not shown" in html
        assert "After." in html
    assert len(lines) == len(FAILURES)


def test_doubts_are_warnings_beside_the_table(notebook):
    notebook.write("x.csv", "a|b\n1|2\n")
    notebook.write("index.rst", "T\n=\n\n.. datatable:: x.csv\n")
    warnings, out = notebook.build()
    assert warnings.count("\n") == 1
    text = "index.rst:4: WARNING: datatable: x.csv: one column, but each row has '|'; if it's the"
    assert text in warnings
    assert read_cells(out / "index.html") == [[["a|b"], ["1|2"]]]


def test_delimiter_encoding_and_where(notebook):
    notebook.source.joinpath("x.csv").write_bytes("n ü|b\n1 h|x\n30 min|y\n".encode("latin-1"))
    options = ":delimiter: bar\n   :encoding: latin-1\n   :where: 'n ü' < 45min\n   :columns: b"
    notebook.write("index.rst", f"T\n=\n\n.. datatable:: x.csv\n   {options}\n")
    warnings, out = notebook.build()
    assert warnings == ""
    assert read_cells(out / "index.html") == [[["b"], ["y"]]]


def test_cells_of_a_sheet_show_its_formats_and_keep_their_values(notebook):
    shutil.copy(FORMATS, notebook.source / "x.xlsx")
    notebook.write("index.rst", "T\n=\n\n.. datatable:: x.xlsx\n   :columns: pct, dur, err\n")
    warnings, out = notebook.build()
    assert warnings == ""
    assert read_cells(out / "index.html")[0][1] == ["48%", "25:03", "#DIV/0!"]
    html = (out / "index.html").read_text("utf-8")
    assert re.findall(r'<data title="(.*?)" value="\1">', html)[:2] == ["47.5%", "25:03:00"]
    notebook.build("text")
    assert "48%" in (out.parent / "text/index.txt").read_text("utf-8")


def test_changed_file_rebuilds_its_page_and_no_other(notebook):
    path = notebook.write("x.csv", "a\n1\n")
    notebook.write("index.rst", TWO_PAGES)
    notebook.write("other.rst", "Other\n=====\n")
    notebook.build()
    notebook.build()
    assert "no targets are out of date" in notebook.status

    path.write_text("a\n2\n", "utf-8")
    later = path.stat().st_mtime_ns + 2_000_000_000
    os.utime(path, ns=(later, later))
    _, out = notebook.build()
    assert "0 added, 1 changed, 0 removed" in notebook.status
    assert read_cells(out / "index.html") == [[["a"], ["2"]]]


def test_scripts_only_on_pages_with_a_table(notebook):
    notebook.write("x.csv", "a\n1\n")
    notebook.write("index.rst", TWO_PAGES)
    notebook.write("other.rst", "Other\n=====\n")
    _, out = notebook.build()
    html = (out / "index.html").read_text("utf-8")
    assert "_static/datatables.js" in html
    assert "_static/datatable.css" in html
    assert "_static/table_rows.js" in html
    assert "datatable" not in (out / "other.html").read_text("utf-8")
    assert (out / "_static/datatables.js").stat().st_size > 500_000


def test_a_page_of_ten_tables_is_small(tmp_path):
    make_table_pages(tmp_path / "tables", "atompaint_vae.notebook", num_pages=2)
    build(tmp_path / "tables", jobs="1")
    html = tmp_path / "tables/_build/html"
    beside = [*(html / "_static/datatables").glob("page_0-*.js")]
    assert len(beside) == 2  # rows of the longest tables
    assert sum(len(row) for table in read_cells(html / "page_0.html") for row in table) == 3072
    assert sum(x.stat().st_size for x in [html / "page_0.html", *beside]) < 150_000
