"""The generated notebook builds, and each row is of what its name says."""

import pytest

from benchmarks.notebook import build, measure_lab


def test_a_small_lab_is_measured(tmp_path):
    rows = measure_lab(tmp_path / "lab", None, (2, 3, 12), num_repeats=1)
    label = "2 experiments, 3 runs, 12 tables"
    assert [row["name"] for row in rows] == [
        f"{label}: {what}"
        for what in ("cold build", "no-op build", "one CSV changed", "one run's record changed",
                     "one page's text changed")
    ]  # fmt: skip
    assert all(row["ours"] > 0 and row["unit"] == "s" for row in rows)
    pages = tmp_path / "lab/_build/html/expts/20180108_train_vae"
    assert "And a line more." in (pages / "notes.html").read_text("utf-8")
    assert sorted(x.name for x in pages.iterdir()) == ["notes.html", "sheet.html"]


def test_a_build_with_a_warning_is_no_time(tmp_path):
    (tmp_path / "conf.py").write_text("")
    (tmp_path / "index.rst").write_text("Index\n=====\n\n:doc:`none`\n")
    with pytest.raises(RuntimeError, match=r"the build failed:\n.*unknown document: 'none'"):
        build(tmp_path)
