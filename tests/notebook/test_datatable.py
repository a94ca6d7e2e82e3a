import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

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


@pytest.mark.parametrize("builder", ["man", "texinfo", "epub", "singlehtml"])
def test_other_builders_take_it(notebook, builder):
    notebook.write("x.csv", "a\n001\n")
    notebook.write("index.rst", "Title\n=====\n\n.. datatable:: x.csv\n")
    warnings, _ = notebook.build(builder)
    # an epub wants a version and a copyright, which is no concern of the table
    assert [x for x in warnings.splitlines() if "conf value" not in x] == []


@pytest.mark.parametrize(
    "directive, message",
    [
        ("none.csv", "datatable: no such file: none.csv"),
        ("xs.csv", "datatable: no such file: xs.csv; did you mean x.csv?"),
        ("broken.csv", "datatable: broken.csv:2: 2 fields, expected 1 as in the header"),
        ("broken.xlsx", "datatable: broken.xlsx: not a readable spreadsheet"),
        ("x.csv\n   :sheet: s", "datatable: x.csv: sheet 's' of a file that has no sheets"),
        ("x.csv\n   :range: Z9", "datatable: x.csv: range 'Z9' reaches beyond the table"),
        ("x.csv\n   :range: what", "datatable: x.csv: bad range 'what'"),
        ("x.csv\n\n   - a list", "datatable: the caption must begin with a paragraph"),
    ],
)
def test_failure_is_a_warning_at_the_line(notebook, directive, message):
    notebook.write("x.csv", "a\n1\n")
    notebook.write("broken.csv", "a\n1,2\n")
    notebook.write("broken.xlsx", "no archive")
    notebook.write("index.rst", f"Title\n=====\n\nText.\n\n.. datatable:: {directive}\n\nAfter.\n")
    warnings, out = notebook.build()
    (warning,) = warnings.splitlines()
    assert f"index.rst:6: WARNING: {message}" in warning
    html = (out / "index.html").read_text("utf-8")
    assert "Table not shown" in html
    assert "After." in html


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
    assert "datatable" not in (out / "other.html").read_text("utf-8")
    assert (out / "_static/datatables.js").stat().st_size > 500_000


def test_a_build_imports_no_torch(notebook):
    notebook.write_seed()
    notebook.write("index.rst", "Title\n=====\n\n.. toctree::\n\n   seed\n")
    script = (
        "import sys; from sphinx.cmd.build import main;"
        f"code = main(['-q', '-W', '-b', 'html', {str(notebook.source)!r}, 'out']);"
        "print(code, sorted({'torch', 'e3nn', 'lightning', 'itables'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=notebook.source, capture_output=True, text=True
    )
    assert result.stdout.strip() == "0 []", result.stdout + result.stderr
