import html as html_module
import re
import shutil
from pathlib import Path

import pytest

from atompaint_vae.notebook.sheets.pages import MARK

ROOT = Path(__file__).parents[3]
HPARAMS = """\
shared:
  model:
    layers:
      - 1xfourier1
    latent: 1x0e
  train:
    epochs: 3
    steps_per_epoch: 5
runs:
  a_1:
  b:
    seed: 1
"""
RECORD = """\
run: a_1
experiment: 20250101_x
state: finished
num_parameters: 51360
latent_shape:
  - 175
  - 9
  - 9
  - 9
compression_ratio: 2.0164
best_step: 40
best_val_r2: 0.80366
sessions:
  -
    command: train.py
    started: 2025-01-02T23:50:00Z
    ended: 2025-01-03T00:00:30Z
    device: cpu, 2 threads
    versions:
      torch: 2.13.0
    git_commit: 0123456789abcdef
    steps_start: 0
    exit: interrupted
  -
    command: train.py
    started: 2025-01-03T08:00:00Z
    ended: 2025-01-03T09:00:00Z
    device: Some *GPU*
    versions:
      torch: 2.13.0
    git_commit: fedcba9876543210
    git_dirty: true
    steps_start: 7
    steps_end: 15
    exit: finished
"""
FOLDER = "expts/20250101_x"
INDEX = "Index\n=====\n\n.. experiments::\n"


@pytest.fixture
def lab(notebook):
    """A notebook of one experiment, without notes."""
    notebook.write("index.rst", INDEX)
    for name, text in {
        "hparams.nt": HPARAMS,
        "plot.py": 'print("a  script")\n',
        "20250101_x.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="12"/>',
        "20250101_r2.csv": "run,r2\na_1,0.9\n",
        "provenance.nt": "plot.py --all:\n  outputs:\n    x.svg: 0\n  code:\n    plot.py: 0\n",
        "runs/a_1/record.nt": RECORD,
        "runs/a_1/test.csv": "step,r2,loss\n15,0.79423,94598.25\n",
    }.items():
        notebook.write(f"{FOLDER}/{name}", text)
    return notebook


def read(notebook, page=f"{FOLDER}/sheet"):
    """The text of a page, tags and all, once it was built without a warning."""
    warnings, out = notebook.build()
    assert warnings == ""
    return (out / f"{page}.html").read_text("utf-8")


def read_rows(html):
    rows = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    return [
        [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)]
        for row in rows
    ]


def test_a_sheet_shows_all_that_the_folder_holds(lab):
    html = read(lab)
    rows = read_rows(html)
    assert ["a_1", "finished", "0.804", "2.0", "175×9×9×9", "51,360", "2025-01-02",
            "1 h 10 min", "fedcba9+", "Some *GPU*; torch 2.13.0"] in rows  # fmt: skip
    assert ["b", "planned", *8 * [""]] in rows
    assert ["a_1", "0.7942", "94,598"] in rows
    text = re.sub(r"<.*?>", "", html)
    for line in [
        "git worktree add ../20250101_x_fedcba9 fedcba9876543210",
        "cd ../20250101_x_fedcba9/expts/20250101_x",
        "rm -rf runs/a_1",
        "./train.py a_1",
        "./train.py b",
        "./plot.py --all",
    ]:
        assert f"\n{line}\n" in text.replace("\n\n", "\n\n\n"), line
    assert "steps_per_epoch: 5" in text
    assert 'print("a  script")' in html_module.unescape(text)
    assert "highlight-nestedtext" in html
    assert "20250101_x.svg" in html
    assert html.count('class="datatable"') == 1
    assert "datatable-whole" in html  # the runs, of which none is on another page
    assert "A commit with a + had changes that were not committed." in text
    assert "which has no notes of its own" in text


@pytest.mark.parametrize("builder", ["latex", "text"])
def test_a_sheet_in_print(lab, builder):
    assert lab.build(builder)[0] == ""


@pytest.mark.parametrize("has_notes", [True, False])
def test_a_printed_notebook_has_each_sheet_once(lab, has_notes):
    if has_notes:
        lab.write(f"{FOLDER}/notes.rst", "A question\n==========\n")
    warnings, out = lab.build("latex")
    assert warnings == ""
    (path,) = out.glob("*.tex")
    contents, _, appendix = path.read_text("utf-8").partition("\\appendix")
    command = "worktree"
    assert (contents.count(command), appendix.count(command)) == ((0, 1) if has_notes else (1, 0))


