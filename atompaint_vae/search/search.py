"""A worker of a search: it takes a trial, trains it, and samples the next one from all results.

All workers in an experiment's folder share its `trials.nt`, under a lock, and the records of its
runs. A worker resumes interrupted trials, and skips those that other processes are training.
"""

import math
import sys
from collections import Counter
from dataclasses import dataclass

import lightning as L
import torch

from ..config.checks import check_experiment, find_infeasibility
from ..config.hparams import HparamsError, HparamsFile, check_trial, read_hparams
from ..config.schema import Hparams, flatten
from ..config.space import Search
from ..config.trials import append_trial, load_trials
from ..records.experiment import Experiment
from ..records.lock import RunBusyError, is_locked, lock_trials
from ..records.properties import load_run
from ..records.record import OVER, RunPaths, load_record
from ..text.errors import EXIT_FAILED, UserError, say
from ..text.formats import format_hparam
from ..text.located import list_problems
from ..training.checkpoints import Diverged, Pruned
from ..training.launch import check_unchanged, describe_os_error, show_plans
from ..training.processes import Processes
from ..training.signals import Interrupted
from ..training.train import choose_device, train_run
from .study import Outcome, find_best, is_hopeless, sample_params

MAX_ATTEMPTS = 100
"""Samples in a row without a new feasible point, after which a search gives up."""

NUM_DRAFTS = 5
"""Trials that a dry run samples."""

HOPELESS_ERRORS = ("Diverged", "OutOfMemoryError")
"""Errors of failed runs that would recur in each training."""


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

    def add(self, name: str, hparams: Hparams | None, state: str, curve: tuple[float, ...] = ()):
        self.states[name] = state
        self.runs[name] = None if state == "infeasible" else hparams
        if hparams is not None and (params := self.search.find_params(hparams)) is not None:
            self.outcomes[name] = Outcome(params, state, curve)

    def count_runs(self) -> int:
        return sum(hparams is not None for hparams in self.runs.values())

    def find_best(self) -> tuple[str, float] | None:
        """Return the best finished trial, and its value."""
        finished = [name for name, x in self.outcomes.items() if x.state == "finished"]
        if not finished:
            return None
        values = [find_best(self.search, self.outcomes[name].curve) for name in finished]
        best = find_best(self.search, values)
        return finished[values.index(best)], best


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
            history.add(name, hparams, "infeasible")
        else:
            outcome = read_outcome(expt.get_run_paths(name), file.search)
            history.add(name, file.runs.get(name), *outcome)
    return history


def read_outcome(paths: RunPaths, search: Search) -> tuple[str, tuple[float, ...]]:
    """Return a trial's state, and its metric at each validation."""
    if not paths.record.exists():
        return "open", ()
    run = load_run(paths.name, paths)
    table, _, column = search.settings.metric.partition(".")
    cells = run.tables.get(table, {}).get(column, ())
    curve = tuple(x if isinstance(x, int | float) else math.nan for x in cells)
    state, error = run.properties["state"], run.properties["error"] or ""
    is_over = state in OVER
    is_over = is_over or (state == "failed" and error.startswith(HOPELESS_ERRORS))
    return state if is_over else "open", curve


def search_runs(expt: Experiment, *, device: str, save_minutes: float) -> int:
    """Train trials until the search is over, and return the exit code.

    raises: HparamsError, UserError for a user's mistakes
    """
    processes = Processes(choose_device(device))
    for warning in check_experiment(expt.hparams_path).warnings:
        print(warning, file=sys.stderr)
    for name, hparams in load_history(expt).runs.items():
        if hparams is not None:
            check_unchanged(expt, name, hparams)
    while taken := take_trial(expt):
        name, hparams, search = taken
        paths = expt.get_run_paths(name)
        pruner = MedianPruner(expt, paths, search)
        try:
            train_run(paths, hparams, processes, callbacks=[pruner], save_minutes=save_minutes)
        except RunBusyError:  # another worker took it first
            continue
        except Interrupted as reason:
            rest = "the next search resumes from there"
            return say(f"{name}: interrupted by {reason}; {rest}", reason.exit_code)
        except (Diverged, torch.OutOfMemoryError):
            pass  # the record says so
        except OSError as error:
            rest = "the next search resumes from the last checkpoint"
            return say(f"{name}: failed: {describe_os_error(error, paths)}; {rest}", EXIT_FAILED)
        print(describe_trial(expt, name), flush=True)
    print(f"search: {describe_search(load_history(expt))}")
    return 0


