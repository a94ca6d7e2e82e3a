"""Targets of the Makefile that no other test calls."""

import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def find_recipe(target: str) -> str:
    """The lines below a target, joined."""
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[1]


def test_livehtml_serves_what_html_builds():
    """So that one goes on with what the other has built."""
    live, html = (shlex.split(find_recipe(x).splitlines()[0]) for x in ("livehtml", "html"))
    live.remove("--live")
    assert live == html


def test_pdf_without_latex_says_so_in_one_line(tmp_path):
    recipe = find_recipe("pdf").splitlines()[0].strip().removeprefix("@")
    result = subprocess.run(
        ["/bin/sh", "-c", recipe], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (2, "make pdf needs LaTeX: latexmk and xelatex\n")
