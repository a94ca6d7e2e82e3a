"""Runs that a real Slurm disturbs end as ones that nobody did, to the last bit: `make test-slurm`.

Writes the table of what was tried, which docs/guide/reliability.rst shows.
"""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from cluster import (
    count_restarts,
    find_process,
    run,
    show_tasks,
    wait_for_end,
    wait_for_state,
    wait_until,
)

from atompaint_vae.records.record import load_record
from atompaint_vae.slurm.queue import load_submissions

pytestmark = pytest.mark.slurm

TABLE = "faults_slurm.csv"


def assert_same_runs(expt, undisturbed):
    for name in ("a", "b"):
        expt.assert_same_run(undisturbed, name)


@pytest.mark.parametrize(
    ("partition", "fault"),
    [
        ("main", "preempted by another job"),
        ("graceful", "preempted by another job, after a grace time"),
    ],
)
def test_preemption(make_submitted, undisturbed, note, partition, fault):
    expt = make_submitted()
    expt.slow_down(2)
    job = expt.submit("--partition", partition)
    expt.wait_for_step_5("a", "b")
    urgent = run("sbatch", "--parsable", "--partition=urgent", "--exclusive",
                 "--output=/dev/null", "--wrap=sleep 600").strip()  # fmt: skip
    queued = {"a": "queued", "b": "queued"}
    wait_until(lambda: expt.find_states() == queued, "status shows both as queued")
    run("scancel", urgent)
    wait_for_end(job)
    assert count_restarts(job) == [1, 1]
    for name in ("a", "b"):
        first, last = load_record(expt.get_paths(name).record).sessions
        # It had the time to write a checkpoint.
        assert first.exit == "interrupted" and first.steps_end == last.steps_start >= 5
    assert_same_runs(expt, undisturbed)
    note(fault, 2, "writes a checkpoint; Slurm or the task itself requeues the task")


def test_time_limit(make_submitted, undisturbed, note):
    expt = make_submitted()
    expt.slow_down(6.5)  # 98 s in all, more than the 90 s until the notice
    job = expt.submit("--time", "2")
    wait_for_end(job)
    restarts = count_restarts(job)
    assert min(restarts) >= 1
    for name in ("a", "b"):
        *earlier, last = load_record(expt.get_paths(name).record).sessions
        assert earlier and {x.exit for x in earlier} == {"interrupted"}
        assert last.exit == "finished"
        assert "SIGUSR1" in (expt.path / f".slurm/{job}_{'ab'.index(name)}.log").read_text()
    assert_same_runs(expt, undisturbed)
    note("time limit", sum(restarts), "writes a checkpoint before; the task requeues itself")


def end_by_scancel(number: signal.Signals, task: str):
    run("scancel", f"--signal={number.name.removeprefix('SIG')}", task)


def end_by_kill(number: signal.Signals, task: str):
    os.kill(find_process(task), number)


def test_ended_tasks(make_submitted, undisturbed, note):
    expt, rng = make_submitted(), random.Random(0)
    expt.slow_down(1)
    job = expt.submit()
    task = f"{job}_0"
    expt.wait_for_step_5("a")
    ends = [
        (end_by_scancel, signal.SIGUSR1),
        (end_by_kill, signal.SIGKILL),
        (end_by_scancel, signal.SIGTERM),
        (end_by_kill, signal.SIGKILL),
    ]
    for num_restarts, (end, number) in enumerate(ends, 1):
        end(number, task)
        wait_for_state(task, "PENDING", "REQUEUED", "COMPLETING")
        wait_for_state(task, "RUNNING")
        assert count_restarts(job)[0] == num_restarts
        time.sleep(rng.uniform(1, 8))
    wait_for_end(job)
    assert count_restarts(job) == [len(ends), 0]
    assert_same_runs(expt, undisturbed)
    assert not list((expt.path / ".slurm").glob("*.failures"))
    for end, number in ends[:3]:
        how = "kill -9" if end is end_by_kill else f"scancel --signal={number.name}"
        times = ends.count((end, number))
        note(f"{how}, of one task of an array", times, "that task alone is requeued, and goes on")


def has_sessions(expt, num: int) -> bool:
    return len(load_record(expt.paths.record).sessions) == num


