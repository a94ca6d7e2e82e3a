import hashlib
import os

import pytest

PAGE = """\
Page
====

.. figure:: expts/a/curves.svg
   :name: curves

   The caption.

.. figure:: expts/a/curves.svg

.. image:: expts/a/curves.svg

An |inline| picture, and one of another's: |other|

.. |inline| image:: expts/a/curves.svg
.. |other| image:: expts/other.svg

.. datatable:: /expts/a/r2.csv
"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="12"/>'
BADGE = '<p class="stale"><span class="stale-badge">Stale</span> '
AGAIN = ". <code class=\"docutils literal notranslate\"><span class=\"pre\">atompaint-vae</span> "


def calc_digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.fixture
def shown(notebook):
    """A page that shows what a script drew from a table, a module and all but one run."""
    notebook.write("index.rst", PAGE)
    notebook.write("expts/other.svg", SVG)
    files = {"curves.svg": SVG, "r2.csv": "run,r2\na,0.9\n", "val.csv": "step\n1\n"}
    for name, text in files.items():
        notebook.write(f"expts/a/{name}", text)
    notebook.write("expts/a/plot.py", "x = 1  # one\n")
    notebook.write(
        "expts/a/provenance.nt",
        "plot.py:\n"
        "  outputs:\n"
        f"    curves.svg: {calc_digest(files['curves.svg'])}\n"
        f"    r2.csv: {calc_digest(files['r2.csv'])}\n"
        "  inputs:\n"
        f"    val.csv: {calc_digest(files['val.csv'])}\n"
        "  code:\n"
        f"    plot.py: {calc_digest('x = 1')}\n"
        "  unfinished:\n"
        "    - late\n",
    )
    return notebook


def read_badges(notebook):
    """The reasons on the page."""
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    return [x.partition(AGAIN)[0] for x in html.split(BADGE)[1:]]


def change(path, text):
    """Write a file, at a later time than any before."""
    path.write_text(text, "utf-8")
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))


def test_a_page_follows_what_its_figures_were_drawn_from(shown):
    folder = shown.source / "expts/a"
    assert read_badges(shown) == []
    change(folder / "val.csv", "step\n2\n")
    assert read_badges(shown) == 5 * ["val.csv has changed"]
    change(folder / "val.csv", "step\n1\n")
    assert read_badges(shown) == []
    change(folder / "plot.py", "# another\nx = 1\n")
    assert read_badges(shown) == []
    change(folder / "plot.py", "x = 2\n")
    assert read_badges(shown) == 5 * ["plot.py has changed"]
    change(folder / "plot.py", "x = 1\n")
    change(folder / "r2.csv", "run,r2\na,0.99\n")
    assert read_badges(shown) == ["r2.csv isn't what the script wrote"]


def test_a_provenance_that_comes_later_reaches_the_page(shown):
    path = shown.source / "expts/a/provenance.nt"
    later = path.rename(path.with_suffix(".later"))
    change(shown.source / "expts/a/val.csv", "step\n2\n")
    assert read_badges(shown) == []
    later.rename(path)
    assert read_badges(shown) == 5 * ["val.csv has changed"]


def test_a_run_that_finishes_reaches_the_page(shown):
    assert read_badges(shown) == []
    record = "run: late\nexperiment: a\nstate: finished\n"
    shown.write("expts/a/runs/late/record.nt", record)
    assert read_badges(shown) == 5 * ["run late has finished since"]


def test_only_a_page_that_shows_it_is_read_again(shown):
    shown.write("index.rst", PAGE + "\n.. toctree::\n\n   b\n")
    shown.write("b.rst", "B\n=\n")
    read_badges(shown)
    shown.write("expts/a/val.csv", "step\n2\n")
    read_badges(shown)
    assert "0 added, 1 changed, 0 removed" in shown.status
    read_badges(shown)
    assert "0 added, 0 changed, 0 removed" in shown.status


@pytest.mark.parametrize("builder", ["latex", "text"])
def test_badges_in_print(shown, builder):
    (shown.source / "expts/a/val.csv").write_text("step\n")
    warnings, out = shown.build(builder)
    assert warnings == ""
    (path,) = (x for x in out.iterdir() if x.suffix in (".tex", ".txt") and "sphinx" not in x.name)
    assert path.read_text("utf-8").count("has changed") == 5


def test_many_reasons_are_cut_short(shown):
    names = [f"m{i}.csv" for i in range(5)]
    path = shown.source / "expts/a/provenance.nt"
    gone = "".join(f"    {name}: 0\n" for name in names)
    path.write_text(path.read_text().replace("  inputs:\n", f"  inputs:\n{gone}"))
    badge = read_badges(shown)[0]
    assert badge == "m0.csv is gone; m1.csv is gone; m2.csv is gone; and 2 more"


def test_a_broken_provenance_is_a_warning(shown):
    shown.write("expts/a/provenance.nt", "plot.py:\n  outputs: x\n")
    warnings, _ = shown.build()
    assert "provenance.nt:2:12: WARNING: outputs: expected keys, got 'x'" in warnings
    assert warnings.count("outputs") == 1
