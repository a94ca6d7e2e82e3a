import html
import json
import os
import re
import shutil

import numpy as np
import pytest
from matplotlib.image import imread

RUN = "expts/20250101_blocks/runs/a"
PAGE = f"Title\n=====\n\nText.\n\n.. reconstruction:: {RUN}\n"


@pytest.fixture
def run(notebook, write_reconstructions):
    write_reconstructions(notebook.source / RUN, blocks=[(0, 1, (2, 2, 2), (5, 5, 5), 0.75)])
    return notebook.source / RUN


def read_view(page):
    (data,) = re.findall(r'data-view="([^"]*)"', page.read_text("utf-8"))
    return json.loads(html.unescape(data))


def test_html_has_slices_and_the_scripts_of_each_crop(notebook, run):
    text = PAGE + "\n   The *caption*.\n\n   More.\n\n.. toctree::\n\n   other\n"
    notebook.write("index.rst", text)
    notebook.write("other.rst", "Other\n=====\n")
    warnings, out = notebook.build()
    assert warnings == ""
    page = (out / "index.html").read_text("utf-8")
    assert "The <em>caption</em>." in page
    assert "<p>More.</p>" in page
    (picture,) = re.findall(r'<img [^>]*src="([^"]*)"', page)
    assert (out / picture).name == "20250101_blocks-a-worst-median-best.png"
    height, width, _ = imread(out / picture).shape
    assert 900 < height < width < 1100

    view = read_view(out / "index.html")
    assert [x["label"] for x in view["crops"]] == [
        "worst: 1ABC, R² = 0.25", "median: 2DEF, R² = 0.50", "best: 3GHI, R² = 0.75",
    ]  # fmt: skip
    assert list(view["colours"]) == ["C", "N", "O"]
    for crop in view["crops"]:
        script = (out / "_static/reconstructions" / crop["key"]).read_text("utf-8")
        assert len(script) == crop["bytes"]
        assert script.startswith(f'AtompaintCrops["{crop["key"]}"]={{')
        packed = json.loads(script.partition("=")[2].rstrip(";\n"))
        assert packed["size"] == [13, 13, 13]

    # Nothing heavy is loaded before a button asks for it.
    sources = re.findall(r'<script[^>]* src="([^"?]*)', page)
    assert "_static/reconstruction.js" in sources
    assert not any("3Dmol" in x or "viewer" in x or "reconstructions/" in x for x in sources)
    assert (out / "_static/3Dmol-min.js").stat().st_size > 500_000
    assert "BSD-3-Clause" in (out / "_static/3Dmol-min.js.LICENSE.txt").read_text("utf-8")
    assert "reconstruction" not in (out / "other.html").read_text("utf-8")


def test_crops_are_chosen_by_rank(notebook, run):
    options = "   :crops: best, worst\n   :name: these\n\n   Caption.\n\nSee :ref:`these`.\n"
    another = f"\n.. reconstruction:: {RUN}\n   :crops: best\n"
    notebook.write("index.rst", PAGE + options)
    notebook.write("other.rst", ":orphan:\n\nT\n=\n" + another)
    warnings, out = notebook.build()
    assert warnings == ""
    view = read_view(out / "index.html")
    assert [x["label"][:5] for x in view["crops"]] == ["best:", "worst"]
    assert 'href="#these"' in (out / "index.html").read_text("utf-8")
    # Each choice of crops has its own picture.
    assert len(list((out / "_images").glob("*.png"))) == 2


def test_runs_beside_the_source_folder(notebook, write_reconstructions):
    write_reconstructions(notebook.source.parent / "elsewhere/runs/a")
    notebook.write("index.rst", "T\n=\n\n.. reconstruction:: ../elsewhere/runs/a\n")
    warnings, out = notebook.build()
    assert warnings == ""
    view = read_view(out / "index.html")
    assert view["crops"][0]["key"] == "_/elsewhere/runs/a/7.js"
    assert (out / "_static/reconstructions" / view["crops"][0]["key"]).is_file()


