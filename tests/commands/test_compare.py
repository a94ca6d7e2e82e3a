import csv
from pathlib import Path

import pytest

from atompaint_vae.cli import run_command


@pytest.fixture
def notebook(write_run, tmp_path, monkeypatch):
    expts = tmp_path / "expts"
    write_run(expts / "20250101_x", "wide", {"model.latent": "8x0e", "loss.beta": 2}, tau=2)
    write_run(expts / "20250101_x", "narrow", {"loss.beta": 1}, tau=8)
    write_run(expts / "20250202_y", "mean", {"loss.reduction": "mean"}, tau=4, commit="b" * 40)
    monkeypatch.chdir(expts / "20250101_x")
    return tmp_path


def run(capsys, *argv):
    code = run_command(["compare", *argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_what_differs_between_two_experiments(notebook, capsys):
    code, out, err = run(capsys, "20250101", "20250202_y")
    assert (code, err) == (0, "")
    table, _, notes = out.partition("\n\n")
    rows = [line.split() for line in table.replace("duration [min]", "duration").splitlines()]
    assert rows == [
        ["experiment", "run", "last(val.r2)", "best(val.r2)", "model.latent", "loss.reduction",
         "loss.beta", "state", "duration"],
        ["20250101_x", "wide", "0.999955", "0.999955", "8x0e", "sum", "2", "finished", "20.0"],
        ["20250202_y", "mean", "0.993262", "0.993262", "2x0e", "mean", "1", "finished", "20.0"],
        ["20250101_x", "narrow", "0.917915", "0.917915", "2x0e", "sum", "1", "finished", "20.0"],
    ]  # fmt: skip
    assert notes.splitlines() == [
        "confounded: model.latent and loss.beta vary only together: "
        "their effects can't be told apart",
        "code: aaaaaaaa (2 runs) or bbbbbbbb (1 run)",
        "git diff aaaaaaaa bbbbbbbb -- atompaint_vae",
        "data: starter (3 runs), dddddddd (3 runs)",
    ]


@pytest.mark.parametrize("name", ["20250101/wide", "runs/wide", "../20250101_x/runs/wide/"])
def test_a_run_by_name_or_path(notebook, capsys, name):
    code, out, _ = run(capsys, name)
    assert code == 0
    assert out.splitlines()[1].split()[0] == "wide"
    assert len(out.partition("\n\n")[0].splitlines()) == 2


def test_filter_and_metric(notebook, capsys):
    where = "loss.reduction == sum and best(val.r2) > 0.95"
    code, out, _ = run(capsys, "20250101", "20250202", "--where", where, "--metric", "val.loss")
    assert code == 0
    assert out.splitlines()[0].split()[:3] == ["run", "last(val.loss)", "best(val.loss)"]
    assert out.splitlines()[1].split()[0] == "wide"
    assert "mean" not in out


def read_runs(out: str) -> list[str]:
    header, *rows = [line.split() for line in out.partition("\n\n")[0].splitlines()]
    return [row[header.index("run")] for row in rows]


def test_the_best_is_first_or_the_smallest(notebook, write_run, capsys):
    sizes = {"compression_ratio": 21.0}
    write_run(notebook / "expts/20250101_x", "early", sizes=sizes, tau=1, test=False)
    both = ["20250101", "20250202"]
    assert read_runs(run(capsys, *both)[1]) == ["early", "wide", "mean", "narrow"]
    assert read_runs(run(capsys, *both, "--metric", "val.loss")[1])[0] == "early"
    assert read_runs(run(capsys, *both, "--metric", "test.r2")[1])[-1] == "early"  # it has none
    assert read_runs(run(capsys, *both, "--sort", "loss.beta")[1])[-1] == "wide"
    out = run(capsys, *both, "--sort", "train.loss", "--top", "2")[1]
    assert read_runs(out) == ["early", "wide"]
    assert out.split()[:5] == ["run", "last(val.r2)", "best(val.r2)", "best(train.loss)", "compr"
                               "ession_ratio"]  # fmt: skip


def test_what_a_filter_names_is_shown(notebook, capsys):
    out = run(capsys, "20250101", "--where", "steps > 5 and compression_ratio < 11")[1]
    header = out.splitlines()[0].split()
    assert header[3:5] == ["steps", "compression_ratio"]


def test_table_as_csv_has_all_digits(notebook, capsys):
    code, _, _ = run(capsys, "20250101", "-o", "out.csv")
    assert code == 0
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["wide", "narrow"]
    assert rows[1]["best(val.r2)"] == "0.917915001"  # 1 - exp(-20/8), nine digits as recorded
    assert rows[0]["commit"] == 40 * "a"


def test_curves_as_svg(notebook, capsys):
    assert run(capsys, "20250101", "-o", "out.svg", "--metric", "train.loss")[0] == 0
    first = (notebook / "expts/20250101_x/out.svg").read_bytes()
    assert first.startswith(b"<?xml") and b"<!-- train.loss -->" in first
    assert b"<!-- wide -->" in first
    assert run(capsys, "20250101", "-o", "out.svg", "--metric", "train.loss")[0] == 0
    assert (notebook / "expts/20250101_x/out.svg").read_bytes() == first


@pytest.mark.parametrize(
    "argv, message",
    [
        (["20250303"], "unknown experiment '20250303'; did you mean '20250202_y' or '2025"),
        (["20250101", "--where", "val.r2 >"], "--where: column 1: unknown property 'val.r2'; did "),
        (["20250101", "--where", "seed =="], "--where: column 8: expected a value, got the end"),
        (
            ["20250101", "--where", "seed == 7"],
            "--where: none of 2 runs matches; nearest seed: 0\n",
        ),
        (["20250101", "--sort", "loss.bet"], "unknown property 'loss.bet'; did you mean 'loss.bet"),
        (["20250101", "--top", "0"], "--top: expected a number of at least 1, got '0'"),
        (["20250101", "--metric", "val.r3"], "unknown metric 'val.r3'; did you mean 'val.r2'?\n"),
        (["20250101", "--metric", "xyz"], "unknown metric 'xyz'; known: test.r2, val.loss, val.r2"),
        (["20250101", "-o", "no/x.svg"], "no/x.svg: no such file or directory\n"),
        (["20250101", "-o", "no/x.csv"], "no/x.csv: no such file or directory\n"),
        (["20250101", "--metric", "test.r2", "-o", "x.svg"], "no curve of 'test.r2'; known: val."),
        (["20250101", "-o", "x.png"], "-o: expected a name that ends in .csv or .svg, got 'x.png'"),
        (["--tops", "1"], "--tops is not expected; see atompaint-vae compare --help\n"),
    ],
)
def test_mistakes_are_told_in_one_line(notebook, capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(notebook.rglob("x.*"))


def test_an_experiment_without_runs(notebook, capsys):
    (notebook / "expts/20250404_new").mkdir()
    (notebook / "expts/20250404_new/hparams.nt").write_text("runs:\n")
    code, _, err = run(capsys, "20250404")
    assert (code, err) == (2, "20250404: no run has a record; ./train.py first\n")


def test_all_experiments(notebook, capsys):
    assert run(capsys) == run(capsys, "all") == run(capsys, "20250101", "20250202")


def test_a_run_that_cant_be_read_hides_no_other(notebook, capsys):
    record = notebook / "expts/20250101_x/runs/wide/record.nt"
    record.write_text(record.read_text("utf-8").replace("finished", "done", 1), "utf-8")
    code, out, err = run(capsys, "20250101")
    assert (code, err) == (1, "")
    rows, _, notes = out.partition("\n\n")
    header, wide, narrow = rows.replace("duration [min]", "duration").splitlines()
    assert header.split() == ["run", "last(val.r2)", "best(val.r2)", "state", "duration"]
    assert narrow.split() == ["narrow", "0.917915", "0.917915", "finished", "20.0"]
    assert wide.split() == ["wide", "0.999955", "0.999955", "unreadable"]
    damage = "20250101_x/wide can't be read: record.nt:3:8: state: expected "
    assert notes.startswith(f"not comparable: {damage}")


def test_outside_a_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "20250101")
    assert code == 2
    assert err == f"{tmp_path}: no folder 'expts' here or above, and no conf.py\n"


def test_losses_on_different_scales_are_not_compared(notebook, capsys):
    _, out, _ = run(capsys, "20250101", "20250202_y", "--metric", "train.loss")
    assert (
        "not comparable: their losses are on different scales: loss.reduction is sum (2 runs) or "
        "mean (1 run)\n"
    ) in out


def test_help_is_the_usage(capsys):
    with pytest.raises(SystemExit) as info:
        run_command(["compare", "--help"])
    assert not info.value.code
    assert "atompaint-vae compare 20241029 20241217" in capsys.readouterr().out
