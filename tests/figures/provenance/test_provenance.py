import os
import shutil
import subprocess
import sys
from pathlib import Path

import nestedtext as nt
import pytest

from atompaint_vae import cli
from atompaint_vae.figures.provenance import drawings as provenance
from atompaint_vae.figures.provenance import stale
from atompaint_vae.figures.provenance.drawings import (
    ProvenanceError,
    load_provenance,
    strip_source,
)
from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.provenance.trace import trace_files

ROOT = Path(__file__).parents[3]
SCRIPT = '''\
#!/usr/bin/env python3
"""Write a table of step counts.

Usage:
    count_steps.py [--unit=NAME]
"""

import sys
from pathlib import Path

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.tables import save_table
from helper import count


def main(expt):
    import pandas as pd

    rows = [{"run": run.name, "steps": count(run)} for run in expt.load_runs()]
    save_table(pd.DataFrame(rows), expt.expt_dir / f"{expt.date}_steps{len(sys.argv)}.csv")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
'''
HELPER = '''\
"""Beside the script."""


def count(run):
    """How many."""
    return (run.paths.val_metrics).read_text().count("\\n")  # lines
'''


@pytest.fixture
def expt(tmp_path):
    return make_experiment(tmp_path / "notebook")


def make_experiment(root):
    """Make a notebook with the quick start's finished run, and one more that never began."""
    folder = root / "expts/20240101_x"
    shutil.copytree(ROOT / "expts/20241001_quick_start/runs", folder / "runs")
    hparams = (ROOT / "expts/20241001_quick_start/hparams.nt").read_text()
    (folder / "hparams.nt").write_text(hparams + "  later:\n    seed: 1\n")
    (folder / "count_steps.py").write_text(SCRIPT)
    (folder / "helper.py").write_text(HELPER)
    return folder


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """The folder of an experiment that has been drawn, and what the script printed."""
    folder = make_experiment(tmp_path_factory.mktemp("drawn") / "notebook")
    return folder, draw(folder)


@pytest.fixture
def drawn(drawing, tmp_path):
    """A copy of an experiment that has been drawn."""
    folder, _ = drawing
    return shutil.copytree(folder.parents[1], tmp_path / "notebook") / "expts" / folder.name


def draw(folder, *arguments):
    """Exit code, stdout, stderr of the script."""
    command = [sys.executable, folder / "count_steps.py", *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder)
    return result.returncode, result.stdout, result.stderr


def check(folder, capsys):
    """Exit code and lines of `figures check`."""
    code = cli.run_command(["figures", "check", str(folder)])
    return code, capsys.readouterr().out.splitlines()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_a_script_read_and_wrote_is_noted_down(drawing):
    folder, printed = drawing
    assert printed == (0, "20240101_steps1.csv\n", "left out: later (planned)\n")
    (drawing,) = load_provenance(folder).values()
    assert list(drawing.outputs) == ["20240101_steps1.csv"]
    run = "runs/gated"
    assert list(drawing.inputs) == [
        "hparams.nt", f"{run}/hparams.nt", f"{run}/record.nt", f"{run}/val.csv"
    ]  # fmt: skip
    assert {"count_steps.py", "helper.py", "atompaint_vae/figures/tables.py"} <= set(drawing.code)
    assert not {x for x in drawing.code if "curves" in x or "hparams" in x or "nn/" in x}
    assert drawing.unfinished == ("later",)


def test_pruned_runs_are_not_left_out(drawn):
    shutil.copytree(drawn / "runs/gated", drawn / "runs/later")
    edit(drawn / "runs/later/record.nt", "\nstate: finished", "\nstate: pruned")
    assert draw(drawn) == (0, "20240101_steps1.csv\n", "")
    (drawing,) = load_provenance(drawn).values()
    assert drawing.unfinished == ()
    assert "runs/later/record.nt" in drawing.inputs


