"""The trials of a search, as `trials.nt` and the records of its runs hold them.

Nothing here needs Optuna, so that figures of a search can be drawn without it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..config.hparams import HparamsError, HparamsFile, check_trial, read_hparams
from ..config.schema import Hparams, flatten
from ..config.space import Search
from ..config.trials import load_trials
from ..records.experiment import Experiment
from ..records.properties import load_run
from ..records.record import OVER, RunPaths
from ..text.errors import UserError
from ..text.formats import format_hparam
from ..text.located import list_problems

HOPELESS_ERRORS = ("Diverged", "OutOfMemoryError")
"""Errors of failed runs that would recur in each training."""


@dataclass(frozen=True)
class Outcome:
    """
    The result of a trial so far.

    params: its point in the space
    state:  "open" if it isn't over
    curve:  the search's metric at each validation
    time_s: duration of its training
    """

    params: Mapping[str, Any]
    state: Literal["finished", "pruned", "failed", "infeasible", "open"]
    curve: tuple[float, ...] = ()
    time_s: float | None = None


@dataclass
class History:
    """
    The trials of an experiment, and their results.

    runs:   hyperparameters of each trial, None if it is infeasible
    states: of each trial: finished, pruned, failed, infeasible or open
    outcomes: of the trials in the present space
    """

    file: HparamsFile
    search: Search
    runs: dict[str, Hparams | None]
    states: dict[str, str]
    outcomes: dict[str, Outcome]

    def add(self, name: str, hparams: Hparams | None, outcome: Outcome):
        self.states[name] = outcome.state
        self.runs[name] = None if outcome.state == "infeasible" else hparams
        if hparams is not None and (params := self.search.find_params(hparams)) is not None:
            self.outcomes[name] = replace(outcome, params=params)

    def count_runs(self) -> int:
        return sum(hparams is not None for hparams in self.runs.values())

    def count_left(self) -> int:
        """Return the number of trials that are open or not sampled yet."""
        num_over = self.count_runs() - sum(state == "open" for state in self.states.values())
        return max(self.search.settings.trials - num_over, 0)

    def rank_finished(self) -> dict[str, float]:
        """Return the value of each finished trial, the best first."""
        values = {
            name: find_best(self.search, outcome.curve)
            for name, outcome in self.outcomes.items()
            if outcome.state == "finished"
        }
        names = [name for name in values if math.isfinite(values[name])]
        names.sort(key=values.get, reverse=self.search.metric.better == "higher")
        return {name: values[name] for name in names}

    def estimate_rest_s(self, num_workers: int) -> float | None:
        """Return the time until the last trial is over if it takes as long as the others."""
        times = [x.time_s for x in self.outcomes.values() if x.state in OVER and x.time_s]
        if not times:
            return None
        return math.ceil(self.count_left() / num_workers) * sum(times) / len(times)

    def write_params(self, hparams: Hparams) -> dict[str, str]:
        """Return a trial's value of each searched key, as text."""
        values = flatten(hparams)
        return {key: format_param(values[key]) for key in self.search.space}


def load_history(expt: Experiment) -> History:
    """Return the trials of an experiment's search.

    raises: HparamsError if its file is ill formed; UserError if it has no search
    """
    file = read_hparams(expt.hparams_path)
    if file.problems:
        raise HparamsError(list_problems(file.problems))
    if file.search is None:
        raise UserError(f"{expt.hparams_path}: no key 'search', which says what to sample")
    history = History(file, file.search, {}, {}, {})
    for name, trial in load_trials(expt.expt_dir, HparamsError).items():
        if trial.infeasible:
            hparams = check_trial(file, trial.values.plain, expt.expt_dir)[1]
            history.add(name, hparams, Outcome({}, "infeasible"))
        else:
            outcome = read_outcome(expt.get_run_paths(name), file.search)
            history.add(name, file.runs.get(name), outcome)
    return history


def read_outcome(paths: RunPaths, search: Search) -> Outcome:
    """Return a trial's result, without its point in the space."""
    if not paths.record.exists():
        return Outcome({}, "open")
    run = load_run(paths.name, paths)
    table, _, column = search.settings.metric.partition(".")
    cells = run.tables.get(table, {}).get(column, ())
    curve = tuple(x if isinstance(x, int | float) else math.nan for x in cells)
    state, error = run.properties["state"], run.properties["error"] or ""
    is_over = state in OVER
    is_over = is_over or (state == "failed" and error.startswith(HOPELESS_ERRORS))
    return Outcome({}, state if is_over else "open", curve, run.properties.get("duration_s"))


def find_best(search: Search, curve: Sequence[float]) -> float:
    """Return the best number of a curve, NaN if it has none."""
    numbers = [value for value in curve if math.isfinite(value)]
    return search.metric.find_best(numbers) if numbers else math.nan


def format_param(value: Any) -> str:
    """Return a searched value as text."""
    return "blank" if value is None else format_hparam(value)
