"""Without the extra `train`, pages are built, and the commands that read records work."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXPT = "20241217_train_vae"
READING = [["list"], ["show", EXPT], ["status", EXPT], ["compare", EXPT]]
MISSING = "isn't installed; pip install 'atompaint_vae[train]' brings it"

# Runs a module as if the extra weren't installed.
BLOCKED = """
import importlib.metadata, json, runpy, sys
from packaging.requirements import Requirement

extras = json.loads(sys.argv[1])
for name in extras["train"]:
    sys.modules[Requirement(name).name] = None
marked = [f"{x}; extra == '{extra}'" for extra, names in extras.items() for x in names]
importlib.metadata.requires = lambda name: marked
sys.argv[:2] = []
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def write_notebook(folder: Path) -> Path:
    """A notebook of two experiments with records, reconstructions, figures and tables."""
    for name in (EXPT, "20241001_quick_start"):
        shutil.copytree(ROOT / "expts" / name, folder / "expts" / name)
    (folder / "conf.py").write_text(
        'extensions = ["atompaint_vae.notebook"]\nhtml_theme = "furo"\n'
        "exclude_patterns = ['_build', '**/runs']\n"
    )
    page = ["Index", "=====", "", f".. runs:: {EXPT}", "", ".. compare::", ""]
    page += [f".. reconstruction:: /expts/{EXPT}/runs/2-layer-wide", ""]
    (folder / "index.rst").write_text("\n".join(page))
    return folder


def run_blocked(folder: Path, *argv: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", BLOCKED, json.dumps(PROJECT["optional-dependencies"]), *argv]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )


def test_pages_and_reading_commands_need_no_extra(tmp_path):
    folder = write_notebook(tmp_path)
    build = run_blocked(folder, "sphinx", "-q", "-W", "-b", "html", ".", "_build/html")
    assert build.returncode == 0, build.stderr
    assert "2-layer-wide" in (folder / "_build/html/index.html").read_text("utf-8")
    for argv in READING:
        result = run_blocked(folder, "atompaint_vae.cli", *argv)
        assert result.returncode == 0, result.stderr
        assert EXPT in result.stdout or "2-layer-wide" in result.stdout


@pytest.mark.parametrize("argv", [["plan", EXPT], ["data", "show", "starter"]])
def test_what_needs_the_extra_says_so(argv, tmp_path):
    result = run_blocked(write_notebook(tmp_path), "atompaint_vae.cli", *argv)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.endswith(MISSING)


def run(*command: object, cwd: Path) -> str:
    result = subprocess.run(
        [str(x) for x in command], cwd=cwd, capture_output=True, text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The wheel and the sdist, both built from what git tracks, and the files of each."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, names.split("\0")):
        if name.startswith(("atompaint_vae/", "pyproject", "README", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    build = "from setuptools.build_meta import *; build_sdist({0!r}); build_wheel({0!r})"
    run(sys.executable, "-c", build.format(str(out)), cwd=source)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist, {x for x in source.rglob("*") if x.is_file()}, source


@pytest.mark.package
def test_both_hold_the_whole_package(distributions):
    wheel, sdist, paths, source = distributions
    own = {x.relative_to(source).as_posix() for x in paths}
    own = {x for x in own if x.startswith("atompaint_vae/")}
    with zipfile.ZipFile(wheel) as file:
        assert own - set(file.namelist()) == set()
    with tarfile.open(sdist) as file:
        assert own - {x.partition("/")[2] for x in file.getnames()} == set()


@pytest.mark.package
def test_an_empty_environment(distributions, tmp_path):
    wheel, sdist, *_ = distributions
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    programs = tmp_path / "venv/bin"
    run(programs / "pip", "install", "--quiet", wheel, cwd=tmp_path)
    installed = run(programs / "pip", "list", "--format", "freeze", cwd=tmp_path).lower()
    assert not {"torch", "lightning", "e3nn"} & {x.split("==")[0] for x in installed.split()}
    own = shutil.copytree(ROOT / "docs/guide/own_notebook", tmp_path / "own")
    folder = write_notebook(tmp_path / "notebook")

    def build(place):
        run(programs / "sphinx-build", "-q", "-W", "-E", ".", "_build/html", cwd=place)

    build(folder)
    for argv in READING:
        run(programs / "atompaint-vae", *argv, cwd=folder)
    plan = [programs / "atompaint-vae", "plan", EXPT]
    result = subprocess.run(plan, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 2 and MISSING in result.stderr
    run(programs / "pip", "install", "--quiet", "--no-deps", "--force-reinstall", sdist, cwd=own)
    build(own)
    assert "Titrate protein" in run(programs / "atompaint-vae", "list", cwd=own)