def test_a_copy_of_the_notebook_is_up_to_date_whatever_the_times(drawn, tmp_path, capsys):
    clone = shutil.copytree(drawn.parents[1], tmp_path / "clone") / "expts/20240101_x"
    for number, path in enumerate(sorted(clone.rglob("*"))):
        os.utime(path, (number, number))
    assert check(clone, capsys) == (0, ["1 figures and tables are up to date"])


EDITS = {
    "metrics": ("runs/gated/val.csv", "\n", "\n1", "runs/gated/val.csv has changed"),
    "hparams": ("hparams.nt", "seed: 1", "seed: 2", "hparams.nt has changed"),
    "script": ("count_steps.py", "rows = [", "rows = 1 * [", "count_steps.py has changed"),
    "helper": ("helper.py", '"\\n"', '","', "helper.py has changed"),
    "output": ("20240101_steps1.csv", "gated", "wide", "steps1.csv isn't what the script wrote"),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_changed_makes_it_stale(drawn, capsys, name):
    path, old, new, reason = EDITS[name]
    edit(drawn / path, old, new)
    code, (line,) = check(drawn, capsys)
    assert code == 1
    assert line.startswith("expts/20240101_x/20240101_steps1.csv: ")
    assert line.endswith(f"{reason} (count_steps.py)")


def test_comments_and_docstrings_make_nothing_stale(drawn, capsys):
    edit(drawn / "helper.py", "Beside the script.", "Next to it.")
    edit(drawn / "helper.py", "  # lines", "  # one for each row")
    edit(drawn / "count_steps.py", "Write a table", "Make a table")
    assert check(drawn, capsys)[0] == 0


def test_shared_code_counts_only_where_it_was_imported(drawn, capsys, monkeypatch, tmp_path):
    package = shutil.copytree(ROOT / "atompaint_vae", tmp_path / "copy/atompaint_vae")
    monkeypatch.setattr(provenance, "PACKAGE", package)
    edit(package / "figures/curves.py", "alpha=0.35", "alpha=0.5")
    edit(package / "config/schema.py", "seed: Int = Field(0", "seed: Int = Field(1")
    assert check(drawn, capsys)[0] == 0
    edit(package / "figures/tables.py", "index=False", "index=True")
    code, (line,) = check(drawn, capsys)
    assert code == 1
    assert "atompaint_vae/figures/tables.py has changed" in line


DRAWS = {
    "data": True, "nn": True, "models": True, "analysis": True, "figures": True,
    "figures/provenance": False, "text": False, "config": False, "records": False, "slurm": False,
    "training": False, "search": False, "publishing": False, "notebook": False, "commands": False,
}  # fmt: skip


@pytest.mark.parametrize("package", DRAWS)
def test_every_module_of_a_package_draws_or_none_does(package):
    names = [
        provenance.name_code(ROOT, path)
        for path in (provenance.PACKAGE / package).rglob("*.py")
        if path.name not in provenance.DECLARING
        and (package != "figures" or path.parent.name != "provenance")
    ]
    assert {provenance.draws(name) for name in names} == {DRAWS[package]}
    assert not any(
        provenance.draws(provenance.name_code(ROOT, provenance.PACKAGE / package / name))
        for name in provenance.DECLARING
    )


def test_every_package_is_known_to_draw_or_not():
    packages = {path.parent.name for path in provenance.PACKAGE.glob("*/__init__.py")}
    assert packages == DRAWS.keys() - {"figures/provenance"}


def test_no_committed_figure_depends_on_a_module_that_draws_nothing():
    files = [*ROOT.glob("expts/*/provenance.nt"), *ROOT.glob("docs/**/provenance.nt")]
    assert files
    for path in files:
        for command, drawing in nt.load(path).items():
            not_drawing = [name for name in drawing["code"] if not provenance.draws(name)]
            assert not_drawing == [], f"{path}: {command}"


def test_missing_and_gone(drawn, capsys):
    (drawn / "20240101_steps1.csv").unlink()
    assert "20240101_steps1.csv is missing" in check(drawn, capsys)[1][0]
    draw(drawn)
    (drawn / "helper.py").unlink()
    assert "helper.py is gone" in check(drawn, capsys)[1][0]


def test_a_run_that_has_finished_since(drawn, capsys):
    shutil.copytree(drawn / "runs/gated", drawn / "runs/later")
    edit(drawn / "runs/later/record.nt", "state: finished", "state: running")
    assert check(drawn, capsys)[0] == 0
    edit(drawn / "runs/later/record.nt", "state: running", "state: finished")
    assert "run later has finished since" in check(drawn, capsys)[1][0]


def test_a_script_that_never_drew(expt, capsys):
    code, (line,) = check(expt, capsys)
    assert code == 1
    assert line == (
        "expts/20240101_x/count_steps.py: what it draws is missing, or not in provenance.nt"
    )
    edit(expt / "runs/gated/record.nt", "state: finished", "state: interrupted")
    assert check(expt, capsys) == (0, ["0 figures and tables are up to date"])


def test_draw_runs_only_what_is_stale_with_its_arguments(drawn, capfd, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    draw(drawn, "--unit", "step")
    assert list(load_provenance(drawn)) == ["count_steps.py", "count_steps.py --unit step"]
    (drawn / "20240101_steps3.csv").unlink()
    assert cli.run_command(["figures", "draw", str(drawn)]) == 0
    assert capfd.readouterr().out == "20240101_steps3.csv\n"
    assert cli.run_command(["figures", "draw", str(drawn)]) == 0
    assert capfd.readouterr().out == "all figures and tables are up to date\n"
    edit(drawn / "count_steps.py", "rows =", "rows = broken =")
    edit(drawn / "helper.py", "def count", "def discount")
    assert cli.run_command(["figures", "draw", str(drawn)]) == 1
    assert f"{drawn}/count_steps.py: failed" in capfd.readouterr().err


def test_the_same_again_leaves_the_file_as_it_is(drawn):
    path = drawn / "provenance.nt"
    before = path.stat().st_ino
    draw(drawn)
    assert path.stat().st_ino == before
    edit(path, "outputs:", "git_commit: 0123\n  outputs:")
    draw(drawn)
    assert "git_commit: 0123" in path.read_text()


def test_an_output_belongs_to_the_command_that_wrote_it_last(drawn):
    edit(drawn / "count_steps.py", "{len(sys.argv)}", "1")
    draw(drawn, "--unit", "step")
    assert list(load_provenance(drawn)) == ["count_steps.py --unit step"]


def test_what_git_ignores_is_no_input(expt):
    git = ["git", "-C", expt.parents[1]]
    subprocess.run([*git, "init", "-q"], check=True)
    (expt.parents[1] / ".gitignore").write_text("val.csv\n")
    draw(expt)
    (drawing,) = load_provenance(expt).values()
    assert list(drawing.inputs) == ["hparams.nt", "runs/gated/hparams.nt", "runs/gated/record.nt"]
    assert (drawing.git_commit, drawing.git_dirty) == (None, True)


MISTAKES = [
    (["--unti"], "--unti is not expected; see count_steps.py --help\n"),
    (["x"], "the arguments don't fit the usage; see count_steps.py --help\n"),
    (["--unit"], "--unit requires argument; see count_steps.py --help\n"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_on_the_command_line(expt, capsys, monkeypatch, arguments, message):
    script = expt / "count_steps.py"
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    usage = SCRIPT.split('"""')[1]
    with pytest.raises(SystemExit) as exit:
        run_script(usage, script, main=None)
    assert exit.value.code == 2
    assert capsys.readouterr() == ("", message)


def test_nothing_is_finished(expt):
    edit(expt / "runs/gated/record.nt", "state: finished", "state: running")
    code, stdout, stderr = draw(expt)
    assert (code, stdout) == (2, "")
    assert stderr == f"{expt}/runs: no run is finished yet; ./train.py first\n"
    assert not (expt / "provenance.nt").exists()


def test_a_file_that_a_finished_run_lacks(expt):
    (expt / "runs/gated/val.csv").unlink()
    code, _, stderr = draw(expt)
    assert code == 2
    assert stderr == f"left out: later (planned)\n{expt}/runs/gated/val.csv: no such file\n"


def test_a_broken_file(expt, capsys):
    path = expt / "provenance.nt"
    path.write_text("count_steps.py:\n  outputs:\n    a.svg: 1\n  cod:\n    b: 2\n")
    with pytest.raises(ProvenanceError, match=r"nt:4:3: key 'cod' is unknown; did you mean 'code'"):
        load_provenance(expt)
    assert cli.run_command(["figures", "check", str(expt)]) == 1
    assert capsys.readouterr() == (
        "0 figures and tables are up to date\n",
        f"{path}:4:3: key 'cod' is unknown; did you mean 'code'?\n",
    )


def test_a_folder_as_a_shell_completes_it(expt, capsys, monkeypatch):
    monkeypatch.chdir(expt.parent)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert cli.run_command(["figures", "draw", f"{expt.name}/"]) == 0
    assert cli.run_command(["figures", "check", expt.name]) == 0


def test_a_broken_file_hides_no_other_folder(drawn, capsys):
    other = drawn.parent / "20240102_other"
    shutil.copytree(drawn, other)
    edit(other / "count_steps.py", "steps", "Steps")
    (drawn / "provenance.nt").write_bytes(b"\xff")
    assert cli.run_command(["figures", "check", str(drawn.parent)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{drawn.parent.name}/{other.name}/")
    damage, total = err.splitlines()
    assert damage == f"{drawn}/provenance.nt:1:1: not UTF-8 text: byte 0xff"
    assert "stale or missing" in total
    # A damaged record, or hparams.nt, of one experiment is no other's either.
    (drawn / "provenance.nt").unlink()
    (drawn / "hparams.nt").write_text("runs: x")
    assert cli.run_command(["figures", "check", str(drawn.parent)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"{drawn}/hparams.nt:1:")
    assert other.name in out


def test_mistakes_of_the_command(tmp_path, capsys, monkeypatch):
    assert cli.run_command(["figures", "check", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'x'}: no such folder\n"
    monkeypatch.chdir(tmp_path)
    assert cli.run_command(["figures", "check"]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path}: no folder 'expts' here or above, and no conf.py\n"
    )


def test_stripped_source():
    source = (
        '"""Doc."""\n\nx = 1  # one\n\n\ndef f():\n    """Doc\n\n    string."""\n'
        '    return """a\n\n# b  \n""" + f"{x}#"  \n# end\ny = 2\n"""Of y."""\n"a"; z = 3\n'
    )
    assert strip_source(source) == (
        'x = 1\ndef f():\n    return """a\n\n# b  \n""" + f"{x}#"\ny = 2\n"a"; z = 3'
    )
    assert strip_source("def (") == "def ("


def test_trace_sees_what_is_opened_and_what_is_moved(tmp_path):
    (tmp_path / "a").write_text("a")
    with trace_files() as trace:
        (tmp_path / "a").read_bytes()
        with (tmp_path / "b").open("w") as file:
            file.write("b")
        (tmp_path / "b").replace(tmp_path / "c")
    (tmp_path / "d").write_text("d")
    assert {x for x in trace.read if x.startswith(str(tmp_path))} == {str(tmp_path / "a")}
    assert trace.written == {str(tmp_path / x) for x in "bc"}


def test_this_notebook_is_up_to_date():
    """What is committed is what the scripts write."""
    checked = stale.check_figures([ROOT / "expts", ROOT / "docs"])
    assert checked.num_outputs > 10
    assert checked.stale == []