def test_text_describes_the_picture_and_latex_has_it(notebook, run):
    notebook.write("index.rst", PAGE + "\n   The caption.\n")
    _, out = notebook.build("text")
    text = " ".join((out / "index.txt").read_text("utf-8").split())
    assert "worst: 1ABC, R² = 0.25, 1 solid block, 64 Å³; median: 2DEF, R² = 0.50, no" in text
    warnings, out = notebook.build("latex")
    assert warnings == ""
    (path,) = out.glob("*.tex")
    tex = path.read_text("utf-8")
    assert r"\sphinxincludegraphics" in tex
    assert r"{{20250101_blocks-a-worst-median-best}.png}" in tex
    assert r"\caption{The caption.}" in tex
    assert (out / "20250101_blocks-a-worst-median-best.png").is_file()


def test_other_builders_take_it(notebook, run):
    notebook.write("index.rst", PAGE)
    for builder in ("man", "texinfo", "epub", "singlehtml", "dirhtml"):
        warnings, out = notebook.build(builder)
        assert [x for x in warnings.splitlines() if "conf value" not in x] == [], builder
        assert (out / "_static/reconstructions").is_dir() == builder.endswith("html"), builder


FAILURES = [
    ("expts/20250101_blocks/runs/b", "no such run: b; known: a, c"),
    ("expts/20250101_blocks/runs/c", "no such file: c/reconstructions.npz"),
    (f"{RUN}\n   :crops: best, first", "no crop 'first'; known: worst, median, best"),
    (f"{RUN}\n   :crops: best worst", "no crop 'best worst'; known: worst, median, best; sep"),
    (f"{RUN}\n\n   - a list", "the caption must begin with a paragraph, not with a bullet"),
]


def test_failures_are_warnings_at_the_line(notebook, run, write_reconstructions):
    notebook.write("index.rst", "T\n=\n\n.. toctree::\n   :glob:\n\n   page*\n")
    write_reconstructions(run.with_name("c"))
    (run.with_name("c") / "reconstructions.npz").unlink()
    for i, (directive, _) in enumerate(FAILURES):
        text = f"T\n=\n\nText.\n\n.. reconstruction:: {directive}\n\nAfter.\n"
        notebook.write(f"page{i}.rst", text)
    warnings, out = notebook.build()
    lines = warnings.splitlines()
    for i, (directive, message) in enumerate(FAILURES):
        (warning,) = (x for x in lines if f"page{i}.rst:" in x)
        assert f"page{i}.rst:6: WARNING: reconstruction: {message}" in warning, directive
        page = (out / f"page{i}.html").read_text("utf-8")
        assert "Not shown" in page
        assert "After." in page
    assert len(lines) == len(FAILURES)


def test_changed_file_rebuilds_its_page_and_no_other(notebook, run, write_reconstructions):
    notebook.write("index.rst", PAGE + "\n.. toctree::\n\n   other\n")
    notebook.write("other.rst", "Other\n=====\n")
    _, out = notebook.build()
    before = read_view(out / "index.html")
    notebook.build()
    assert "no targets are out of date" in notebook.status

    write_reconstructions(run, seed=1)
    later = (run / "reconstructions.npz").stat().st_mtime_ns + 2_000_000_000
    os.utime(run / "reconstructions.npz", ns=(later, later))
    _, out = notebook.build()
    assert "0 added, 1 changed, 0 removed" in notebook.status
    after = read_view(out / "index.html")
    assert before["crops"][0]["key"] == after["crops"][0]["key"]
    assert before["crops"][0]["version"] != after["crops"][0]["version"]


def test_the_same_run_makes_the_same_bytes(notebook, run):
    notebook.write("index.rst", PAGE)
    _, out = notebook.build()
    files = [x for x in out.rglob("*") if x.parent.name in ("a", "_images")]
    before = [x.read_bytes() for x in files]
    assert len(before) == 4
    for fresh in (False, True):  # the doctrees keep all that pages need
        shutil.rmtree(out)
        notebook.build(fresh=fresh)
        assert before == [x.read_bytes() for x in files]


def test_the_block_is_framed_in_the_picture(notebook, run, write_reconstructions):
    notebook.write("index.rst", PAGE)
    _, out = notebook.build()
    (path,) = (out / "_images").glob("*.png")
    frame = np.array([0xD5, 0x5E, 0x00]) / 255

    def count_framed():
        return int((np.abs(imread(path)[..., :3] - frame).max(axis=-1) < 0.02).sum())

    assert count_framed() > 100
    write_reconstructions(run)
    notebook.build(fresh=True)
    assert count_framed() == 0
