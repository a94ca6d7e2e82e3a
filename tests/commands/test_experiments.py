import csv
import os
import re
import shutil
import subprocess
import sys
import webbrowser
from datetime import date
from pathlib import Path

import pytest
from small_expt import Process

from atompaint_vae import cli
from atompaint_vae.commands.new import make_experiment

ROOT = Path(__file__).parents[2]
QUICK = "20241001_quick_start"
TODAY = f"{date.today():%Y%m%d}"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A notebook with the quick start and the experiment of four runs; the current folder."""
    for name in (QUICK, "20241217_train_vae"):
        shutil.copytree(ROOT / "expts" / name, tmp_path / "expts" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *argv):
    """Exit code, stdout, stderr."""
    code = cli.run_command([*argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def read_r2(run: str) -> str:
    with (ROOT / "expts" / run / "test.csv").open() as file:
        (row,) = csv.DictReader(file)
    return f"{float(row['r2']):.3f}"


def test_new_makes_a_folder_that_trains(root, capsys, warm):
    title = "Lower-frequency latents: is Ångström's $L$ *enough*?"
    code, stdout, _ = run(capsys, "new", title)
    slug = "lower_frequency_latents_is_angstroms_l_enough"
    assert (code, stdout) == (
        0, f"expts/{TODAY}_{slug}: edit hparams.nt, then ./train.py --dry-run\n"
    )  # fmt: skip
    folder = root / "expts" / f"{TODAY}_{slug}"
    assert sorted(x.name for x in folder.iterdir()) == [
        "hparams.nt", "notes.rst", "plot_curves.py", "plot_slices.py", "test_r2.py", "train.py"
    ]  # fmt: skip
    hparams_nt = folder / "hparams.nt"
    text = hparams_nt.read_text()
    hparams_nt.write_text(text.replace("size_voxels: 21", "size_voxels: 11"))
    code, stdout, stderr = Process(folder, ["--dry-run"], bool).wait()
    assert code == 0, stderr
    assert "gated" in stdout
    assert os.access(folder / "train.py", os.X_OK)


def test_new_notes_build_and_are_listed(root, tmp_path):
    titles = ["Lower-frequency *latents* of a_ $L$ | `x`", "格子 lattice", "a\\b"]
    for title in titles:
        make_experiment(root / "expts", title, root / "expts" / QUICK, date(2025, 1, 2))
    (root / "conf.py").write_text('extensions = ["atompaint_vae.notebook"]\n')
    (root / "index.rst").write_text("Index\n=====\n\n.. experiments::\n")
    command = [sys.executable, "-m", "sphinx", "-b", "text", "-W", "-q", ".", "out"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert result.stderr == ""
    index = (root / "out/index.txt").read_text()
    assert all(title in index for title in titles)


def test_new_copies_no_results(root, capsys):
    assert run(capsys, "new", "x", "--from", "20241217")[0] == 0
    folder = root / "expts" / f"{TODAY}_x"
    assert {x.name for x in folder.iterdir()} == {
        "compression_ratios.py", "hparams.nt", "notes.rst", "plot_curves.py", "plot_slices.py",
        "train.py",
    }  # fmt: skip
    source = root / "expts/20241217_train_vae/hparams.nt"
    assert (folder / "hparams.nt").read_text() == source.read_text()


def test_new_in_an_empty_notebook_makes_notes_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "conf.py").touch()
    monkeypatch.chdir(tmp_path)
    message = f"{TODAY}_vary_salt: edit notes.rst\n"
    assert run(capsys, "new", "Vary salt") == (0, message, "")
    assert [x.name for x in (tmp_path / f"{TODAY}_vary_salt").iterdir()] == ["notes.rst"]


def test_new_tells_which_references_it_makes_ambiguous(root, capsys):
    run(capsys, "new", "First")
    day = f"{date.today():%Y-%m-%d}"
    (root / "docs").mkdir()
    (root / "docs/a.rst").write_text(
        f"A {TODAY}\n=\n\nSee :expt:`{day}`, :expt:`First <first>` and :expt:`{TODAY}_first`.\n\n"
        f".. update:: {TODAY}\n\n   It is :metric:`{TODAY}/gated\n   test.r2`.\n"
    )
    (root / "expts" / f"{TODAY}_first/notes.rst").write_text(
        f".. runs:: {QUICK} {TODAY}\n\n.. curves:: {TODAY}_first\n"
    )
    code, _, stderr = run(capsys, "new", "Second")
    meant = f"{TODAY!r} may be {TODAY}_first or {TODAY}_second from now on; write {TODAY}_first"
    assert code == 0
    assert stderr.splitlines() == [
        f"docs/a.rst:4: {meant}", f"docs/a.rst:8: {meant}",
        f"expts/{TODAY}_first/notes.rst:1: {meant}",
    ]  # fmt: skip
    # What is ambiguous already was told before; `First` is a name as well.
    code, _, stderr = run(capsys, "new", "Third")
    assert (code, stderr) == (0, "")
    (root / "expts" / f"{TODAY}_first").rename(root / "expts/20250101_first")
    code, _, stderr = run(capsys, "new", "First")
    other = f"'first' may be 20250101_first or {TODAY}_first from now on; write 20250101_first"
    assert stderr.splitlines() == [f"docs/a.rst:4: {other}"]


def test_new_overwrites_nothing(root, capsys):
    run(capsys, "new", "X y")
    (root / f"expts/{TODAY}_x_y/notes.rst").write_text("mine")
    code, _, stderr = run(capsys, "new", "x, Y!")
    path = root / f"expts/{TODAY}_x_y"
    assert (code, stderr) == (2, f"{path}: exists already; give the experiment another title\n")
    assert (path / "notes.rst").read_text() == "mine"


def test_list(root, capsys):
    run(capsys, "new", "x")
    (root / f"expts/{TODAY}_broken").mkdir()
    (root / f"expts/{TODAY}_broken/hparams.nt").write_text("runs:\n")
    code, stdout, _ = run(capsys, "list")
    assert code == 0
    assert [re.split("  +", line) for line in stdout.splitlines()] == [
        [f"{TODAY}_x", "1 planned"],
        [f"{TODAY}_broken", f"{root}/expts/{TODAY}_broken/hparams.nt:1:1: no runs; name at least "
         "one below 'runs:'"],
        ["20241217_train_vae",
         f"4 finished; best test R² {read_r2('20241217_train_vae/runs/2-layer-wide')}"],
        [QUICK, f"1 finished; best test R² {read_r2(f'{QUICK}/runs/gated')}"],
    ]  # fmt: skip


def test_list_of_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "expts").mkdir()
    monkeypatch.chdir(tmp_path / "expts")
    assert run(capsys, "list") == (0, "", "")


def test_show(root, capsys):
    code, stdout, _ = run(capsys, "show", "20241217")
    assert code == 0
    rows = [re.split("  +", line) for line in stdout.splitlines()]
    assert rows[0] == ["run", "state", "test R²", "model.layers", "model.latent"]
    r2 = read_r2("20241217_train_vae/runs/3-layer-wide")
    assert rows[4] == ["3-layer-wide", "finished", r2,
                       "2xfourier2 → 4xfourier2 → 8xfourier2", "5xfourier2"]  # fmt: skip
    shutil.rmtree(root / "expts/20241217_train_vae/runs/3-layer-wide")
    assert "\n3-layer-wide    planned            2xf" in run(capsys, "show", "20241217")[1]
    assert run(capsys, "show", "quick_start") == run(capsys, "show", QUICK)
    assert run(capsys, "show", "train_vae")[0] == 0
    shutil.copytree(root / "expts/20241217_train_vae", root / "expts/20250101_train_vae")
    assert run(capsys, "show", "train_vae")[2] == (
        "'train_vae' may be 20241217_train_vae or 20250101_train_vae; give the whole name\n"
    )
    # As a shell completes it.
    assert run(capsys, "show", f"expts/{QUICK}/")[1].splitlines()[1].split() == [
        "gated", "finished", read_r2(f"{QUICK}/runs/gated")
    ]  # fmt: skip


def test_show_has_the_hyperparameters_that_runs_started_with(root, capsys):
    before = run(capsys, "show", "20241217")[1]
    path = root / "expts/20241217_train_vae/hparams.nt"
    path.write_text(path.read_text().replace("latent: 5xfourier2", "latent: 4xfourier2"))
    table, _, notes = run(capsys, "show", "20241217")[1].partition("\n\n")
    assert table == before.rstrip()
    since = "hparams.nt has changed since: model.latent was 5xfourier2, is 4xfourier2"
    assert notes == f"2-layer-wide, 3-layer-wide: {since}\n"


def test_damaged_files_hide_no_other_run(root, capsys):
    folder = root / "expts/20241217_train_vae/runs"
    (folder / "2-layer-wide/record.nt").write_bytes(b"\xff\x00garbage")
    (folder / "3-layer-wide/test.csv").write_text("step,r2\n1,much\n")
    code, stdout, stderr = run(capsys, "show", "20241217")
    assert code == 1
    rows = [re.split("  +", line) for line in stdout.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        ["2-layer-narrow", "finished"], ["2-layer-wide", "unreadable"],
        ["3-layer-narrow", "finished"], ["3-layer-wide", "unreadable"],
    ]  # fmt: skip
    # What the other files say is shown.
    assert rows[1][2] == read_r2("20241217_train_vae/runs/2-layer-wide")
    start = "expts/20241217_train_vae/runs"
    assert stderr == (
        f"{start}/2-layer-wide/record.nt:1:1: not UTF-8 text: byte 0xff\n"
        f"{start}/3-layer-wide/test.csv:2: r2: expected a number, got 'much'\n"
    )
    line = run(capsys, "list")[1].splitlines()[0]
    assert line.startswith("20241217_train_vae    2 finished, 2 unreadable; best test R² ")


def test_open(root, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))
    built = root / "_build/html/expts" / QUICK
    code, _, stderr = run(capsys, "open", QUICK)
    assert (code, stderr) == (2, f"{built}: not built yet; `make html` builds it\n")
    built.mkdir(parents=True)
    for name in ("sheet.html", "notes.html"):
        (built / name).write_text("")
        assert run(capsys, "open", "20241001") == (0, "", "")
        assert opened.pop() == (built / name).as_uri()
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    code, stdout, stderr = run(capsys, "open", QUICK)
    assert (code, stdout) == (1, f"{built}/notes.html\n")
    assert stderr == "no browser is found here; open this page in one\n"


MISTAKES = [
    (["new", "!?"], "TITLE: expected a name with letters or digits, got '!?'"),
    (["new", "x", "--from", "2024121"], "unknown experiment '2024121'; known: 2024"),
    (["show", "x"], f"unknown experiment 'x'; known: {QUICK}, 20241217_train_vae"),
    (["new"], "the arguments don't fit the usage; see atompaint-vae new --help\n"),
    (["open", "x", "y"], "the arguments don't fit the usage; see atompaint-vae open --help\n"),
    (["list", "--all"], "--all is not expected; see atompaint-vae list --help\n"),
]


@pytest.mark.parametrize(("argv", "message"), MISTAKES)
def test_mistakes(root, capsys, argv, message):
    code, stdout, stderr = run(capsys, *argv)
    assert (code, stdout) == (2, "")
    assert stderr.startswith(message)


@pytest.mark.parametrize("name", ["new", "list", "status", "show", "open", "figures"])
def test_outside_of_a_notebook(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    arguments = {"list": [], "status": [], "figures": ["check"]}.get(name, ["x"])
    code, _, stderr = run(capsys, name, *arguments)
    assert (code, stderr) == (2, f"{tmp_path}: no folder 'expts' here or above, and no conf.py\n")
