"""The small notebook that the guide shows: pages without any of our experiments."""

import re
import shutil
from pathlib import Path

import pytest
from small_notebook import build_html

from atompaint_vae import cli

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide"


@pytest.fixture
def own_notebook(tmp_path):
    return shutil.copytree(GUIDE / "own_notebook", tmp_path / "project/notebook")


def test_pages(own_notebook):
    """Numbers, links, citations and tables, in the style of exmemo."""
    build_html(own_notebook)
    html = own_notebook / "_build/html"
    index = (html / "index.html").read_text("utf-8")
    assert ">#1: Titrate protein</a>" in index and ">#3: Mutate arginine</a>" in index
    notes = (html / "titrate_protein/notes.html").read_text("utf-8")
    assert "<h1>#1: Titrate protein" in notes
    assert 'href="vary_salt/notes.html"><span class="expt">#2: Vary salt</span></a>' in notes
    assert 'href="../references.html#hill1910"' in notes
    cited = re.search(r"Cited by: (.*)</p>", notes)[1]
    assert re.findall(r">([^<]+)</a>", cited) == ["#2: Vary salt"]
    assert "Hill AV. " in (html / "references.html").read_text("utf-8")


def test_data_folders_that_exist_are_links(own_notebook):
    page = own_notebook / "_build/html/titrate_protein/notes.html"
    build_html(own_notebook)
    shown = '<span class="pre">data/anisotropy/20250310</span></code>'
    assert shown in page.read_text("utf-8") and f"{shown}</a>" not in page.read_text("utf-8")
    data = own_notebook.parent / "data/anisotropy/20250310"
    data.mkdir(parents=True)
    build_html(own_notebook)
    (address,) = re.findall(f'href="([^"]*)"><code[^>]*>{shown}</a>', page.read_text("utf-8"))
    assert not address.startswith("/") and (page.parent / address).resolve() == data


def test_the_search_knows_runs(own_notebook, write_run):
    """Also where experiments aren't in expts/."""
    write_run(own_notebook / "titrate_protein", "plain")
    build_html(own_notebook)
    found = (own_notebook / "_build/html/searchindex.js").read_text("utf-8")
    assert "titrate_protein/plain" in found


def test_the_command_line(own_notebook, monkeypatch, capsys):
    monkeypatch.chdir(own_notebook / "titrate_protein")
    assert cli.run_command(["list"]) == 0
    out = capsys.readouterr().out
    shown = (GUIDE / "own_notebook.rst").read_text("utf-8").partition("block:: text\n\n")[2]
    assert out.splitlines() == [x.strip() for x in shown.partition("\n\n")[0].splitlines()]
    for arguments in (["status"], ["figures", "check"]):
        assert cli.run_command(arguments) == 0


def test_the_guide_shows_all_files(own_notebook):
    tree = (GUIDE / "own_notebook.rst").read_text("utf-8")
    tree = tree.partition("conf.py")[2].partition("``conf.py``")[0]
    for path in own_notebook.rglob("*.*"):
        assert path.is_dir() or path.name in tree


def test_a_bad_data_folder(notebook):
    notebook.write("index.rst", "Index\n=====\n\n:datadir:`../secret`\n")
    warnings, _ = notebook.build()
    message = "datadir: bad folder '../secret'; expected one below data/"
    assert f"index.rst:4: WARNING: {message}" in warnings
