"""The script, run by bash without Slurm; tests/cluster has Slurm run it."""

import os
import shlex
import subprocess
import sys

import pytest

from atompaint_vae.records.experiment import Experiment
from atompaint_vae.slurm.script import make_script
from atompaint_vae.slurm.settings import SlurmSettings

# As Slurm's programs of these names: what they are given is noted down.
SRUN = """#!/bin/bash
echo "srun $*" >>calls
$MEANWHILE
exit $CODE
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >>calls
exit $REFUSED
"""


@pytest.fixture
def expt(tmp_path):
    folder = tmp_path / "a 'notebook'/20240101_x"
    (folder / ".slurm").mkdir(parents=True)
    (folder / "runs/b/checkpoints").mkdir(parents=True)
    return Experiment(folder)


@pytest.fixture
def run_task(expt, tmp_path):
    """Runs the array's second task; its exit code, what it said, what it called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in [("srun", SRUN), ("scontrol", SCONTROL)]:
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def run_task(code, *, meanwhile="true", refused=0, setup="", restarts=0):
        script = make_script(expt, ["a", "b"], SlurmSettings(setup=setup), ["--save-minutes", "3"])
        env = {
            "PATH": f"{programs}:{os.environ['PATH']}", "CODE": str(code), "REFUSED": str(refused),
            "MEANWHILE": meanwhile, "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1",
        }  # fmt: skip
        if restarts:
            env["SLURM_RESTART_COUNT"] = str(restarts)
        done = subprocess.run(
            ["bash"], input=script, env=env, cwd=expt.expt_dir, capture_output=True, text=True
        )
        calls = expt.expt_dir / "calls"
        lines = calls.read_text().splitlines()
        calls.unlink()
        return done.returncode, done.stdout, lines

    return run_task


def read_directives(script):
    return [x.removeprefix("#SBATCH ") for x in script.splitlines() if x.startswith("#SBATCH ")]


def test_directives(expt):
    settings = SlurmSettings(
        sbatch={"time": "4:00:00", "exclusive": "", "comment": "a b"}, array_limit=2, notice_s=60
    )
    assert read_directives(make_script(expt, ["a", "b", "c"], settings, [])) == [
        "--job-name=20240101_x",
        f"--chdir={shlex.quote(str(expt.expt_dir))}",
        "--output=.slurm/%A_%a.log",
        "--open-mode=append",
        "--array=0-2%2",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--requeue",
        "--signal=USR1@60",
        "--time=4:00:00",
        "--exclusive",
        "--comment='a b'",
    ]


@pytest.mark.parametrize(("num_nodes", "nodes"), [(1, "1 node"), (2, "2 nodes")])
def test_a_process_for_each_device(expt, num_nodes, nodes):
    options = ["--nodes", str(num_nodes), "--devices", "4"]
    script = make_script(expt, ["a"], SlurmSettings(), options, 4, num_nodes)
    assert {f"--nodes={num_nodes}", "--ntasks-per-node=4"} <= {*read_directives(script)}
    assert f" train.py {' '.join(options)})\n" in script
    assert script.splitlines()[1].startswith(f"# 1 task of {nodes} × 4 processes, the partition's")


def test_what_a_task_trains(run_task):
    code, stdout, (call,) = run_task(0, setup="echo first\nset -euo pipefail")
    assert code == 0
    assert stdout.splitlines()[0] == "first"
    assert stdout.splitlines()[1].startswith("12_1: b, start 1, on ")
    assert call.startswith("srun --kill-on-bad-exit=1 --cpus-per-task=1 ")
    assert call.endswith(f" {sys.executable} train.py --save-minutes 3 b")
    assert run_task(0, restarts=4)[1].startswith("12_1: b, start 5, on ")


def test_a_finished_run_leaves_nothing(run_task, expt):
    run_task(1)
    assert (expt.slurm_dir / "12_1.failures").read_text() == "exit code 1\n"
    assert run_task(0)[0] == 0
    assert list(expt.slurm_dir.iterdir()) == []


@pytest.mark.parametrize("code", [1, 2, 127, 130, 137, 138])
def test_three_failures_without_a_checkpoint_are_enough(run_task, expt, code):
    requeue = "scontrol requeue 12_1"
    for _ in range(2):
        assert run_task(code)[2][1:] == [requeue]
    found, stdout, calls = run_task(code)
    assert (found, calls[1:]) == (code, [])
    assert stdout.splitlines()[-1] == "12_1: b, 3 failures without a new checkpoint"
    assert (expt.slurm_dir / "12_1.failures").read_text() == "stopped\n"
    # A user may requeue it.
    assert run_task(code)[2][1:] == [requeue]
    assert not (expt.slurm_dir / "12_1.failures").read_text().endswith("stopped\n")


def test_failures_after_a_new_checkpoint_are_counted_anew(run_task):
    progress = "touch runs/b/checkpoints/last.ckpt"
    for meanwhile in ["true", "true", progress, "true", "true", progress]:
        assert run_task(137, meanwhile=meanwhile)[2][1:] == ["scontrol requeue 12_1"]


def test_a_preempted_task_has_not_failed(run_task, expt):
    for _ in range(5):
        assert run_task(143)[2][1:] == ["scontrol requeue 12_1"]
    assert (expt.slurm_dir / "12_1.failures").read_text() == ""


def test_a_site_that_does_not_requeue(run_task, expt):
    code, stdout, _ = run_task(143, refused=1)
    assert code == 143
    assert stdout.splitlines()[-1] == "12_1: b, can't be requeued"


def test_bash_finds_no_mistake(expt):
    script = make_script(expt, ["a"], SlurmSettings(), [])
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert "array=0-0\n" in script
