"""Builds by one process and by several, each in a Python of its own."""

import subprocess
import sys

import pytest

from atompaint_vae.notebook import FEW_PAGES
from atompaint_vae.records.metrics import append_metrics

SHOWN = """
.. runs:: all

.. curves:: 20250101

.. compare::

.. reconstruction:: /view/runs/a

:metric:`20250101/wide test.r2`
"""
TABLE = """
.. datatable:: /x.csv
   :name: t{0}

   Caption.

:numref:`t{0}` :expt:`20250202` :metric:`20250202/mean test.r2`
"""
BUILD = """
import sys
from sphinx.cmd.build import main
code = main(["-d", "_build/doctrees", "-q", "-W", *sys.argv[1:]])
print(code, sorted({"torch", "e3nn", "lightning", "itables"} & set(sys.modules)))
"""


@pytest.fixture
def large_notebook(notebook, write_run, write_reconstructions):
    expts = notebook.source / "expts"
    write_run(expts / "20250101_x", "wide", tau=2)
    write_reconstructions(notebook.source / "view/runs/a")
    write_run(expts / "20250202_y", "mean", tau=4)
    conf = (notebook.source / "conf.py").read_text("utf-8")
    notebook.write("conf.py", conf + "numfig = True\n")
    notebook.write("x.csv", "a\n001\n")
    notebook.write("index.rst", "Index\n=====\n\n.. toctree::\n   :glob:\n\n   page*\n")
    notebook.write_seed()
    notebook.write("seed.rst", ":orphan:\n\n" + (notebook.source / "seed.rst").read_text("utf-8"))
    notebook.write("page0.rst", f"Runs\n====\n\n{SHOWN}")
    for i in range(1, FEW_PAGES + 1):
        notebook.write(f"page{i}.rst", f"Page {i}\n=======\n\n{TABLE.format(i)}")
    return notebook


def read_pages(out):
    paths = [*out.rglob("*.html"), *(out / "_static/runs").rglob("*.js")]
    return {x.relative_to(out).as_posix(): x.read_text("utf-8") for x in paths}


def test_several_processes_write_the_same_pages_without_torch(large_notebook):
    pages = {}
    for jobs in ("1", "2"):
        out = large_notebook.source / f"_build/{jobs}"
        command = [sys.executable, "-c", BUILD, "-E", "-j", jobs, ".", str(out)]
        result = subprocess.run(
            command, cwd=large_notebook.source, capture_output=True, text=True
        )
        assert (result.stdout, result.stderr) == ("0 []\n", "")
        pages[jobs] = read_pages(out)
    assert len(pages["1"]) > FEW_PAGES
    assert pages["1"] == pages["2"]
    assert "_static/runs/20250101_x/wide.js" in pages["2"]
    assert len([x for x in pages["2"] if x.startswith("_static/runs/compare-")]) == 1

    # What Sphinx remembers of a page has come back from the process that has read it.
    test = large_notebook.source / "expts/20250202_y/runs/mean/test.csv"
    append_metrics(test, {"step": 201, "r2": 0.5})
    warnings, _ = large_notebook.build()
    assert warnings == ""
    # The sheet and the first page, which lists the experiments, show the run too.
    assert f"0 added, {FEW_PAGES + 3} changed, 0 removed" in large_notebook.status
