"""How far a run is, also while another process trains it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from .experiment import Experiment
from .hparams import Hparams
from .lock import is_locked
from .metrics import MetricsError, load_metrics
from .queue import Task, find_tasks
from .record import OVER, RunPaths, RunState, load_record


class BestValidation(NamedTuple):
    step: int
    r2: float


def find_best_validation(paths: RunPaths) -> BestValidation | None:
    """The first validation of the highest R², None before the first."""
    from pandas import to_numeric
    from pandas.api.types import is_numeric_dtype

    if not paths.val_metrics.exists():
        return None
    metrics = load_metrics(paths.val_metrics)
    if "r2" not in metrics:
        return None
    for column in ("step", "r2"):
        if not is_numeric_dtype(metrics[column]):
            numbers = to_numeric(metrics[column], errors="coerce")
            wrong = metrics[column][numbers.isna() & metrics[column].notna()]
            line, text = int(wrong.index[0]) + 2, wrong.iloc[0]
            raise MetricsError(
                f"{paths.val_metrics}:{line}: {column}: expected a number, got {text!r}"
            )
    if not metrics["r2"].notna().any():
        return None
    row = metrics.loc[metrics["r2"].idxmax()]
    return BestValidation(int(row["step"]), float(row["r2"]))


@dataclass(frozen=True)
class Progress:
    """step:    of the last metrics, 0 before the first
    began:   when the last process began to train it, None if none ever did
    end:     when it would end if it were being trained, None if that can't be told yet
    error:   what ended a run that failed, or was pruned
    task:    its last one in Slurm, None if it had none, is over, or was trained without since
    """

    state: RunState | Literal["queued"]
    step: int
    num_steps: int
    best: BestValidation | None = None
    began: datetime | None = None
    end: datetime | None = None
    error: str | None = None
    task: Task | None = None

    def describe(self) -> str:
        if self.state in ("planned", "finished") or (self.state == "queued" and not self.step):
            details = [f"{self.num_steps} steps"]
        else:
            share = f"{self.step / self.num_steps:.0%}"
            details = [f"step {self.step} of {self.num_steps} ({share})"]
        if self.end and self.state == "running":
            details.append(f"end {format_end(self.end, datetime.now())}")
        if self.best:
            details.append(f"best validation R² {self.best.r2:.3f}")
        if self.task and self.task.reason:
            details.append(f"Slurm {self.task.name}: {self.task.reason}")
        if self.task and self.task.start and self.state == "queued":
            details.append(f"start {format_end(self.task.start, datetime.now())}")
        return ", ".join([*details, *filter(None, [self.error])])


def find_progress(paths: RunPaths, hparams: Hparams) -> Progress:
    """How far a run is.

    raises: RecordError, MetricsError if its files are damaged
    """
    num_steps = hparams.train.epochs * hparams.train.steps_per_epoch
    is_running = is_locked(paths)
    if not paths.record.exists():
        return Progress("running" if is_running else "planned", 0, num_steps)
    record = load_record(paths.record)
    # A process that was killed outright could not say so.
    state = "interrupted" if record.state == "running" else record.state
    state = "running" if is_running else state
    session = record.sessions[-1]
    step, elapsed_s, written = _find_last_row(paths)
    end = None
    if step:
        end = written + timedelta(seconds=elapsed_s / step * (num_steps - step))
    return Progress(
        state,
        step if session.steps_end is None else session.steps_end,
        num_steps,
        best=find_best_validation(paths),
        began=session.started,
        end=end,
        error=session.error if state in ("failed", "pruned") else None,
    )


def _find_last_row(paths: RunPaths) -> tuple[int, float, datetime]:
    """Step, time that had been trained until then, time of day; of either table."""
    last = 0, 0.0, datetime.now()
    for path in (paths.train_metrics, paths.val_metrics):
        if path.exists() and len(metrics := load_metrics(path)):
            row, written = metrics.iloc[-1], datetime.fromtimestamp(path.stat().st_mtime)
            last = max(last, (int(row["step"]), float(row["elapsed_s"]), written))
    return last


def list_progress(expt: Experiment, runs: Mapping[str, Hparams]) -> dict[str, Progress]:
    """How far runs of an experiment are, also those in Slurm's queue."""
    found = {name: find_progress(expt.get_run_paths(name), runs[name]) for name in runs}
    missing = [name for name, progress in found.items() if progress.state not in OVER]
    for name, task in find_tasks(expt, missing).items():
        if task.state == "gone":  # perhaps since its record was read
            found[name] = find_progress(expt.get_run_paths(name), runs[name])
        if found[name].state not in OVER:
            found[name] = _add_task(found[name], task)
    return found


def _add_task(progress: Progress, task: Task) -> Progress:
    if task.state == "gone" and (progress.state == "running" or _is_outdated(task, progress)):
        return progress
    state = progress.state
    if task.state == "queued" and state != "running":
        state = "queued"
    if task.state == "running":  # locks don't reach other machines on every file system
        state = "running"
    if task.has_given_up and task.state not in ("queued", "running"):
        state = "failed"
    return replace(progress, state=state, task=task)


def _is_outdated(task: Task, progress: Progress) -> bool:
    """Whether the run has been trained without Slurm since its task was over."""
    if not (progress.began and task.log.exists()):
        return False
    return datetime.fromtimestamp(task.log.stat().st_mtime, UTC) < progress.began


def format_end(end: datetime, now: datetime) -> str:
    """A time of day, with the date if it isn't today's."""
    return end.strftime("%H:%M" if end.date() == now.date() else "%d %b %H:%M")