def test_the_list_leads_to_notes_or_to_the_sheet(lab):
    link = r'href="{}/{}.html">(?:<span[^>]*>)*{}</span>'
    assert re.search(link.format(FOLDER, "sheet", "20250101_x"), read(lab, "index"))
    lab.write(f"{FOLDER}/notes.rst", "A question\n==========\n\n::\n\n  its last line")
    html = read(lab, "index")
    assert re.search(link.format(FOLDER, "notes", "A question"), html)
    assert 'sheet.html"' not in html
    notes = read(lab, f"{FOLDER}/notes")
    assert 'href="sheet.html"><span class="doc">Run sheet: 20250101 x</span></a>' in notes
    assert notes.count("sheet.html") == 1
    assert 'href="notes.html"' in read(lab)
    (lab.source / FOLDER / "notes.rst").unlink()
    link = r'href="{}/{}.html">(?:<span[^>]*>)*{}</span>'
    assert re.search(link.format(FOLDER, "sheet", "20250101_x"), read(lab, "index"))
    assert "which has no notes of its own" in read(lab)


def read_users(lab):
    (users,) = re.findall(r"Shown in: (.*?)</p>", read(lab)) or [""]
    return [
        (re.sub("<.*?>", "", text), href)
        for href, text in re.findall(r'<a class="reference internal" href="(.*?)">(.*?)</a>', users)
    ]


def test_a_sheet_leads_to_the_pages_that_show_its_files(lab):
    assert read_users(lab) == []
    figure = f".. figure:: {FOLDER}/20250101_x.svg\n"
    lab.write("page.rst", f":orphan:\n\nA page\n======\n\n{figure}")
    assert read_users(lab) == [("A page", "../../page.html")]
    # A target of the folder's name, as `:expt:` finds it, says which section.
    section = f".. _{FOLDER.split('/')[-1]}:\n\n2025/01/01\n----------\n\n"
    lab.write("page.rst", f":orphan:\n\nA page\n======\n\n{section}{figure}")
    lab.write("other.rst", f":orphan:\n\nOther\n=====\n\n{figure}")
    assert read_users(lab) == [
        ("Other", "../../other.html"), ("A page, 2025/01/01", "../../page.html#x"),
    ]  # fmt: skip
    lab.write("page.rst", ":orphan:\n\nA page\n======\n")
    assert read_users(lab) == [("Other", "../../other.html")]
    (lab.source / "other.rst").unlink()
    assert read_users(lab) == []


def test_numbers_of_a_sheet_are_aligned(lab):
    assert re.search(r'<td class="num"><p>51,360</p></td>', read(lab))


def test_a_sheet_follows_its_folder(lab):
    read(lab)
    lab.build()
    assert "0 added, 0 changed, 0 removed" in lab.status
    lab.write(f"{FOLDER}/second.py", "print('second')\n")
    assert "second" in read(lab)
    assert "0 added, 1 changed, 0 removed" in lab.status
    lab.write(f"{FOLDER}/runs/b/record.nt", RECORD.replace("finished", "running"))
    assert "running" in read(lab)
    lab.write(f"{FOLDER}/runs/b/record.nt", RECORD.replace("51360", "7"))
    rows = [row[:6] for row in read_rows(read(lab))]
    assert ["b", "finished", "0.804", "2.0", "175×9×9×9", "7"] in rows
    assert "0 added, 2 changed, 0 removed" in lab.status  # and the list of experiments
    (lab.source / FOLDER / "second.py").unlink()
    assert "second.py" not in read(lab)


def test_sheets_come_and_go_with_their_experiments(lab):
    read(lab)
    path = lab.source / FOLDER / "sheet.rst"
    before = path.stat().st_mtime_ns
    read(lab)
    assert path.stat().st_mtime_ns == before
    for each in [x for x in path.parent.iterdir() if x != path]:
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    lab.write("expts/mine/hparams.nt", HPARAMS)
    lab.write("expts/mine/sheet.rst", "My own\n======\n")
    lab.write("expts/theirs/sheet.rst", "Their own\n=========\n")
    warnings, _ = lab.build()
    assert not path.parent.exists()
    assert not (lab.source / "expts/mine/sheet.rst").read_text().startswith(MARK)
    assert (lab.source / "expts/theirs/sheet.rst").exists()
    assert warnings == ""


