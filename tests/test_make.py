"""Targets of the Makefile that no other test calls."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILDS = re.compile(r"Running Sphinx")


def find_recipe(target: str) -> str:
    """The lines below a target, joined."""
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[1]


def wait_for(log: Path, num_served: int, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while log.read_text("utf-8").count("Serving on") < num_served:
        assert time.monotonic() < end, log.read_text("utf-8")
        time.sleep(0.1)
    time.sleep(2)  # until it watches, or has noticed what it wrote itself


@pytest.mark.slow
def test_livehtml_builds_once_for_each_save(tmp_path):
    shutil.copytree(ROOT / "expts/20241001_quick_start", tmp_path / "expts/20240101_x")
    (tmp_path / "conf.py").write_text(
        'extensions = ["atompaint_vae.notebook"]\nhtml_theme = "basic"\n'
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
    )
    (tmp_path / "index.rst").write_text("Index\n=====\n\n.. experiments::\n")
    _, *arguments = shlex.split(find_recipe("livehtml"))
    arguments = [x for x in arguments if x not in ("--jobs", "auto")]
    log = tmp_path.with_suffix(".log")  # outside of what is watched
    with log.open("w") as file:
        command = [sys.executable, "-m", "sphinx_autobuild", *arguments, "--port", "0"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_for(log, 1)
        for number in (2, 3):
            (tmp_path / "index.rst").write_text(f"Index\n=====\n\n{number}\n\n.. experiments::\n")
            wait_for(log, number)
        # What a run writes while it trains.
        (tmp_path / "expts/20240101_x/runs/gated/val.csv").write_text("step\n1\n")
        time.sleep(3)
        assert len(BUILDS.findall(log.read_text("utf-8"))) == 3
    finally:
        process.kill()
        process.wait()


def test_pdf_without_latex_says_so_in_one_line(tmp_path):
    recipe = find_recipe("pdf").splitlines()[0].strip().removeprefix("@")
    result = subprocess.run(
        ["/bin/sh", "-c", recipe], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (2, "make pdf needs LaTeX: latexmk and xelatex\n")
