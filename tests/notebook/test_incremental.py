"""A build after a change makes the pages that a clean build makes."""

import re
import shutil
from types import SimpleNamespace

import pytest

from atompaint_vae.notebook import FEW_PAGES, work_alone
from benchmarks._lab import make_lab, make_run, write_tables
from benchmarks.notebook import build, change_page, change_record, change_table


@pytest.fixture(scope="module")
def built_lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "lab"
    make_lab(folder, num_experiments=2, num_runs=3, num_tables=12)
    build(folder, jobs="1")
    return folder


@pytest.fixture
def lab(built_lab, tmp_path):
    return shutil.copytree(built_lab, tmp_path / "lab")  # with the times of its files


def read_pages(lab):
    """The pages, and the data that they fetch; what Sphinx writes anew each time is left out."""
    html = lab / "_build/html"
    paths = [*html.rglob("*.html"), html / "searchindex.js"]
    paths += [x for name in ("runs", "datatables") for x in (html / "_static" / name).rglob("*.js")]
    return {path.relative_to(html).as_posix(): path.read_text("utf-8") for path in paths}


def leave_out_contents(pages):
    """The pages without what is beside and above their text, and their data."""
    return {
        name: re.search(r"<article.*</article>", text, re.DOTALL)[0] if "<article" in text else text
        for name, text in pages.items()
        if name != "searchindex.js"
    }


def check_like_clean(lab, prepare=lambda pages: pages):
    """Check that an incremental build gives the same pages as a clean one."""
    build(lab, jobs="1")
    after_change = prepare(read_pages(lab))
    shutil.rmtree(lab / "_build")
    build(lab, jobs="1")
    clean = prepare(read_pages(lab))
    assert clean.keys() <= after_change.keys()  # Sphinx leaves the files of pages that are gone
    assert [name for name in clean if clean[name] != after_change[name]] == []


def test_after_changes_within_pages(lab):
    before = read_pages(lab)
    first, second = sorted((lab / "expts").iterdir())
    change_table(next(first.glob("table_*.csv")))
    change_record(next(second.glob("runs/*/record.nt")))
    change_page(second / "notes.rst")
    (second / "plot_curves.py").write_text("print('drawn')\n", "utf-8")
    check_like_clean(lab)
    after = read_pages(lab)
    changed = {name for name in before if before[name] != after.get(name)}
    pages = {f"expts/{x.name}/{page}.html" for x in (first, second) for page in ("notes", "sheet")}
    assert pages <= changed
    assert "docs/tables.html" not in changed
    assert "plot_curves.py has changed" in after[f"expts/{second.name}/notes.html"]


def test_after_runs_tables_and_experiments_come_and_go(lab):
    first, second = sorted((lab / "expts").iterdir())
    models = sorted((first / "runs").iterdir())
    make_run(second, models, 1, 0.5, seed=7)
    write_tables(second, range(99, 100))
    shutil.copytree(first, lab / "expts/20300101_new")
    shutil.rmtree(first)
    (lab / "expts/20300101_new/sheet.rst").unlink()
    notes = lab / "expts/20300101_new/notes.rst"
    text = notes.read_text("utf-8").replace(f":metric:`{first.name}", ":metric:`20300101_new")
    notes.write_text(text, "utf-8")
    # Sphinx doesn't write a page again because others come and go in the contents beside it.
    check_like_clean(lab, leave_out_contents)


def test_few_pages_are_left_to_one_process():
    for num_pages, num_processes in ((FEW_PAGES, 1), (FEW_PAGES + 1, 8)):
        app = SimpleNamespace(parallel=8)
        work_alone(app, None, [str(i) for i in range(num_pages)])
        assert app.parallel == num_processes
