"""The guide's code does what the guide says."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from atompaint_vae.config.checks import check_experiment
from atompaint_vae.text.located import list_problems
from atompaint_vae.training.weights import check_inputs

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
PAGES = [path for path in sorted(GUIDE.glob("*.rst")) if "code-block:: python" in path.read_text()]

CODE_BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs_from_top_to_bottom(page):
    blocks = CODE_BLOCK.findall(page.read_text("utf-8"))
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(textwrap.dedent(block), str(page), "exec"), names)


def test_there_is_a_page_to_run():
    assert any(page.stem == "equivariant_network" for page in PAGES)


HPARAMS_BLOCK = re.compile(r"^\.\. code-block:: nestedtext\n\n((?:   .*\n|\n)+)", re.MULTILINE)
HPARAMS = [
    (page, block)
    for page in sorted(GUIDE.glob("*.rst"))
    for block in map(textwrap.dedent, HPARAMS_BLOCK.findall(page.read_text("utf-8")))
    if re.search(r"^(runs|search):$", block, re.MULTILINE) and block.startswith("shared:")
]


@pytest.mark.parametrize(("page", "block"), HPARAMS, ids=lambda x: getattr(x, "stem", ""))
def test_hyperparameters_of_a_page_are_right(page, block, tmp_path):
    path = tmp_path / "expts/20240101_x/hparams.nt"
    path.parent.mkdir(parents=True)
    path.write_text(block)
    checked = check_experiment(path)
    assert not checked.warnings
    assert not list_problems(check_inputs(checked, path.parent))


SHELL_BLOCK = re.compile(r"^\.\. code-block:: sh\n\n((?:   .*\n|\n)+)", re.MULTILINE)
MAKE = """\
#!/bin/sh
case $1 in
    check) exec atompaint-vae figures check ;;
    *) exec {python} -m sphinx -b html . _build/html -q -D include_patterns={pages} ;;
esac
"""
PAGES_BUILT = "docs/index.rst,expts/**/notes.rst,expts/**/sheet.rst"


@pytest.mark.slow
def test_commands_of_the_second_experiment_run_from_top_to_bottom(tmp_path):
    """As they stand on the page; only `make` installs nothing, and builds few pages."""
    blocks = SHELL_BLOCK.findall((GUIDE / "second_experiment.rst").read_text("utf-8"))
    assert len(blocks) > 5
    clone, programs = tmp_path / "clone", tmp_path / "bin"
    for name in ("conf.py", ".gitignore", "docs/index.rst"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    left_out = shutil.ignore_patterns("checkpoints", "tensorboard", "__pycache__", "sheet.rst")
    shutil.copytree(ROOT / "expts", clone / "expts", ignore=left_out)
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/activate").write_text("")
    programs.mkdir()
    command = f'#!/bin/sh\nexec {sys.executable} -m atompaint_vae.cli "$@"\n'
    for name, text in {
        "make": MAKE.format(python=sys.executable, pages=PAGES_BUILT),
        "atompaint-vae": command,
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    env = os.environ | {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT), "BROWSER": "true", "OMP_NUM_THREADS": "1",
        "GIT_AUTHOR_NAME": "me", "GIT_AUTHOR_EMAIL": "me",
        "GIT_COMMITTER_NAME": "me", "GIT_COMMITTER_EMAIL": "me",
    }  # fmt: skip
    script = "set -e\ngit init -q\n" + "".join(map(textwrap.dedent, blocks))
    result = subprocess.run(
        ["bash", "-c", script], cwd=clone, env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "beta-0.1: finished" in result.stdout
    assert "figures and tables are up to date" in result.stdout
    (page,) = clone.glob("_build/html/expts/*_smaller_beta/notes.html")
    html = page.read_text("utf-8")
    assert "_test_r2.csv" in html
    assert "_smaller_beta.svg" in html
    assert "Stale" not in html
    status = ["git", "status", "--porcelain"]
    assert subprocess.run(status, cwd=clone, capture_output=True, text=True).stdout == ""
