"""How far a run is, also while another process trains it."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from .experiment import Experiment
from .hparams import Hparams
from .lock import is_locked
from .properties import load_curves
from .record import UNREADABLE, RunPaths, RunState, describe_damage, load_record


class BestValidation(NamedTuple):
    step: int
    r2: float


def find_best_validation(paths: RunPaths) -> BestValidation | None:
    """The first validation of the highest R², None before the first."""
    columns = load_curves(paths.val_metrics) if paths.val_metrics.exists() else {}
    pairs = zip(columns.get("step", ()), columns.get("r2", ()), strict=False)
    numbers = [(r2, -step) for step, r2 in pairs if r2 is not None and not math.isnan(r2)]
    if not numbers:
        return None
    r2, step = max(numbers)
    return BestValidation(-step, r2)


@dataclass(frozen=True)
class Progress:
    """step:  of the last metrics, 0 before the first
    end:   when a run that is being trained would end, None if that can't be told yet
    error: what ended a run that failed, or which of its files is damaged
    """

    state: RunState | Literal["unreadable"]
    step: int
    num_steps: int
    best: BestValidation | None = None
    end: datetime | None = None
    error: str | None = None

    def describe(self) -> str:
        if self.state == UNREADABLE:
            details = []
        elif self.state in ("planned", "finished"):
            details = [f"{self.num_steps} steps"]
        else:
            share = f"{self.step / self.num_steps:.0%}"
            details = [f"step {self.step} of {self.num_steps} ({share})"]
        if self.end:
            details.append(f"end {format_end(self.end, datetime.now())}")
        if self.best:
            details.append(f"best validation R² {self.best.r2:.3f}")
        return ", ".join([*details, *filter(None, [self.error])])


def find_progress(paths: RunPaths, hparams: Hparams) -> Progress:
    """How far a run is; if its files are damaged, no further than that."""
    try:
        return _find_progress(paths, hparams)
    except (ValueError, OSError) as error:
        return Progress(UNREADABLE, 0, 0, error=describe_damage([error], paths.run_dir))


def _find_progress(paths: RunPaths, hparams: Hparams) -> Progress:
    num_steps = hparams.train.epochs * hparams.train.steps_per_epoch
    is_running = is_locked(paths)
    if not paths.record.exists():
        return Progress("running" if is_running else "planned", 0, num_steps)
    record = load_record(paths.record)
    # A process that was killed outright could not say so.
    state = "interrupted" if record.state == "running" else record.state
    state = "running" if is_running else state
    session = record.sessions[-1] if record.sessions else None
    step, elapsed_s, written = _find_last_row(paths)
    end = None
    if is_running and step:
        end = written + timedelta(seconds=elapsed_s / step * (num_steps - step))
    return Progress(
        state,
        session.steps_end if session and session.steps_end is not None else step,
        num_steps,
        best=find_best_validation(paths),
        end=end,
        error=session.error if session and state == "failed" else None,
    )


def _find_last_row(paths: RunPaths) -> tuple[int, float, datetime]:
    """Step, time that had been trained until then, time of day; of either table."""
    last = 0, 0.0, datetime.now()
    for path in (paths.train_metrics, paths.val_metrics):
        if path.exists() and (columns := load_curves(path))["step"]:
            written = datetime.fromtimestamp(path.stat().st_mtime)
            last = max(last, (columns["step"][-1], columns["elapsed_s"][-1], written))
    return last


def list_progress(expt: Experiment) -> dict[str, Progress]:
    """How far each run of an experiment is, in the order of hparams.nt."""
    runs = expt.load_hparams()
    return {name: find_progress(expt.get_run_paths(name), runs[name]) for name in runs}


def format_end(end: datetime, now: datetime) -> str:
    """A time of day, with the date if it isn't today's."""
    return end.strftime("%H:%M" if end.date() == now.date() else "%d %b %H:%M")
