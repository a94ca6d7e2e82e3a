import re

import pytest

from atompaint_vae.notebook.sheets.experiment_links import (
    ExperimentError,
    find_experiment,
)
from atompaint_vae.notebook.sheets.experiments import find_children

FOLDERS = [
    "expts/20241029_train_vae",
    "expts/20241217_train_vae",
    "expts/20241217_train_vae/nested",
    "expts/20250102_a",
    "expts/20250102_b",
    "design/07_pool",
    "design/112_pool/deep",
    "design",
]
PLACES = {folder: (f"{folder}/notes", "", folder) for folder in FOLDERS}
PAGES = [f"{folder}/notes" for folder in FOLDERS] + ["index", "docs/page"]


@pytest.mark.parametrize(
    "target, folder",
    [
        ("20241217_train_vae", "expts/20241217_train_vae"),
        ("20241217", "expts/20241217_train_vae"),
        ("2024-12-17", "expts/20241217_train_vae"),
        ("2024/10/29", "expts/20241029_train_vae"),
        ("nested", "expts/20241217_train_vae/nested"),
        ("20241217_train_vae/nested", "expts/20241217_train_vae/nested"),
        ("7", "design/07_pool"),
        ("07", "design/07_pool"),
        ("pool", "design/07_pool"),
        ("a", "expts/20250102_a"),
        ("design", "design"),
    ],
)
def test_find_experiment(target, folder):
    assert find_experiment(target, PLACES)[2] == folder


@pytest.mark.parametrize(
    "target, message",
    [
        ("train_vae", "'train_vae' is ambiguous: 20241029_train_vae, 20241217_train_vae"),
        ("20250102", "'20250102' is ambiguous: 20250102_a, 20250102_b"),
        ("20241218", "no experiment '20241218'; did you mean 20241217_train_vae"),
        ("train_vea", "no experiment 'train_vea'; did you mean "),
        ("8", "no experiment '8'"),
        ("", "no experiment ''"),
    ],
)
def test_no_such_experiment(target, message):
    with pytest.raises(ExperimentError) as error:
        find_experiment(target, PLACES)
    assert str(error.value).startswith(message)


def test_experiments_of_one_name_are_told_apart_by_their_paths():
    places = {x: (x, "", x) for x in ["a/1_x", "b/1_x"]}
    with pytest.raises(ExperimentError, match="'1' is ambiguous: a/1_x, b/1_x"):
        find_experiment("1", places)
    assert find_experiment("b/1_x", places)[2] == "b/1_x"


@pytest.mark.parametrize(
    "page, children",
    [
        # dated first, the newest foremost; others by their names
        ("index", ["expts/20250102_a", "expts/20250102_b", "expts/20241217_train_vae",
                   "expts/20241029_train_vae", "design"]),
        ("expts/20241217_train_vae/notes", ["expts/20241217_train_vae/nested"]),
        ("design/notes", ["design/07_pool", "design/112_pool/deep"]),
        ("expts/20250102_a/notes", []),
    ],
)  # fmt: skip
def test_find_children(page, children):
    assert find_children(PAGES, page) == [f"{x}/notes" for x in children]


def write_notes(notebook, folder, title, text=""):
    notebook.write(f"{folder}/notes.rst", f"{title}\n{'=' * len(title)}\n\nIntro.\n\n{text}\n")


def test_contents_without_any_directive(notebook):
    notebook.write("index.rst", "Index\n=====\n\nWelcome.\n\nSection\n-------\n")
    write_notes(notebook, "design", "Design", "Results\n-------\n\nLast words.")
    write_notes(notebook, "design/1_pool", "Pooling")
    write_notes(notebook, "design/1_pool/deep", "Deeper")
    warnings, out = notebook.build()
    assert warnings == ""  # every page is in a table of contents
    index = (out / "index.html").read_text("utf-8")
    body = index.partition("Welcome")[2].partition("Section<")[0]
    assert 'href="design/notes.html"' in body
    assert "Pooling" not in body
    design = (out / "design/notes.html").read_text("utf-8")
    assert ">#1: Pooling<" in design.partition("Intro.")[2].partition("Last words")[0]
    assert ">Deeper<" in (out / "design/1_pool/notes.html").read_text("utf-8")
    notebook.build()
    assert "no targets are out of date" in notebook.status

    write_notes(notebook, "design/2_new", "A new one")
    warnings, out = notebook.build()
    assert warnings == ""
    assert "A new one" in (out / "design/notes.html").read_text("utf-8")
    assert "1 added, 1 changed, 0 removed" in notebook.status


def test_contents_of_ones_own_are_not_repeated(notebook):
    notebook.write("index.rst", "Index\n=====\n")
    write_notes(notebook, "a", "A", ".. toctree::\n\n   2_x/notes")
    write_notes(notebook, "a/1_x", "One")
    write_notes(notebook, "a/2_x", "Two")
    warnings, out = notebook.build("text")
    assert warnings == ""
    text = (out / "a/notes.txt").read_text("utf-8")
    assert text.count("Two") == text.count("One") == 1


