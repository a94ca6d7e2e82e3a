import fcntl
import os
import re
import shlex
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from atompaint_vae import cli
from atompaint_vae.records.metrics import copy_metrics
from atompaint_vae.records.record import RunPaths

HPARAMS = """\
shared:
  model:
    layers:
      - 2x0e
    latent: 2x0e
  train:
    epochs: 20
    steps_per_epoch: 10
runs:
  done:
  cut:
    seed: 1
  killed:
    seed: 2
  at-work:
    seed: 3
  wrong:
    seed: 4
  next:
    seed: 5
"""

HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def expt_dir(tmp_path, monkeypatch, write_run):
    """Runs of 200 steps at 6 s each."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "expts/20250102_x"
    write_run(folder, "done")
    write_run(folder, "cut", {"seed": 1}, state="interrupted")
    write_run(folder, "killed", {"seed": 2}, state="running")
    write_run(folder, "at-work", {"seed": 3}, state="running")
    error = "Diverged: the loss is nan at step 200"
    write_run(folder, "wrong", {"seed": 4}, state="failed", error=error)
    (folder / "hparams.nt").write_text(HPARAMS)
    for name, step in [("killed", 50), ("at-work", 150), ("wrong", 200)]:
        paths = RunPaths(folder / "runs" / name)
        for path in (paths.train_metrics, paths.val_metrics):
            lines = copy_metrics(path).splitlines(keepends=True)
            kept = [x for x in lines if x[0] == "s" or int(x.split(",")[0]) <= step]
            path.write_text("".join(kept))
        record = paths.record.read_text()
        if name != "wrong":
            record = re.sub(r"(steps_end:|ended:).*", r"\1", record).replace(
                "exit: finished", "exit: running"
            )
        else:
            record = record.replace("exit: finished", "exit: failed")
        paths.record.write_text(record)
    path = folder / "runs/cut/record.nt"
    path.write_text(path.read_text().replace("steps_end: 200", "steps_end: 40"))
    return folder


def status(capsys, *argv):
    code = cli.run_command(["status", *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_status(expt_dir, capsys):
    lock = RunPaths(expt_dir / "runs/at-work").lock
    RunPaths(expt_dir / "runs/killed").lock.write_text("")  # of a process that is dead
    command = [sys.executable, "-c", HOLD, str(lock)]
    # 50 steps of 6 s remain after the last row.
    now = datetime.now()
    end = now + timedelta(seconds=300)
    for name in ("train.csv", "val.csv"):
        os.utime(expt_dir / "runs/at-work" / name, (now.timestamp(),) * 2)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        code, stdout, _ = status(capsys)
        process.kill()
    assert code == 0
    name, *rows, resume = stdout.splitlines()
    assert name == "20250102_x"
    assert [re.split("  +", row.strip()) for row in rows] == [
        ["done", "finished", "200 steps, best validation R² 0.982"],
        ["cut", "interrupted", "step 40 of 200 (20%), best validation R² 0.982"],
        ["killed", "interrupted", "step 50 of 200 (25%), best validation R² 0.632"],
        ["at-work", "running", f"step 150 of 200 (75%), end {end:%H:%M}, best validation R² 0.950"],
        ["wrong", "failed", "step 200 of 200 (100%), best validation R² 0.982, "
         "Diverged: the loss is nan at step 200"],
        ["next", "planned", "200 steps"],
    ]  # fmt: skip
    assert resume == "  cd expts/20250102_x && ./train.py cut killed wrong next"
    # Nobody is at work any more.
    resume = status(capsys, "20250102")[1].splitlines()[-1]
    assert resume == "  cd expts/20250102_x && ./train.py cut killed at-work wrong next"


def test_steps_are_those_that_a_run_started_with(expt_dir, capsys):
    path = expt_dir / "hparams.nt"
    path.write_text(path.read_text().replace("epochs: 20", "epochs: 50"))
    rows = status(capsys)[1].splitlines()
    since = "hparams.nt has changed since: train.epochs was 20, is 50"
    assert rows[1].endswith(f"finished     200 steps, best validation R² 0.982, {since}")
    assert rows[2].endswith(f"step 40 of 200 (20%), best validation R² 0.982, {since}")
    assert rows[6].endswith("planned      500 steps")


def try_to_lock(path) -> bool:
    """Whether another process gets the lock; those of one process don't exclude each other."""
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", code, path]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def test_to_look_at_a_run_stops_no_training(expt_dir, capsys):
    path = RunPaths(expt_dir / "runs/cut").lock
    path.write_text("")
    status(capsys)
    assert try_to_lock(path)
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert not try_to_lock(path)


def test_broken_files_hide_nothing(expt_dir, capsys):
    broken = expt_dir.with_name("20250103_y z")
    broken.mkdir()
    (broken / "hparams.nt").write_text("runs:\n")
    code, stdout, _ = status(capsys)
    assert code == 0
    assert stdout.startswith(f"20250103_y z\n  {broken}/hparams.nt:1:1: no runs; ")
    assert "\n\n20250102_x\n" in stdout
    (broken / "hparams.nt").write_text(HPARAMS)
    resume = status(capsys, "20250103")[1].splitlines()[-1]
    assert shlex.split(resume) == ["cd", "expts/20250103_y z", "&&", "./train.py"]


