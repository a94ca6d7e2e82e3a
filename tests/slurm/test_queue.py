"""What squeue says, in the words of a fake one; tests/cluster asks the real one."""

import os
from datetime import datetime

import pytest

from atompaint_vae.records.experiment import Experiment
from atompaint_vae.slurm.queue import (
    Submission,
    SubmissionError,
    find_tasks,
    load_submissions,
    save_submission,
)


@pytest.fixture
def expt(tmp_path):
    expt = Experiment(tmp_path / "20240101_x")
    expt.slurm_dir.mkdir(parents=True)
    for job, runs in [(9, "abc"), (10, "cd")]:
        options = ("--slurm", "--time", "1:00")
        save_submission(expt, job, Submission(runs=tuple(runs), options=options))
    return expt


@pytest.fixture
def say(tmp_path, monkeypatch):
    """Has squeue say something; what it is asked is in the file `asked`."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def say(stdout="", stderr="", code=0):
        (tmp_path / "said").write_text(stdout)
        (tmp_path / "said_wrong").write_text(stderr)
        squeue = tmp_path / "squeue"
        squeue.write_text(
            f'#!/bin/bash\necho "$*" >{tmp_path}/asked\n'
            f"cat {tmp_path}/said; cat {tmp_path}/said_wrong >&2; exit {code}\n"
        )
        squeue.chmod(0o755)

    return say


def test_submissions_are_in_the_order_of_their_jobs(expt):
    (expt.slurm_dir / "notes.nt").write_text("a: 1\n")
    submissions = load_submissions(expt)
    assert list(submissions) == [9, 10]
    assert submissions[10] == Submission(runs=("c", "d"), options=("--slurm", "--time", "1:00"))
    assert load_submissions(Experiment(expt.expt_dir.parent)) == {}


def test_a_damaged_submission_is_named(expt):
    path = expt.slurm_dir / "9.nt"
    path.write_text("runs: a\n")
    with pytest.raises(SubmissionError) as error:
        load_submissions(expt)
    assert str(error.value) == (
        f"{path}:1:7: runs: expected a list, each item text, got 'a'"
    )


def test_states(expt, say, tmp_path):
    folder = expt.expt_dir.resolve()
    say(
        f"9_0|PENDING|2024-01-01T12:30:00|(Resources)|{folder}\n"
        f"9_1|RUNNING|2024-01-01T11:00:00|node07|{folder}\n"
        f"9_2|RUNNING|2024-01-01T11:00:00|node07|{folder}\n"
        f"10_0|PENDING|N/A|(launch failed requeued held)|{folder}\n"
        f"10_1|SUSPENDED|2024-01-01T11:00:00|node08|{folder}\n"
    )
    tasks = find_tasks(expt, ["a", "b", "c", "d", "e"])
    assert {
        run: (task.name, task.state, task.reason, task.start) for run, task in tasks.items()
    } == {
        "a": ("9_0", "queued", "Resources", datetime(2024, 1, 1, 12, 30)),
        "b": ("9_1", "running", "node07", None),
        "c": ("10_0", "queued", "launch failed requeued held", None),
        "d": ("10_1", "queued", "suspended", None),
    }
    assert "--jobs=10,9 " in (tmp_path / "asked").read_text()


def test_only_jobs_of_this_folder_count(expt, say):
    say("9_0|RUNNING|2024-01-01T11:00:00|node07|/somewhere/else\n")
    assert find_tasks(expt, ["a"])["a"].state == "gone"


def test_a_job_that_slurm_has_forgotten(expt, say):
    say(stderr="slurm_load_jobs error: Invalid job id specified\n", code=1)
    assert find_tasks(expt, ["a"])["a"].state == "gone"


def test_a_slurm_that_does_not_answer(expt, say):
    say(stderr="squeue: error\nslurm_load_jobs error: Unable to contact controller\n", code=1)
    task = find_tasks(expt, ["a"])["a"]
    assert task.state == "unknown"
    assert task.reason == "slurm_load_jobs error: Unable to contact controller"


@pytest.mark.parametrize("stderr", ["", "\n", " \n\n"])
def test_a_slurm_that_fails_and_says_nothing(expt, say, stderr):
    say(stderr=stderr, code=3)
    task = find_tasks(expt, ["a"])["a"]
    assert (task.state, task.reason) == ("unknown", "squeue failed with exit code 3")


def test_no_slurm(expt, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    task = find_tasks(expt, ["a"])["a"]
    assert (task.state, task.reason) == ("unknown", "no squeue here")
    assert find_tasks(expt, ["e"]) == {}


def test_the_end_of_a_log(expt, say):
    say()
    task = find_tasks(expt, ["a"])["a"]
    assert (task.read_log_end(), task.has_given_up) == ([], False)
    lines = [f"line {i}" for i in range(5000)]
    task.log.write_bytes("\n\n".join([*lines, "Ångström"]).encode() + b"\xff\n\n")
    assert task.read_log_end() == ["line 4998", "line 4999", "Ångström�"]
    failures = expt.slurm_dir / "9_0.failures"
    failures.write_text("exit code 1\n")
    assert not task.has_given_up
    failures.write_text("exit code 1\nstopped\n")
    assert task.has_given_up
