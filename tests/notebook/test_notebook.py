import os
import subprocess
import sys

import pytest
from docutils.core import publish_doctree
from sphinx.errors import ExtensionError

from atompaint_vae.notebook.core import pictures
from atompaint_vae.notebook.core.assets import make_classic_script, read_bundle
from atompaint_vae.notebook.reference.api import find_modules
from atompaint_vae.notebook.reference.docstrings import format_docstring

CONF = 'extensions = ["atompaint_vae.notebook"]\nhtml_theme = "basic"\n'
INDEX = "Index\n=====\n\n.. toctree::\n\n   seed\n"


@pytest.mark.parametrize("builder", ["html", "latex", "text"])
def test_seed_page_builds_unchanged(notebook, builder):
    notebook.write_seed()
    notebook.write("index.rst", INDEX)
    warnings, out = notebook.build(builder)
    assert warnings == ""
    if builder == "html":
        html = (out / "seed.html").read_text("utf-8")
        assert "<mn>42,875</mn>" in html
        assert html.count("<img ") == 2
        assert html.count("<table") == 1
        assert "<td>001</td>" in html.replace(' class="num"', "")


def test_seed_page_dropped_into_the_real_notebook(real_notebook):
    real_notebook.write_seed("docs/notebook")
    for name in ["20241029_train_vae", "20241217_train_vae", "20241217_train_vae/nested"]:
        real_notebook.write(f"expts/{name}/notes.rst", f"Notes of {name}\n" + 60 * "=" + "\n")
    real_notebook.write("expts/20241217_train_vae/runs/a/notes.rst", "no title here")
    command = [sys.executable, "-m", "sphinx", "-M", "html", ".", "_build", "-j", "2", "-q", "-W"]
    result = subprocess.run(
        [*command, "--keep-going"], cwd=real_notebook.source, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""

    out = real_notebook.source / "_build/html"
    assert "url=docs/index.html" in (out / "index.html").read_text("utf-8")
    html = (out / "docs/index.html").read_text("utf-8")
    assert "notebook/seed.html" in html
    newest, oldest = html.index("Notes of 20241217_train_vae<"), html.index("Notes of 20241029")
    assert newest < oldest
    assert not (out / "expts/20241217_train_vae/runs").exists()
    for page in out.rglob("*.html"):
        text = page.read_text("utf-8")
        assert 'src="http' not in text and 'href="http' not in text.replace(
            'href="https://pradyunsg.me"', ""
        ).replace('href="https://github.com/pradyunsg/furo"', ""), page


def test_a_notebook_without_experiments(real_notebook):
    real_notebook.write_seed("docs/notebook")
    warnings, out = real_notebook.build()
    assert warnings == ""
    assert "Experiments, newest first" not in (out / "docs/index.html").read_text("utf-8")


def test_a_new_experiment_reaches_its_list(notebook):
    notebook.write("index.rst", "Index\n=====\n\n.. experiments::\n")
    notebook.build()
    notebook.write("expts/20250101_new/notes.rst", "A new question\n==============\n")
    warnings, out = notebook.build()
    assert warnings == ""
    assert "A new question" in (out / "index.html").read_text("utf-8")


def test_svg_is_named_where_no_converter_is_installed(notebook, monkeypatch):
    monkeypatch.setattr(pictures, "CONVERTERS", {})
    notebook.write_seed()
    notebook.write("index.rst", INDEX)
    warnings, out = notebook.build("latex")
    assert warnings == ""
    (path,) = out.glob("*.tex")
    tex = path.read_text("utf-8")
    assert "includegraphics" not in tex
    assert r"20241029\_train\_vae.svg" in tex
    assert not list(out.glob("*.svg"))


def test_svg_becomes_pdf_where_a_converter_is_installed(notebook, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "rsvg-convert"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%%PDF" > "$4"\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    notebook.write_seed()
    notebook.write("index.rst", INDEX)
    warnings, out = notebook.build("latex")
    assert warnings == ""
    assert len(list(out.glob("20241*_train_vae-*.pdf"))) == 2
    (path,) = out.glob("*.tex")
    assert path.read_text("utf-8").count("includegraphics") == 2


def test_missing_svg_is_a_warning_in_latex_too(notebook):
    notebook.write("index.rst", "Index\n=====\n\n.. figure:: none.svg\n")
    warnings, _ = notebook.build("latex")
    (warning,) = warnings.splitlines()
    assert "index.rst:4: WARNING: image file not readable: none.svg" in warning


def test_pictures_that_are_not_there_are_named(notebook):
    notebook.write(
        "folder/index.rst",
        "Index\n=====\n\n.. figure:: none.png\n   :target: https://x.org\n\n   Its caption.\n\n"
        ".. image:: any.*\n\n.. image:: link.svg\n\n.. image:: pointer.svg\n\n"
        "Inline |icon|.\n\n.. |icon| image:: icon.png\n\n"
        ".. figure:: https://x.org/remote.png\n",
    )
    notebook.write("conf.py", CONF + "root_doc = 'folder/index'\n")
    (notebook.source / "folder/link.svg").symlink_to("elsewhere/gone.svg")
    notebook.write("folder/pointer.svg", "version https://git-lfs.github.com/spec/v1\noid x\n")
    warnings, out = notebook.build()
    assert "index.rst:4: WARNING: image file not readable" in warnings
    assert "index.rst:13: WARNING: image: pointer.svg: only a Git LFS pointer" in warnings
    html = (out / "folder/index.html").read_text("utf-8")
    for name in ["none.png", "any.*", "icon.png"]:
        assert f"Not shown: no such file: {name}<" in html
    assert "Not shown: link.svg: a broken link" in html
    assert "Not shown: pointer.svg: only a Git LFS pointer" in html
    assert html.count("<img") == 1 and "Its caption." in html

    notebook.write("folder/none.png", "Sphinx doesn't look into it")
    _, out = notebook.build()
    assert (out / "folder/index.html").read_text("utf-8").count("<img") == 2
    for builder in ["latex", "text"]:
        _, out = notebook.build(builder)
    assert "Not shown: no such file: any.*" in (out / "folder/index.txt").read_text("utf-8")


def test_bundle_becomes_a_classic_script():
    assert make_classic_script("var a=1;export{b as x,a as default};/*! end */") == (
        '(function(){"use strict";\nvar a=1;window.DataTable=a;/*! end */\n})();\n'
    )
    assert "export{" not in read_bundle()["datatables.js"]


@pytest.mark.parametrize(
    "module", ["var a=1;", "var a=1;export{a as x};", "export{a as default};export{b as c};"]
)
def test_bundle_of_another_shape(module):
    with pytest.raises(ExtensionError, match=r"dt_bundle\.js has another shape than expected"):
        make_classic_script(module)


DOCSTRING = """\
Voxelize atoms [b, *shape], [c, *shape] into x_ | y, *all* of them.

atoms:   columns x, y, z [Å], channel [int]
         and more * of it
**kwargs: passed on
returns: float32 [C, X, Y, Z], ``*literal*`` of $x_i*$

The file has `shared:` values:

    shared:
      model:
    runs:

structure  with probability
           in proportion
centre     a random atom

- an item
  that goes on

  and on
"""


def test_docstring_is_restructured_text(capsys):
    text = "\n".join(format_docstring(DOCSTRING.split("\n")))
    tree = publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 1})
    assert "Voxelize atoms [b, *shape], [c, *shape] into x_ | y, all of them." in tree.astext()
    names = [x.astext() for x in tree.findall() if x.tagname == "field_name"]
    assert names == ["atoms", "**kwargs", "returns", "structure", "centre"]
    bodies = [x.astext() for x in tree.findall() if x.tagname == "field_body"]
    assert bodies[0] == "columns x, y, z [Å], channel [int] and more * of it"
    assert bodies[3] == "with probability in proportion"
    (literal,) = [x for x in tree.findall() if x.tagname == "literal_block"]
    assert literal.astext() == "shared:\n  model:\nruns:"
    assert [x.tagname for x in next(tree.findall(lambda x: x.tagname == "list_item"))] == [
        "paragraph",
        "paragraph",
    ]


def test_find_modules_needs_no_import():
    assert "atompaint_vae.notebook.tables.readers" in find_modules("atompaint_vae.notebook")
    assert find_modules("atompaint_vae.nothing") == {}