def take_trial(expt: Experiment) -> tuple[str, Hparams, Search] | None:
    """Return an interrupted trial, or a new one; None if none is left for this worker."""
    with lock_trials(expt.expt_dir):
        history = load_history(expt)
        for name, state in history.states.items():
            if state == "open" and not is_locked(expt.get_run_paths(name)):
                return name, history.runs[name], history.search
        if history.count_runs() >= history.search.settings.trials:
            return None
        for number, values, hparams, reason in sample_trials(history, expt):
            name = f"trial-{number:03}"
            append_trial(expt.expt_dir, name, values, reason)
            if reason is None:
                return name, hparams, history.search
            print(f"{name}: infeasible: {reason}", flush=True)
    if history.count_runs():
        print(f"the space seems exhausted: {MAX_ATTEMPTS} samples gave nothing new")
        return None
    raise UserError(
        f"{expt.hparams_path}: search.space: none of {MAX_ATTEMPTS} samples can be trained"
    )


def plan_search(expt: Experiment, *, device: str):
    """Print the values and plans of the next trials, sampled without new results."""
    device = choose_device(device)
    check_experiment(expt.hparams_path)
    history, runs = load_history(expt), {}
    num_drafts = min(NUM_DRAFTS, history.search.settings.trials - history.count_runs())
    samples = sample_trials(history, expt) if num_drafts > 0 else ()
    for number, _, hparams, reason in samples:
        name = f"trial-{number:03}"
        params = {key: flatten(hparams)[key] for key in history.search.space}
        values = ", ".join(f"{key} {format_hparam(x)}" for key, x in params.items())
        print(f"{name}: {values}" + f"; infeasible: {reason}" * bool(reason))
        if reason is None:
            runs[name] = hparams
        if len(runs) == num_drafts:
            break
    if runs:
        print()
        show_plans(expt, runs, runs, device)
    print(f"\n{describe_search(load_history(expt))}")


def sample_trials(history: History, expt: Experiment):
    """Yield number, values, hyperparameters and infeasibility of new trials, until none is found.

    Each is added to the history as if it were being trained.
    """
    attempt = 0
    while attempt < MAX_ATTEMPTS:
        number = len(history.states)
        params = sample_params(history.search, list(history.outcomes.values()), (number, attempt))
        attempt += 1
        values = history.search.write_values(params)
        hparams, reason = find_infeasibility(history.file, values, expt.expt_dir)
        known = [outcome.params for outcome in history.outcomes.values()]
        if hparams is not None and history.search.find_params(hparams) in known:
            continue
        history.add(f"trial-{number:03}", hparams, "infeasible" if reason else "open")
        if reason is None:
            attempt = 0
        yield number, values, hparams, reason


class MedianPruner(L.Callback):
    """Ends a trial after a validation if the search's pruner says so.

    raises: Pruned, from inside the trainer, with the checkpoint written
    """

    def __init__(self, expt: Experiment, paths: RunPaths, search: Search):
        self.expt = expt
        self.paths = paths
        self.search = search

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule):
        curve = read_outcome(self.paths, self.search)[1]
        if not 0 < len(curve) < trainer.max_epochs:
            return
        outcomes = [
            read_outcome(self.expt.get_run_paths(name), self.search)
            for name, trial in load_trials(self.expt.expt_dir, HparamsError).items()
            if not trial.infeasible
        ]
        finished = [other for state, other in outcomes if state == "finished"]
        if is_hopeless(self.search, curve, finished):
            best = f"{self.search.settings.metric} {find_best(self.search, curve):.4g}"
            raise Pruned(
                f"{best} by epoch {len(curve)}, worse than the median of {len(finished)} "
                "finished trials"
            )

    # A process may have been killed between the validation and the decision.
    on_train_start = on_train_epoch_end


def describe_trial(expt: Experiment, name: str) -> str:
    """Return the result of a trial, and the best so far."""
    history, paths = load_history(expt), expt.get_run_paths(name)
    state, curve = read_outcome(paths, history.search)
    end = load_record(paths.record).sessions[-1].error
    end = end or f"{history.search.settings.metric} {find_best(history.search, curve):.4g}"
    return f"{name}: {state}, {end}; {describe_search(history)}"


def describe_search(history: History) -> str:
    """Return the numbers of trials by state, and the best of them."""
    counts = Counter(history.states.values())
    num_over = history.count_runs() - counts["open"]
    texts = [f"{num_over} of {history.search.settings.trials} trials done"]
    texts += [
        f"{counts[state]} {state}" for state in ("pruned", "failed", "infeasible") if counts[state]
    ]
    if best := history.find_best():
        texts.append(f"best {best[0]}, {history.search.settings.metric} {best[1]:.4g}")
    return ", ".join(texts)