def test_mistakes_are_warnings_with_their_place(lab):
    lab.write(f"{FOLDER}/hparams.nt", HPARAMS.replace("seed", "sede"))
    lab.write(f"{FOLDER}/runs/a_1/record.nt", RECORD.replace("51360", "many"))
    warnings, out = lab.build()
    assert "hparams.nt:12:5: WARNING: key 'sede' is unknown; did you mean 'seed'?" in warnings
    damage = "num_parameters: expected an integer or nothing, got 'many'"
    assert f"runs/a_1/record.nt:4:17: WARNING: {damage}" in warnings
    html = (out / FOLDER / "sheet.html").read_text("utf-8")
    assert "sede" in html
    rows = read_rows(html_module.unescape(html))
    assert ["a_1", f"unreadable: record.nt:4:17: {damage}", *8 * [""]] in rows


@pytest.mark.parametrize(
    "name, content, place, text",
    [
        ("20250101_r2.csv", b"run,r2\na_1\n", "20250101_r2.csv:1", "20250101_r2.csv:2: 1 fields"),
        ("x y.xlsx", b"PK", "x y.xlsx:1", "not a readable spreadsheet"),
        ("bad.py", b"\xff\xfe", "bad.py:1:1", "not UTF-8 text: byte 0xff"),
        ("runs/a_1/test.csv", b"step,r2\n1,\x00\n", "test.csv:2", "r2: expected a number, got '\\"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_shown(lab, name, content, place, text):
    (lab.source / FOLDER / name).write_bytes(content)
    warnings, out = lab.build()
    (warning,) = warnings.splitlines()
    assert f"{place}: WARNING: " in warning
    assert text in warning
    assert 'print("a  script")' in html_module.unescape(
        re.sub(r"<.*?>", "", (out / FOLDER / "sheet.html").read_text("utf-8"))
    )


def test_names_with_blanks_are_shown(lab):
    for name, text in {"a b.svg": "<svg/>", "c  d.csv": "x\n1\n", "e `f*.py": "1\n"}.items():
        lab.write(f"{FOLDER}/{name}", text)
    html = read(lab)
    assert 'src="../../_images/a%20b.svg"' in html
    text = re.sub(r"\s+", " ", html_module.unescape(re.sub(r"<.*?>", "", html)))
    assert "a b.svg" in text and "c d.csv" in text and "f*.py" in text


def test_a_sheet_belongs_into_an_experiments_folder(lab):
    lab.write("page.rst", ":orphan:\n\nPage\n====\n\n.. runsheet::\n\nThe rest.\n")
    warnings, out = lab.build()
    (warning,) = warnings.splitlines()
    assert "page.rst:6: WARNING: runsheet: the page isn't in an experiment's folder" in warning
    assert "The rest." in (out / "page.html").read_text("utf-8")


def test_a_nested_experiment_is_redone_in_its_own_folder(lab):
    lab.write(f"{FOLDER}/20250102_y/hparams.nt", HPARAMS)
    text = re.sub(r"<.*?>", "", read(lab, f"{FOLDER}/20250102_y/sheet"))
    assert f"\ncd {FOLDER}/20250102_y\n./train.py\n" in text


def test_git_ignores_the_sheets():
    assert "sheet.rst" in (ROOT / ".gitignore").read_text().split()


TRIALS = """\
trial-000:
  loss:
    beta: 0.31
  model:
    layers:
      - 8x0e
      - 16x0e
trial-001:
  loss:
    beta: 1.5
  infeasible: the latent is too large
"""


def test_the_trials_of_a_search_are_a_table(lab):
    lab.write(f"{FOLDER}/trials.nt", TRIALS)
    page = read(lab)
    (table,) = [x for x in re.findall(r"<table.*?</table>", page, re.DOTALL) if "0.31" in x]
    rows = [re.findall(r"<p>(.*?)</p>", x) for x in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    assert rows[0] == ["run", "loss.beta", "model.layers", "infeasible"]
    assert rows[1][:3] == ["trial-000", "0.31", "8x0e → 16x0e"]
    assert rows[2][:2] == ["trial-001", "1.5"] and rows[2][-1] == "the latent is too large"


def test_damaged_trials_are_noted(lab):
    lab.write(f"{FOLDER}/trials.nt", "trial-000\n")
    warnings, out = lab.build()
    assert "trials.nt:1" in warnings
    assert "Not shown: " in (out / f"{FOLDER}/sheet.html").read_text("utf-8")


def test_runs_of_one_commit_are_trained_again_without_their_names(lab):
    record = RECORD.replace("run: a_1", "run: b")
    lab.write(f"{FOLDER}/runs/b/record.nt", record)
    text = html_module.unescape(re.sub("<[^>]+>", "", read(lab)))
    assert "Train all runs again" in text
    assert "\nrm -rf runs\n./train.py\n" in text
