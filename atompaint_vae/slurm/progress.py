"""Progress of runs, also while other processes train them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from ..config.hparams import find_changes, load_resolved
from ..config.schema import Hparams
from ..models.kind import get_kind
from ..records.experiment import Experiment
from ..records.lock import is_locked
from ..records.properties import load_curves
from ..records.record import (
    OVER,
    UNREADABLE,
    Best,
    RunPaths,
    RunState,
    describe_damage,
    load_record,
)
from ..records.validations import describe_best, find_best_validation
from ..text.formats import calc_end, format_end
from ..text.tables import format_row
from .queue import ArrayTask, find_tasks

STATE_WIDTH = 11
"""Of the longest state, so that states don't move when one of them changes."""


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    step:    of the last metrics, 0 before the first
    num_steps: of the hyperparameters that the run started with
    changes: what has changed in the experiment's hparams.nt since then
    began:   start of its last session, None if there was none
    end:     expected end if it is being trained, None if unknown
    error:   reason why it failed or was pruned, or the damage of its files
    task:    its last task in Slurm; None if it had none, is over or unreadable, or was trained
             without Slurm since
    """

    state: RunState | Literal["queued", "unreadable"]
    step: int
    num_steps: int
    changes: Sequence[str] = ()
    best: Best | None = None
    began: datetime | None = None
    end: datetime | None = None
    error: str | None = None
    task: ArrayTask | None = None

    def describe(self) -> str:
        """Return the details of a run in one line."""
        if self.state == UNREADABLE:
            details = []
        elif self.state in ("planned", "finished") or (self.state == "queued" and not self.step):
            details = [f"{self.num_steps} steps"]
        else:
            share = f"{self.step / self.num_steps:.0%}"
            details = [f"step {self.step} of {self.num_steps} ({share})"]
        if self.end and self.state == "running":
            details.append(f"end {format_end(self.end, datetime.now())}")
        if self.best:
            details.append(describe_best(self.best))
        if self.task and self.task.reason:
            details.append(f"Slurm {self.task.name}: {self.task.reason}")
        if self.task and self.task.start and self.state == "queued":
            details.append(f"start {format_end(self.task.start, datetime.now())}")
        details += filter(None, [self.error])
        if self.changes:
            details.append(f"hparams.nt has changed since: {'; '.join(self.changes)}")
        return ", ".join(details)


def find_progress(paths: RunPaths, hparams: Hparams) -> Progress:
    """Return the progress of a run; its state is "unreadable" if its files are damaged."""
    try:
        return _find_progress(paths, hparams)
    except (ValueError, OSError) as error:
        return Progress(UNREADABLE, 0, 0, error=describe_damage([error], paths.run_dir))


def _find_progress(paths: RunPaths, hparams: Hparams) -> Progress:
    is_running = is_locked(paths)
    if not paths.record.exists():
        state = "running" if is_running else "planned"
        return Progress(state, 0, _count_steps(hparams))
    record, started = load_record(paths.record), load_resolved(paths.hparams)
    num_steps = _count_steps(started)
    # A process that was killed outright left the state "running".
    state = "interrupted" if record.state == "running" else record.state
    state = "running" if is_running else state
    session = record.sessions[-1] if record.sessions else None
    step, elapsed_s, written = _find_last_row(paths)
    end = None
    if step:
        end = calc_end(written, elapsed_s / step * (num_steps - step))
    return Progress(
        state,
        session.steps_end if session and session.steps_end is not None else step,
        num_steps,
        changes=find_changes(started, hparams),
        best=find_best_validation(paths, get_kind(started.kind)),
        began=session.started if session else None,
        end=end,
        error=session.error if session and state in ("failed", "pruned") else None,
    )


def _count_steps(hparams: Hparams) -> int:
    return hparams.train.epochs * hparams.train.steps_per_epoch


def _find_last_row(paths: RunPaths) -> tuple[int, float, datetime]:
    """Return step, training time and modification time of the last row of either table."""
    last = 0, 0.0, datetime.now()
    for path in (paths.train_metrics, paths.val_metrics):
        if path.exists() and (columns := load_curves(path))["step"]:
            written = datetime.fromtimestamp(path.stat().st_mtime)
            last = max(last, (columns["step"][-1], columns["elapsed_s"][-1], written))
    return last


def list_progress(expt: Experiment, runs: Mapping[str, Hparams]) -> dict[str, Progress]:
    """Return the progress of runs of an experiment, also of those in Slurm's queue."""
    found = {name: find_progress(expt.get_run_paths(name), runs[name]) for name in runs}
    done = (*OVER, UNREADABLE)
    unfinished = [name for name, progress in found.items() if progress.state not in done]
    for name, task in find_tasks(expt, unfinished).items():
        if task.state == "gone":  # its record may have changed since it was read
            found[name] = find_progress(expt.get_run_paths(name), runs[name])
        if found[name].state not in done:
            found[name] = _add_task(found[name], task)
    return found


def format_progress(found: Mapping[str, Progress]) -> list[str]:
    """Return a line for each run: name, state, details."""
    widths = [max(map(len, found), default=0), STATE_WIDTH, 0]
    return [format_row([name, x.state, x.describe()], widths, "<<<") for name, x in found.items()]


def _add_task(progress: Progress, task: ArrayTask) -> Progress:
    if task.state == "gone" and (progress.state == "running" or _is_outdated(task, progress)):
        return progress
    state = progress.state
    if task.state == "queued" and state != "running":
        state = "queued"
    if task.state == "running":  # some file systems don't share locks between machines
        state = "running"
    if task.has_given_up and task.state not in ("queued", "running"):
        state = "failed"
    return replace(progress, state=state, task=task)


def _is_outdated(task: ArrayTask, progress: Progress) -> bool:
    """Return whether the run was trained without Slurm after its task ended."""
    if not (progress.began and task.log.exists()):
        return False
    return datetime.fromtimestamp(task.log.stat().st_mtime, UTC) < progress.began

