import base64
import html
import json
import os
import re
import zlib

import numpy as np
import pytest
from matplotlib.image import imread

RUN = "expts/20250101_samples/runs/a"
PAGE = f"Title\n=====\n\nText.\n\n.. samples:: {RUN}\n"


@pytest.fixture
def run(notebook, write_samples):
    write_samples(notebook.source / RUN)
    return notebook.source / RUN


def read_view(page):
    (data,) = re.findall(r'data-view="([^"]*)"', page.read_text("utf-8"))
    return json.loads(html.unescape(data))


def read_images(out, crop):
    """The densities in the script of a view's crop, [images, C, X, Y, Z]."""
    script = (out / "_static/reconstructions" / crop["key"]).read_text("utf-8")
    packed = json.loads(script.partition("=")[2].rstrip(";\n"))
    return [
        packed["step"] * np.frombuffer(zlib.decompress(base64.b64decode(x["data"])), np.int8)
        .reshape(6, *packed["size"]) + x["offset"]
        for x in packed["images"]
    ]  # fmt: skip


def test_html_has_slices_and_the_scripts_of_each_sample(notebook, run, write_samples):
    arrays = write_samples(run, num_samples=3, num_crops=2)
    notebook.write("index.rst", PAGE + "\n   The *caption*.\n\n   More.\n")
    warnings, out = notebook.build()
    assert warnings == ""
    page = (out / "index.html").read_text("utf-8")
    assert "The <em>caption</em>." in page
    assert "<p>More.</p>" in page
    (picture,) = re.findall(r'<img [^>]*src="([^"]*)"', page)
    assert (out / picture).name == "20250101_samples-a-samples.png"
    height, width, _ = imread(out / picture).shape
    assert 1100 < width < 1200 and 900 < height < 1300  # three rows of four

    view = read_view(out / "index.html")
    assert view["title"] == "Samples of a"
    assert view["panels"] == ["Sample", "Test crop"]
    assert "residualColours" not in view
    assert [x["label"] for x in view["crops"]] == [
        "1, beside test crop 1", "2, beside test crop 2", "3, beside test crop 1",
    ]  # fmt: skip
    for k, crop in enumerate(view["crops"]):
        sample, other = read_images(out, crop)
        np.testing.assert_allclose(sample, arrays["sample"][k], atol=1 / 256)
        np.testing.assert_allclose(other, arrays["crop"][k % 2], atol=1 / 256)
    sources = re.findall(r'<script[^>]* src="([^"?]*)', page)
    assert "_static/reconstruction.js" in sources
    assert not any("3Dmol" in x or "viewer" in x or "reconstructions/" in x for x in sources)


def test_samples_are_chosen_by_number(notebook, run):
    notebook.write("index.rst", PAGE + "   :samples: 3, 1\n   :name: these\n\n   Caption.\n")
    warnings, out = notebook.build()
    assert warnings == ""
    assert [x["label"][:2] for x in read_view(out / "index.html")["crops"]] == ["3,", "1,"]
    (picture,) = (out / "_images").glob("*.png")
    assert picture.name == "20250101_samples-a-samples-3-1.png"
    assert 'id="these"' in (out / "index.html").read_text("utf-8")


def test_runs_without_test_crops_or_a_path(notebook, run, write_samples):
    write_samples(run, num_crops=0, num_steps=0)
    notebook.write("index.rst", PAGE)
    warnings, out = notebook.build()
    assert warnings == ""
    view = read_view(out / "index.html")
    assert view["panels"] == ["Sample"]
    assert [x["label"] for x in view["crops"]] == ["1", "2", "3"]
    assert len(read_images(out, view["crops"][0])) == 1


def test_beside_reconstructions_of_the_same_run(notebook, run, write_reconstructions):
    write_reconstructions(run)
    notebook.write("index.rst", PAGE + f"\n.. reconstruction:: {RUN}\n")
    warnings, out = notebook.build()
    assert warnings == ""
    assert len(list((out / "_images").glob("*.png"))) == 2
    assert len(list((out / "_static/reconstructions" / RUN).iterdir())) == 6


def test_text_describes_the_picture_and_latex_has_it(notebook, run):
    notebook.write("index.rst", PAGE + "\n   The caption.\n")
    _, out = notebook.build("text")
    text = " ".join((out / "index.txt").read_text("utf-8").split())
    assert "3 samples; 3 test crops; one sample's path from noise to image, at σ = 20, 2, 0" in text
    warnings, out = notebook.build("latex")
    assert warnings == ""
    (path,) = out.glob("*.tex")
    assert r"{{20250101_samples-a-samples}.png}" in path.read_text("utf-8")
    assert r"\caption{The caption.}" in path.read_text("utf-8")


FAILURES = [
    ("expts/20250101_samples/runs/b", "no such run: b; known: a, c"),
    ("expts/20250101_samples/runs/c", "no such file: c/samples.npz"),
    (f"{RUN}\n   :samples: 1, 4", "no sample '4'; known: 1 to 3"),
    (f"{RUN}\n   :samples: 0", "no sample '0'; known: 1 to 3"),
    (f"{RUN}\n   :samples: 1 2", "no sample '1 2'; known: 1 to 3; separate samples by commas"),
    (f"{RUN}\n\n   - a list", "the caption must begin with a paragraph, not with a bullet"),
]


def test_failures_are_warnings_at_the_line(notebook, run):
    run.with_name("c").mkdir()
    notebook.write("index.rst", "T\n=\n\n.. toctree::\n   :glob:\n\n   page*\n")
    for i, (directive, _) in enumerate(FAILURES):
        notebook.write(f"page{i}.rst", f"T\n=\n\nText.\n\n.. samples:: {directive}\n\nAfter.\n")
    warnings, out = notebook.build()
    lines = warnings.splitlines()
    for i, (directive, message) in enumerate(FAILURES):
        (warning,) = (x for x in lines if f"page{i}.rst:" in x)
        assert f"page{i}.rst:6: WARNING: samples: {message}" in warning, directive
        page = (out / f"page{i}.html").read_text("utf-8")
        assert "Not shown" in page and "After." in page
    assert len(lines) == len(FAILURES)


def test_a_changed_file_rebuilds_its_page(notebook, run, write_samples):
    notebook.write("index.rst", PAGE)
    _, out = notebook.build()
    before = read_view(out / "index.html")
    notebook.build()
    assert "no targets are out of date" in notebook.status
    write_samples(run, seed=1)
    later = (run / "samples.npz").stat().st_mtime_ns + 2_000_000_000
    os.utime(run / "samples.npz", ns=(later, later))
    _, out = notebook.build()
    after = read_view(out / "index.html")
    assert before["crops"][0]["key"] == after["crops"][0]["key"]
    assert before["crops"][0]["version"] != after["crops"][0]["version"]
