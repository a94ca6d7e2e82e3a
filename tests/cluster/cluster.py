"""Experiments that are submitted to Slurm, and what Slurm says of them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from small_expt import TRAIN_PY, SmallExpt

from atompaint_vae.records.experiment import Experiment

HPARAMS = {"runs:\n  a:\n": "runs:\n  a:\n  b:\n    seed: 1\n"}

SETTINGS = """\
notice_s: 30
setup:
  > export OMP_NUM_THREADS=1
  > export MASTER_ADDR=localhost
"""
"""Lightning asks for the first node's address, but the nodes of this Slurm are only names."""

# Steps that take their time, so that there is some to disturb them; the same numbers.
SLOW = """\
import sys
import time
from pathlib import Path
from atompaint_vae.training.module import TrainingModule
take_step = TrainingModule.training_step


def take_slow_step(module, batch, index):
    time.sleep({step_s})
    {first}
    return take_step(module, batch, index)


TrainingModule.training_step = take_slow_step

if __name__"""


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 600):
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not after {timeout_s} s: {what}"
        time.sleep(0.1)
    return found


def run(*command: str, cwd: Path | None = None) -> str:
    """What a command says, which must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class SubmittedExpt(SmallExpt):
    """An experiment of the runs a and b, on a notebook's folder of its own."""

    def __init__(self, notebook: Path, settings: str = ""):
        super().__init__(notebook / "expts/20240101_x", HPARAMS)
        (notebook / "slurm.nt").write_text(SETTINGS + settings)

    @property
    def expt(self) -> Experiment:
        return Experiment(self.path)

    def slow_down(self, step_s: float, first: str = "pass"):
        """step_s: how long a step sleeps; first: what it does then"""
        slow = SLOW.format(step_s=step_s, first=first)
        (self.path / "train.py").write_text(TRAIN_PY.read_text().replace("if __name__", slow))

    def submit(self, *args: str) -> int:
        """The number of the job."""
        said = run(sys.executable, "train.py", "--slurm", *args, cwd=self.path)
        return int(re.findall(r"^\w+: submitted as (\d+)_\d+$", said, re.MULTILINE)[-1])

    def show_status(self) -> list[str]:
        return run(sys.executable, "-m", "atompaint_vae.cli", "status", cwd=self.path).splitlines()

    def find_states(self) -> dict[str, str]:
        """What status says of each run."""
        return dict(re.findall(r"^  ([ab])  (\w+)  ", "\n".join(self.show_status()), re.MULTILINE))

    def resubmit(self):
        """Run the command that status prints."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        run("env", f"PATH={path}", "bash", "-c", self.show_status()[-1], cwd=self.path)

    def wait_for_step_5(self, *names: str):
        for name in names:
            wait_until(self.get_paths(name).val_metrics.exists, f"{name} is at step 5")


def find_process(task: str, node: str = "node1") -> int:
    """The process that trains on this node."""
    job, index = map(int, task.split("_"))
    step = f"{show_tasks(job)[index]['JobId']}.0"
    return int(run("scontrol", "listpids", step, node).splitlines()[1].split()[0])


def show_tasks(job: int) -> dict[int, dict[str, str]]:
    """What Slurm says of each task of an array, until some minutes after its end."""
    said = run("scontrol", "show", "job", "--oneliner", str(job))
    tasks = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in said.splitlines()]
    return {int(task["ArrayTaskId"]): task for task in tasks}


def count_restarts(job: int) -> list[int]:
    return [int(task["Restarts"]) for _, task in sorted(show_tasks(job).items())]


def wait_for_state(task: str, *states: str):
    job, index = map(int, task.split("_"))
    wait_until(lambda: show_tasks(job)[index]["JobState"] in states, f"{task}: {states}")


def wait_for_end(job: int):
    """Until no task waits or runs."""
    ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL")
    wait_until(
        lambda: all(task["JobState"] in ended for task in show_tasks(job).values()), f"{job} ends"
    )