def test_two_nodes(make_submitted, uncut_pair, note):
    expt = make_submitted()
    expt.slow_down(1)
    job = expt.submit("a", "--nodes", "2", "--partition", "both", "--save-steps", "1")
    task = f"{job}_0"
    expt.wait_for_step_5("a")
    ends = [
        lambda: os.kill(find_process(task, "node2"), signal.SIGKILL),
        lambda: run("scancel", "--signal=USR1", task),  # as at the time limit
    ]
    for num_restarts, end in enumerate(ends, 1):
        end()
        wait_for_state(task, "PENDING", "REQUEUED", "COMPLETING")
        wait_for_state(task, "RUNNING")
        assert count_restarts(job)[0] == num_restarts
        wait_until(partial(has_sessions, expt, num_restarts + 1), "it trains again")
    wait_for_end(job)
    sessions = load_record(expt.paths.record).sessions
    assert {(x.devices, x.nodes) for x in sessions} == {(2, 2)}
    killed, told, last = sessions
    assert killed.exit in ("failed", "interrupted")  # by the time that Slurm gave the first node
    assert (told.exit, told.error, last.exit) == ("interrupted", "SIGUSR1", "finished")
    expt.assert_same_run(uncut_pair)
    note("kill -9 on the second of two nodes, scancel --signal=SIGUSR1", 2,
         "both nodes end; the task is requeued, and goes on")  # fmt: skip


def test_one_task_is_requeued_and_one_cancelled(make_submitted, undisturbed, note):
    expt = make_submitted()
    expt.slow_down(1)
    job = expt.submit()
    expt.wait_for_step_5("a", "b")
    run("scontrol", "requeue", f"{job}_0")
    run("scancel", f"{job}_1")
    wait_until(lambda: expt.find_states()["b"] == "interrupted", "status shows b as interrupted")
    assert expt.show_status()[-1] == "  cd . && ./train.py b --slurm"
    expt.resubmit()
    again = list(load_submissions(expt.expt))[-1]
    assert load_submissions(expt.expt)[again].runs == ("b",)
    wait_for_end(job)
    wait_for_end(again)
    assert count_restarts(job) == [1, 0]
    assert_same_runs(expt, undisturbed)
    note("scontrol requeue, of one task of an array", 1, "that task alone is requeued, and goes on")
    note("scancel, of one task of an array", 1,
         "status prints the command that submits its run alone, which goes on")  # fmt: skip


def test_code_that_fails(make_submitted, undisturbed):
    expt = make_submitted()
    script = (expt.path / "train.py").read_text()
    breaks = "if sys.argv[-1] == 'b' and module.global_step == 7: raise RuntimeError('broken')"
    expt.slow_down(0, breaks)
    job = expt.submit()
    wait_for_end(job)
    # Once with a new checkpoint, three times without.
    assert count_restarts(job) == [0, 3]
    assert {i: task["JobState"] for i, task in show_tasks(job).items()} == {
        0: "COMPLETED", 1: "FAILED"}  # fmt: skip
    _, a, b, *log, resubmit = expt.show_status()
    assert a.startswith("  a  finished ")
    assert b.startswith("  b  failed       step 7 of 15 (47%), ")
    assert log[-1] == f"    | {job}_1: b, 3 failures without a new checkpoint"
    assert resubmit == "  cd . && ./train.py b --slurm"
    (expt.path / "train.py").write_text(script)
    expt.resubmit()
    _, again = load_submissions(expt.expt)
    wait_for_end(again)
    assert load_submissions(expt.expt)[again].runs == ("b",)
    assert_same_runs(expt, undisturbed)


def test_cancelled_tasks(make_submitted, undisturbed):
    expt = make_submitted()
    # So that the first one doesn't go on while we look.
    expt.slow_down(0, "while module.global_step == 5 and not Path('go').exists(): time.sleep(0.1)")
    job = expt.submit("--array-limit", "1")
    expt.wait_for_step_5("a")
    _, a, b = expt.show_status()
    assert a.startswith("  a  running      step 5 of 15 (33%), end ")
    assert a.endswith(f", Slurm {job}_0: node1")
    assert b == f"  b  queued       15 steps, Slurm {job}_1: JobArrayTaskLimit"
    said = run(sys.executable, "train.py", "--slurm", cwd=expt.path)
    assert said == "a: running\nb: queued\nnothing to submit\n"
    run("scancel", str(job))
    (expt.path / "go").touch()
    wait_for_end(job)
    assert {task["JobState"] for task in show_tasks(job).values()} == {"CANCELLED"}
    _, a, log, *lines, b, resubmit = expt.show_status()
    assert a.startswith("  a  interrupted  step ")
    assert log == f"    .slurm/{job}_0.log:"
    assert any("CANCELLED" in line for line in lines)
    expt.slow_down(0)
    assert b == "  b  planned      15 steps"
    assert resubmit == "  cd . && ./train.py --slurm --array-limit 1"
    expt.resubmit()
    wait_for_end(list(load_submissions(expt.expt))[-1])
    assert_same_runs(expt, undisturbed)


def test_what_sbatch_refuses(make_submitted):
    expt = make_submitted()
    done = subprocess.run(
        [sys.executable, "train.py", "--slurm", "--partition", "nope"],
        cwd=expt.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sbatch: invalid partition specified: nope\n"
    assert load_submissions(expt.expt) == {}
