"""Submissions to Slurm, and the state of their tasks in its queue."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from ..records.experiment import Experiment
from ..records.record import Line
from ..text.files import write_atomic
from ..text.located import LocatedError, list_problems, load_located
from ..text.typed import TextModel, check_model, dump_model

NUM_LOG_LINES = 3
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT")
SUSPENDED = ("SUSPENDED", "STOPPED")


class SubmissionError(LocatedError):
    """Mistakes in the file of a submission, one per line."""


class Submission(TextModel):
    """A submitted array of jobs: one task for each run, in this order."""
    runs: tuple[Line, ...]
    options: tuple[Line, ...] = Field((), description="Of train.py, to submit the same again.")


@dataclass(frozen=True)
class ArrayTask:
    """
    The last array task that was submitted for a run.

    state:  in Slurm's queue; "gone" if it isn't there, "unknown" if squeue failed
    reason: why it waits, or why squeue failed; the node where it runs
    start:  expected start of a waiting task, None if unknown
    """
    slurm_dir: Path
    job: int
    index: int
    state: Literal["queued", "running", "gone", "unknown"] = "gone"
    reason: str = ""
    start: datetime | None = None

    name = property(lambda self: f"{self.job}_{self.index}")
    log = property(lambda self: self.slurm_dir / f"{self.name}.log")

    @property
    def has_given_up(self) -> bool:
        """Whether the run failed too often for its task to be requeued."""
        path = self.slurm_dir / f"{self.name}.failures"
        return path.exists() and path.read_text().endswith("stopped\n")

    def read_log_end(self) -> list[str]:
        """Return the last lines of its log without blank ones; [] if there is no log."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 10_000))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return [line for line in lines if line.strip()][-NUM_LOG_LINES:]


def save_submission(expt: Experiment, job: int, submission: Submission) -> None:
    write_atomic(expt.slurm_dir / f"{job}.nt", dump_model(submission))


def load_submissions(expt: Experiment) -> dict[int, Submission]:
    """
    Return all submissions by their job's number, in order.

    raises: SubmissionError with file, line and column
    """
    submissions = {}
    for path in expt.slurm_dir.glob("*.nt"):
        if re.fullmatch(r"[0-9]+", path.stem):
            submission, problems = check_model(Submission, load_located(path, SubmissionError))
            if problems:
                raise SubmissionError(list_problems(problems))
            submissions[int(path.stem)] = submission
    return dict(sorted(submissions.items()))


def find_tasks(expt: Experiment, runs: Iterable[str]) -> dict[str, ArrayTask]:
    """Return the last task of each of these runs that was submitted."""
    tasks = {}
    for job, submission in load_submissions(expt).items():
        for index, run in enumerate(submission.runs):
            tasks[run] = ArrayTask(expt.slurm_dir, job, index)
    tasks = {run: tasks[run] for run in runs if run in tasks}
    return _ask_slurm(expt, tasks) if tasks else {}


def _ask_slurm(expt: Experiment, tasks: dict[str, ArrayTask]) -> dict[str, ArrayTask]:
    jobs = ",".join(sorted({str(task.job) for task in tasks.values()}))
    command = ["squeue", "--noheader", "--array", f"--jobs={jobs}", "--format=%F_%K|%T|%S|%R|%Z"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return {run: replace(task, state="unknown", reason="no squeue here")
                for run, task in tasks.items()}  # fmt: skip
    # squeue's error for a single job that Slurm no longer knows.
    if done.returncode and "Invalid job id" not in done.stderr:
        said = done.stderr.strip().splitlines()
        reason = said[-1] if said else f"squeue failed with exit code {done.returncode}"
        return {run: replace(task, state="unknown", reason=reason) for run, task in tasks.items()}
    found = {}
    for line in done.stdout.splitlines():
        name, state, start, reason, folder = line.split("|", 4)
        # After Slurm was reinstalled, the number may be another job's.
        if folder == str(expt.expt_dir.resolve()):
            found[name] = _describe(state, start, reason.strip("()"))
    return {run: replace(task, **found.get(task.name, {})) for run, task in tasks.items()}


def _describe(state: str, start: str, reason: str) -> dict:
    if state in SUSPENDED:
        return {"state": "queued", "reason": state.lower()}
    if state not in WAITING:
        return {"state": "running", "reason": reason or state.lower()}
    try:
        return {"state": "queued", "reason": reason, "start": datetime.fromisoformat(start)}
    except ValueError:  # N/A
        return {"state": "queued", "reason": reason}
