"""LaTeX compiles what Sphinx makes of the pages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISSING = [x for x in ("latexmk", "xelatex") if shutil.which(x) is None]


@pytest.mark.pdf
@pytest.mark.skipif(MISSING != [], reason=f"LaTeX is missing: no {' and no '.join(MISSING)}")
def test_pages_become_a_pdf(real_notebook, write_run):
    folder = real_notebook.source / "expts/20250101_x"
    write_run(folder, "wide")
    write_run(folder, "narrow", tau=4)
    real_notebook.write_seed("expts/20241217_seed")
    real_notebook.write(
        "expts/20250101_x/notes.rst",
        "Wider layers\n============\n\nIs β ≥ 1 at 5 Å, with $\\sigma^2$?\n\n"
        ".. runs::\n\n.. curves::\n\n.. datatable:: wide.csv\n",
    )
    header = ["experiment", *[f"last(val.metric{i})" for i in range(11)]]
    row = ["20250101_a_long_name", *["0.123456"] * 11]
    wide = "".join(f"{','.join(x)}\n" for x in [header, row])
    real_notebook.write("expts/20250101_x/wide.csv", wide)
    command = [sys.executable, "-m", "sphinx", "-M", "latexpdf", ".", "_build", "-q"]
    result = subprocess.run(
        command, cwd=real_notebook.source, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "LATEXMKOPTS": "-silent"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    pdf = real_notebook.source / "_build/latex/atompaint_vae.pdf"
    assert pdf.read_bytes().startswith(b"%PDF")
    log = pdf.with_suffix(".log").read_text("utf-8", "replace")
    assert not re.findall(r"^! .*|Missing character.*|undefined references", log, re.MULTILINE)
    assert [x for x in re.findall(r"Overfull .hbox \((\d+)", log) if int(x) > 20] == []
    num_pages = int(re.search(r"Output written on .*?\((\d+) pages", log.replace("\n", ""))[1])
    assert num_pages >= 5