def test_damaged_files_hide_no_other_run(expt_dir, capsys):
    (expt_dir / "runs/cut/record.nt").write_text("run: [\n")
    (expt_dir / "runs/killed/train.csv").write_text("loss\n1\n")
    (expt_dir / "runs/wrong/val.csv").write_text("step,r2\n5,0.1\n")
    code, stdout, _ = status(capsys)
    assert code == 0
    _, *rows, resume = stdout.splitlines()
    assert [re.split("  +", row.strip()) for row in rows] == [
        ["done", "finished", "200 steps, best validation R² 0.982"],
        ["cut", "unreadable", "record.nt:1:1: experiment is missing"],
        ["killed", "unreadable", "train.csv:1: no column 'step', got 'loss'"],
        ["at-work", "interrupted", "step 150 of 200 (75%), best validation R² 0.950"],
        ["wrong", "unreadable", "val.csv:1: no column 'epoch'"],
        ["next", "planned", "200 steps"],
    ]  # fmt: skip
    assert resume == "  cd expts/20250102_x && ./train.py at-work next"


def test_status_of_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "expts").mkdir()
    monkeypatch.chdir(tmp_path)
    assert status(capsys) == (0, "", "")
    assert status(capsys, "x") == (2, "", "unknown experiment 'x'; known: none\n")


@pytest.fixture
def submitted(expt_dir, tmp_path, monkeypatch):
    """The folder of what was submitted: job 8, then 9; squeue says what the file `said` holds."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/bash\ncat {tmp_path}/said\n")
    squeue.chmod(0o755)
    (tmp_path / "said").write_text(
        f"9_0|PENDING|2124-05-06T07:08:00|(Priority)|{expt_dir}\n"
        f"9_1|RUNNING|2024-01-01T11:00:00|node07|{expt_dir}\n"
        f"9_2|PENDING|N/A|(JobArrayTaskLimit)|{expt_dir}\n"
    )
    folder = expt_dir / ".slurm"
    folder.mkdir()
    (folder / "8.nt").write_text("runs:\n  - killed\n  - wrong\noptions:\n  - --slurm\n")
    (folder / "9.nt").write_text(
        "runs:\n  - cut\n  - at-work\n  - next\noptions:\n  - --slurm\n  - --time\n  - 1:00\n"
    )
    return folder


def test_status_of_what_was_submitted(submitted, capsys):
    for index in range(2):
        (submitted / f"8_{index}.log").write_text("1\n2\n3\n4\n")
    (submitted / "8_0.failures").write_text("exit code 137\n" * 3 + "stopped\n")
    code, stdout, _ = status(capsys)
    assert code == 0
    end = r"end (\d\d \w{3} )?\d\d:\d\d"
    expected = [
        r"  done     finished     200 steps, best validation R² 0\.982",
        r"  cut      queued       step 40 of 200 \(20%\), best validation R² 0\.982, "
        r"Slurm 9_0: Priority, start 06 May 2124",
        r"  killed   failed       step 50 of 200 \(25%\), best validation R² 0\.632",
        r"    expts/20250102_x/\.slurm/8_0\.log:", *[rf"    \| {x}" for x in (2, 3, 4)],
        rf"  at-work  running      step 150 of 200 \(75%\), {end}, best validation R² 0\.950, "
        r"Slurm 9_1: node07",
        r"  wrong    failed       step 200 of 200 \(100%\), best validation R² 0\.982, "
        r"Diverged: the loss is nan at step 200",
        r"    expts/20250102_x/\.slurm/8_1\.log:", *[rf"    \| {x}" for x in (2, 3, 4)],
        r"  next     queued       200 steps, Slurm 9_2: JobArrayTaskLimit",
        r"  cd expts/20250102_x && \./train\.py killed wrong --slurm --time 1:00",
    ]
    _, *lines = stdout.splitlines()
    assert len(lines) == len(expected), stdout
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_the_log_of_an_earlier_task_is_not_shown(submitted, capsys):
    # The record's session began in 2025, without Slurm.
    log = submitted / "8_1.log"
    log.write_text("long ago\n")
    os.utime(log, (1.7e9, 1.7e9))
    stdout = status(capsys)[1]
    assert "8_1.log" not in stdout
    assert "  wrong    failed " in stdout


def test_status_where_slurm_does_not_answer(submitted, tmp_path, capsys):
    (tmp_path / "squeue").write_text("#!/bin/bash\necho 'squeue: no controller' >&2; exit 1\n")
    lines = status(capsys)[1].splitlines()
    assert lines[-2] == "  next     planned      200 steps, Slurm 9_2: squeue: no controller"


def test_a_damaged_submission_is_named(submitted, capsys):
    (submitted / "9.nt").write_text("runs:\n")
    assert status(capsys)[1].splitlines()[1:] == [
        f"  {submitted}/9.nt:1:6: runs: expected a list, each item text, got ''"
    ]