def test_links(notebook):
    text = "See :expt:`2`, :expt:`20241217`, :expt:`here <x>`, and :expt:`20240101_section`."
    notebook.write("index.rst", f"Index\n=====\n\n{text}\n\n.. _20240101_section:\n\nPart\n----\n")
    write_notes(notebook, "expts/2_x", "The second")
    write_notes(notebook, "expts/20241217_y", "*Dated*")
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    for href, shown in [
        ("expts/2_x/notes.html", "The second"),
        ("expts/20241217_y/notes.html", "Dated"),
        ("expts/2_x/notes.html", "here"),
        ("#section", "Part"),
    ]:
        assert f'href="{href}"' in html.replace("#id", "#section").replace("#part", "#section")
        assert f"{shown}</span></a>" in html


def test_a_link_that_leads_nowhere_is_a_warning_at_its_line(notebook):
    notebook.write("index.rst", "Index\n=====\n\nSee :expt:`train`.\n")
    write_notes(notebook, "expts/2_trains", "X")
    warnings, out = notebook.build()
    (warning,) = warnings.splitlines()
    assert "index.rst:4: WARNING: expt: no experiment 'train'; did you mean 2_trains?" in warning
    # The experiment that was missing comes, and the link with it.
    write_notes(notebook, "expts/1_train", "Came later")
    warnings, out = notebook.build()
    assert warnings == ""
    assert 'href="expts/1_train/notes.html"' in (out / "index.html").read_text("utf-8")


def test_a_number_that_stands_in_the_folder(notebook):
    """exmemo numbers an experiment in a file of its folder."""
    notebook.write("index.rst", "Index\n=====\n\nSee :expt:`30`, :expt:`7`, :expt:`3`.\n")
    write_notes(notebook, "design/pool", "Pooling")
    write_notes(notebook, "design/7_x", "Seven")
    write_notes(notebook, "design/30_layers", "Layers")
    write_notes(notebook, "design/30", "Thirty")
    notebook.write("design/pool/.expt/id", "30\n")
    notebook.write("design/7_x/.expt/id", "nonsense")
    # Numbers in these names count no more.
    notebook.write("design/30_layers/.expt/id", "3")
    notebook.write("design/30/.expt/id", "4")
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    for folder, title in (("pool", "#30: Pooling"), ("7_x", "#7: Seven"), ("30_layers", "#3: Lay")):
        assert f'href="design/{folder}/notes.html"><span class="expt">{title}' in html
        assert f'href="design/{folder}/notes.html"><span class="doc">{title}' in html  # in the list
        assert f"<h1>{title}" in (out / f"design/{folder}/notes.html").read_text("utf-8")

    notebook.write("design/pool/.expt/id", "31\n")
    warnings, _ = notebook.build()
    assert "index.rst:4: WARNING: expt: no experiment '30'" in warnings
    assert "<h1>#31: Pooling" in (out / "design/pool/notes.html").read_text("utf-8")
    assert '<span class="doc">#31: Pooling</span>' in (out / "index.html").read_text("utf-8")
    notebook.write("design/7_x/.expt/id", "30")
    notebook.write("design/pool/.expt/id", "30")
    warnings, _ = notebook.build()
    assert "'30' is ambiguous: 7_x, pool" in warnings


def test_a_page_ends_with_the_pages_that_cite_it(notebook):
    notebook.write("index.rst", "Index\n=====\n")
    write_notes(notebook, "expts/2_x", "The second", "Itself: :expt:`2`.\n\nMore\n----\n\nEnd.")
    write_notes(notebook, "expts/3_y", "The third", "See :expt:`2` and :expt:`x`.")
    write_notes(notebook, "expts/4_z", "The fourth", "See :expt:`the second <2>`.")
    warnings, out = notebook.build()
    assert warnings == ""

    def read_citing():
        html = (out / "expts/2_x/notes.html").read_text("utf-8")
        return re.findall(r"Cited by: (.*?)</p>", html.partition("End.")[2])

    (line,) = read_citing()
    assert re.findall(r'href="([^"]*)">([^<]*)<', line) == [
        ("../3_y/notes.html", "#3: The third"),
        ("../4_z/notes.html", "#4: The fourth"),
    ]
    assert "Cited by" not in (out / "expts/3_y/notes.html").read_text("utf-8")

    # The cited page is written again when what cites it changes.
    write_notes(notebook, "expts/3_y", "Another title", "See :expt:`2`.")
    write_notes(notebook, "expts/4_z", "The fourth")
    notebook.build()
    (line,) = read_citing()
    assert re.findall(r">([^<]+)</a>", line) == ["#3: Another title"]
    write_notes(notebook, "expts/3_y", "Another title")
    notebook.build()
    assert read_citing() == []


def test_notes_without_a_title_go_by_their_folder(notebook):
    notebook.write("index.rst", "Index\n=====\n\nSee :expt:`first_try`.\n")
    notebook.write("20241217_first_try/notes.rst", "Only text.\n\n- a list\n")
    notebook.write("nothing/notes.rst", "")
    write_notes(notebook, "nothing/deeper", "Deeper")
    warnings, out = notebook.build()
    assert warnings == ""
    notes = (out / "20241217_first_try/notes.html").read_text("utf-8")
    assert "<h1>20241217_first_try<" in notes and "Only text." in notes
    index = (out / "index.html").read_text("utf-8")
    assert index.count(">20241217_first_try<") >= 2 and ">nothing<" in index
    assert ">Deeper<" in (out / "nothing/notes.html").read_text("utf-8")
