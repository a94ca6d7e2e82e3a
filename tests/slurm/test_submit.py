"""What train.py --slurm submits, by a fake sbatch; tests/cluster has a real one."""

import os

import pytest

from atompaint_vae.records.experiment import Experiment
from atompaint_vae.slurm.queue import Submission, load_submissions

RUNS = {"runs:\n  a:\n": "runs:\n  a:\n  b:\n    seed: 1\n  c:\n    seed: 2\n"}

SHORT = {"epochs: 3": "epochs: 1", "steps_per_epoch: 5": "steps_per_epoch: 3"}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The folder of sbatch and squeue: what they say, what they were given."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("sbatch", "squeue"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/bash\necho "$*" >{program}.args\n[ -t 0 ] || cat >{program}.in\n'
            f"cat {program}.out; cat {program}.err >&2; [ ! -s {program}.err ]\n"
        )
        program.chmod(0o755)
        (tmp_path / f"{name}.out").write_text("")
        (tmp_path / f"{name}.err").write_text("")
    (tmp_path / "sbatch.out").write_text("12;cluster\n")
    return tmp_path


def test_submission(make_expt, slurm):
    expt = make_expt(RUNS)
    expt.train("b", "--max-steps", "1")
    (expt.path.parent / "slurm.nt").write_text(
        "sbatch:\n  partition: cpu\n  mem: 4G\narray_limit: 9\n"
    )
    args = ["--slurm", "--partition", "gpu", "--time=2:00", "--array-limit", "2"]
    code, script, stderr = expt.train(*args, "--dry-run", "--save-steps", "4", "c", "b")
    assert (code, stderr) == (0, "")
    assert not (expt.path / ".slurm").exists()
    summary = "2 tasks, 2:00 each, requeued until the run is finished"
    assert script.splitlines()[:2] == ["#!/bin/bash", f"# {summary}"]
    for line in ("--partition=gpu", "--time=2:00", "--mem=4G", "--array=0-1%2"):
        assert f"\n#SBATCH {line}\n" in script
    assert "\nruns=(\n    c\n    b\n)\n" in script
    assert " train.py --save-steps 4)\n" in script

    said = "c: submitted as 12_0\nb: submitted as 12_1\n"
    assert expt.train(*args, "--save-steps", "4", "c", "b") == (0, said, "")
    assert (slurm / "sbatch.in").read_text() == script
    assert (slurm / "sbatch.args").read_text() == "--parsable\n"
    options = ("--save-steps", "4", "--slurm", "--time", "2:00", "--partition", "gpu",
               "--array-limit", "2")  # fmt: skip
    assert load_submissions(Experiment(expt.path)) == {
        12: Submission(runs=("c", "b"), options=options)
    }


def test_only_what_is_missing_is_submitted(make_expt, slurm):
    expt = make_expt({**RUNS, **SHORT})
    expt.train("a")
    expt.train("--slurm", "b")
    (slurm / "squeue.out").write_text(f"12_0|PENDING|N/A|(Priority)|{expt.path.resolve()}\n")
    (slurm / "sbatch.out").write_text("13\n")
    said = "a: finished\nb: queued\nc: submitted as 13_0\n"
    assert expt.train("--slurm") == (0, said, "")
    said = "a: finished\nb: queued\nnothing to submit\n"
    assert expt.train("--slurm", "a", "b") == (0, said, "")
    assert expt.train("--slurm", "a", "b", "--dry-run") == (0, said, "")
    _, script, _ = expt.train("--slurm", "--restart", "--dry-run", "a", "b")
    assert "\nruns=(\n    a\n)\n" in script
    assert (expt.path / "runs/a/record.nt").exists()
    _, stdout, _ = expt.train("--slurm", "--restart", "a")
    assert stdout.splitlines()[1] == "a: submitted as 13_0"
    assert not (expt.path / "runs/a").exists()
    assert "--restart" not in (slurm / "sbatch.in").read_text()
    assert load_submissions(Experiment(expt.path))[13].options == ("--slurm",)


def test_a_dry_run_begins_with_what_would_be_submitted(make_expt, slurm):
    args = ["--slurm", "--array-limit", "2"]
    expt = make_expt(RUNS)
    code, script, stderr = expt.train(*args, "--dry-run")
    assert script.splitlines()[1] == (
        "# 3 tasks, at most 2 at once, the partition's default time each, requeued until the run "
        "is finished"
    )
    assert (code, stderr) == (
        0,
        "warning: no time limit is given, so the partition's default applies; --time, or 'time' "
        "below 'sbatch' in slurm.nt, sets it\n",
    )
    assert expt.train(*args)[2] == ""


def test_nodes_are_asked_for(make_expt, slurm):
    args = ["--slurm", "--time", "2:00", "--nodes", "2", "--device", "cpu"]
    code, script, stderr = make_expt(RUNS).train(*args, "--dry-run")
    assert (code, stderr) == (0, "")
    assert script.splitlines()[1].startswith("# 3 tasks of 2 nodes × 1 process, 2:00 each, ")
    assert "\n#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=1\n" in script
    assert " train.py --device cpu --nodes 2)\n" in script


def test_a_damaged_run_waits_for_restart(make_expt, slurm):
    expt = make_expt(RUNS)
    expt.train("a", "--max-steps", "1")
    (expt.path / "runs/a/record.nt").write_text("run: [\n")
    assert expt.train("--slurm", "a") == (0, "a: unreadable\nnothing to submit\n", "")
    assert expt.train("--slurm", "--restart", "a")[1].endswith("a: submitted as 12_0\n")


def test_list_shows_the_queue(make_expt, slurm):
    expt = make_expt(RUNS)
    expt.train("--slurm", "b")
    (slurm / "squeue.out").write_text(f"12_0|PENDING|N/A|(Priority)|{expt.path.resolve()}\n")
    assert expt.train("--list")[1].splitlines()[1] == (
        "b  queued       15 steps, Slurm 12_0: Priority"
    )


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("sbatch: error: invalid partition specified: nope\n"
         "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
         "sbatch: invalid partition specified: nope\n"),
        ("\n", "sbatch: failed without a message\n"),
    ],
)  # fmt: skip
def test_what_sbatch_refuses(make_expt, slurm, stderr, message):
    (slurm / "sbatch.err").write_text(stderr)
    expt = make_expt()
    assert expt.train("--slurm") == (2, "", message)
    assert load_submissions(Experiment(expt.path)) == {}


def test_mistakes_are_named_before_anything_is_submitted(make_expt, slurm):
    expt = make_expt()
    expt.train("--max-steps", "1")
    expt.edit({"epochs: 3": "epochs: 4"})
    code, _, stderr = expt.train("--slurm")
    assert code == 2 and "run 'a' has changed since it started" in stderr
    (expt.path / "slurm.nt").write_text("time: 3\n")
    code, _, stderr = expt.train("--slurm", "--restart", "--dry-run")
    assert (code, stderr) == (
        2,
        f"{expt.path.resolve()}/slurm.nt:1:1: key 'time' is unknown; known here: sbatch, "
        "array_limit, notice_s, setup\n",
    )
    assert not (slurm / "sbatch.in").exists()


def test_no_slurm(make_expt, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make_expt().train("--slurm") == (
        2,
        "",
        "--slurm: there is no sbatch here; submit where Slurm's commands are, such as a cluster's "
        "login node\n",
    )
