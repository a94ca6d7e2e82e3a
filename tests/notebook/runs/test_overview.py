"""What the list of experiments on the first page says of each."""

import math
import re
from html import unescape

import pytest

NOTES = """
Wider layers
============

Are wider layers better than $x$ in :doc:`page </page>` or :expt:`20250202`?  Some say so.

Method
------

.. figure:: first.svg

Results
-------

- Not at all.

{last}

- *Yes*, they are.  By far.
"""
INDEX = "Index\n=====\n\n.. experiments::\n   :caption: Experiments\n\n.. toctree::\n\n   page\n"
PAGE = """
A page of many dates
====================

2025/02/02
----------
.. _20250202_y:

Second try
~~~~~~~~~~
Does it work now?

.. figure:: second.svg

- It does: well.
"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="12"/>'


@pytest.fixture
def overview(notebook, write_run):
    expts = notebook.source / "expts"
    write_run(expts / "20250101_x", "slow", tau=8)
    write_run(expts / "20250101_x", "quick", tau=4)
    write_run(expts / "20250101_x", "early", tau=2, state="interrupted", test=False)
    write_run(expts / "20250202_y", "only", tau=8, state="interrupted", test=False)
    notebook.write("index.rst", INDEX)
    notebook.write("page.rst", PAGE)
    notebook.write("second.svg", SVG)
    notebook.write("expts/20250101_x/first.svg", SVG)
    notebook.write("expts/20250101_x/notes.rst", NOTES.format(last="Conclusion\n----------"))
    notebook.write("expts/20240101_z/notes.rst", "Nothing asked\n=============\n")
    return notebook


def read_entries(notebook):
    """The texts of each entry by their kinds, and where its links lead."""
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    found = re.search(r'<ul class="overview[^"]*">(.*?)</ul>', html, re.DOTALL)[1]
    entries = []
    for part in found.split("<li>")[1:]:
        texts = re.findall(r'<p class="overview-(\w+)">(.*?)</p>', part, re.DOTALL)
        entry = {kind: unescape(re.sub("<[^>]*>", "", text)) for kind, text in texts}
        entry["links"] = re.findall(r'href="(.*?)"', part)
        entry["images"] = re.findall(r'<img[^>]* src="(.*?)"', part)
        entries.append(entry)
    return entries


def test_entries(overview):
    section, notes, blank = read_entries(overview)
    assert notes == {
        "date": "2025/01/01",
        "title": "Wider layers",
        "question": "Are wider layers better than x in page or Second try?",
        "answer": "Yes, they are.",
        "runs": f"3 runs, 2 finished; best test R² {1 - math.exp(-20 / 4):.4f}, quick",
        "links": ["expts/20250101_x/notes.html", "page.html", "page.html#y",
                  "expts/20250101_x/sheet.html#run-quick"],
        "images": ["_images/first.svg"],
    }  # fmt: skip
    assert section == {
        "date": "2025/02/02",
        "title": "Second try",
        "question": "Does it work now?",
        "answer": "It does: well.",
        "runs": f"1 run, none finished; best validation R² {1 - math.exp(-20 / 8):.4f}, only",
        "links": ["page.html#y", "expts/20250202_y/sheet.html#run-only"],
        "images": ["_images/second.svg"],
    }
    assert blank == {"date": "2024/01/01", "title": "Nothing asked", "images": [],
                     "links": ["expts/20240101_z/notes.html"]}  # fmt: skip


def test_the_list_follows_notes_and_records(overview, write_run):
    read_entries(overview)
    overview.write("expts/20250101_x/notes.rst", NOTES.format(last=""))
    assert read_entries(overview)[1]["answer"] == "Not at all."
    write_run(overview.source / "expts/20250202_y", "better", tau=3)
    assert read_entries(overview)[0]["runs"].endswith(f"R² {1 - math.exp(-20 / 3):.4f}, better")
    overview.build()
    assert "no targets are out of date" in overview.status


def test_the_list_is_written_again_only_if_it_shows_something_else(overview):
    overview.build()
    page = overview.source / "_build/html/index.html"
    notes = NOTES.format(last="")
    overview.write("expts/20250101_x/notes.rst", notes)
    overview.build()
    longer, retitled = f"{notes}\nMore.\n", notes.replace("Wider layers\n", "Other layers\n")
    for text, is_shown in [(longer, False), (retitled, True)]:
        page.write_text("before", "utf-8")
        overview.write("expts/20250101_x/notes.rst", text)
        warnings, _ = overview.build()
        assert warnings == ""
        assert (page.read_text("utf-8") != "before") == is_shown


def test_printed_pages_have_a_table_of_contents(overview):
    for builder, pattern in [("latex", "*.tex"), ("text", "index.txt")]:
        warnings, out = overview.build(builder)
        assert warnings == ""
        (path,) = out.glob(pattern)
        assert "Wider layers" in path.read_text("utf-8")


def test_the_contents_have_the_title_of_a_section_that_is_an_experiment(overview):
    overview.write("conf.py", 'extensions = ["atompaint_vae.notebook"]\nhtml_theme = "furo"\n')
    for title, shown in (
        ("Second try", "Second try"),
        ("Another title", "Another title"),
        ("2025/02/02", "A page of many dates, 2025/02/02"),
    ):
        overview.write("page.rst", PAGE.replace("Second try", title).replace("~" * 10, "~" * 14))
        overview.write("index.rst", f"{INDEX}\n.. {title}")  # written again, with its contents
        warnings, out = overview.build()
        assert warnings == ""
        html = (out / "index.html").read_text("utf-8")
        contents = re.findall(r'<li class="toctree-l1.*?<a[^>]* href="(.*?)">(.*?)</a>', html)
        assert ("expts/20250202_y/sheet.html", shown) in contents
