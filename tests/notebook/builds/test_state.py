"""A build of an unchanged notebook ends before Sphinx begins; any change makes it begin."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atompaint_vae.notebook import __main__ as program
from atompaint_vae.notebook.builds import state

ROOT = Path(__file__).parents[3]
OPTIONS = ["--fail-on-warning", "--quiet"]


def build(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-X", "importtime", "-m", "atompaint_vae.notebook", ".", "_build"]
    return subprocess.run(
        [*command, *OPTIONS, *options], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def built_notebook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "notebook"
    shutil.copytree(ROOT / "docs/guide/own_notebook", folder)
    (folder / "titrate_protein/empty.svg").symlink_to("nowhere.svg")
    assert build(folder).returncode == 0
    return folder


@pytest.fixture
def is_unchanged(built_notebook, monkeypatch):
    """Whether a build would end at once, while the notebook is put back afterwards."""
    monkeypatch.chdir(built_notebook)
    before = {x: (x.read_bytes(), x.stat()) for x in built_notebook.rglob("*") if x.is_file()}

    def check(*options):
        out = built_notebook / "_build"
        arguments = ["-M", "html", ".", "_build", *OPTIONS, *options]
        return state.is_unchanged(built_notebook, out / "html", out / "doctrees", arguments)

    assert check()
    yield check
    for path in built_notebook.rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    for path, (content, stat) in before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_sphinx_is_not_even_imported(built_notebook):
    result = build(built_notebook)
    assert result.returncode == 0
    assert "atompaint_vae.notebook" in result.stderr and "sphinx" not in result.stderr


def test_a_new_time_is_no_change(built_notebook, is_unchanged):
    for path in built_notebook.glob("*.*"):
        os.utime(path)
    assert is_unchanged()


NOTES = "titrate_protein/notes.rst"
CHANGES = {
    "a page": lambda root: (root / NOTES).write_text("Other\n=====\n"),
    "a table": lambda root: (root / "titrate_protein/titration.csv").write_text("a,b\n1,2\n"),
    "a number": lambda root: (root / "titrate_protein/.expt/id").write_text("4\n"),
    "the configuration": lambda root: (root / "conf.py").open("a").write("numfig = True\n"),
    "a new page": lambda root: (root / "more.rst").write_text("More\n====\n"),
    "a page that is gone": lambda root: (root / NOTES).unlink(),
    "a built page that is gone": lambda root: (root / "_build/html/index.html").unlink(),
    "a built script that was edited": lambda root: (
        (root / "_build/html/_static/notebook.css").write_text("")
    ),
    "a state that can't be read": lambda root: (
        (root / "_build/doctrees" / state.NAME).write_text("{")
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_is_seen(built_notebook, is_unchanged, what):
    CHANGES[what](built_notebook)
    assert not is_unchanged()


def test_other_options_and_versions_are_changes(is_unchanged, monkeypatch):
    assert not is_unchanged("-t", "draft")
    monkeypatch.setattr(sys, "version", "3.99")
    assert not is_unchanged()


def test_this_package_belongs_to_the_inputs(built_notebook, is_unchanged, monkeypatch, tmp_path):
    for name in ("notebook/builds/state.py", "text/files.py"):
        assert f"{state.PACKAGE}/{name}" in state.sign_inputs(built_notebook, tmp_path, [], {})


def test_a_build_with_warnings_leaves_no_state(tmp_path):
    (tmp_path / "conf.py").write_text('extensions = ["atompaint_vae.notebook"]\n')
    (tmp_path / "index.rst").write_text("Index\n=====\n\n:expt:`nothing`\n")
    result = build(tmp_path)
    assert result.returncode == 1 and "no experiment 'nothing'" in result.stderr
    assert not (tmp_path / "_build/doctrees" / state.NAME).exists()


def test_a_wrong_usage(capsys):
    assert program.main([]) == 2
    assert "python -m atompaint_vae.notebook SOURCE OUT" in capsys.readouterr().err
