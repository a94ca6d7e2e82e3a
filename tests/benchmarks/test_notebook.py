"""Each row's change is made to the generated notebook; test_incremental.py builds one."""

import re
from contextlib import nullcontext
from itertools import pairwise

import pytest

from benchmarks import notebook


def read_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_each_build_has_the_change_that_its_row_names(tmp_path, monkeypatch):
    states, num_plain = [], 0

    def build(folder, is_plain=False):
        nonlocal num_plain
        if is_plain:
            num_plain += 1
            return 0.5
        states.append(read_files(folder))
        return float(len(states))

    monkeypatch.setattr(notebook, "build", build)
    monkeypatch.setattr(notebook, "serve", lambda folder: nullcontext("address"))
    monkeypatch.setattr(notebook, "time_live_change", lambda folder, page, address: 0.25)
    rows = notebook.measure_lab(tmp_path / "lab", None, (3, 4, 14), num_repeats=2)
    changed = [
        [name for name in after if after[name] != before.get(name)]
        for before, after in pairwise(states)
    ]
    expt = "expts/20180108_train_vae"
    expected = {
        "cold build": "",
        "no-op build": "",
        "a page touched, not changed": "",
        "one page's text changed": rf"{expt}/notes\.rst",
        "one CSV changed": rf"{expt}/table_11\.csv",
        "one run's record changed": rf"{expt}/runs/[^/]+/record\.nt",
    }
    label = "3 experiments, 4 runs, 14 tables"
    names = [*expected, "from saving a page to reading it, live"]
    assert [row["name"] for row in rows] == [f"{label}: {name}" for name in names]
    # medians of two builds
    assert [row["ours"] for row in rows] == [1, 2.5, 4.5, 6.5, 8.5, 10.5, 0.25]
    assert [row["reference"] for row in rows] == 4 * [0.5] + 3 * [None]
    assert num_plain == 7
    for i, pattern in enumerate(list(expected.values())[1:]):
        for names in changed[2 * i : 2 * i + 2]:
            assert len(names) == bool(pattern)
            assert all(re.fullmatch(pattern, name) for name in names)


def test_a_build_with_a_warning_is_no_time(tmp_path):
    (tmp_path / "conf.py").write_text("")
    (tmp_path / "index.rst").write_text("Index\n=====\n\n:doc:`none`\n")
    with pytest.raises(RuntimeError, match=r"the build failed:\n.*unknown document: 'none'"):
        notebook.build(tmp_path)
