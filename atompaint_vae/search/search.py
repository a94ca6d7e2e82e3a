"""A worker of a search: it takes a trial, trains it, and samples the next one from all results.

All workers in an experiment's folder share its `trials.nt`, under a lock, and the records of its
runs. A worker resumes interrupted trials, and skips those that other processes are training.
"""

import shlex
import shutil
import sys
from collections import Counter

import lightning as L
import torch

from ..config.checks import CheckedExperiment, check_experiment, find_infeasibility
from ..config.hparams import HparamsError, check_trial
from ..config.schema import Hparams
from ..config.space import Search
from ..config.trials import append_trial, load_trials
from ..records.experiment import Experiment
from ..records.lock import RunBusyError, is_locked, lock_trials
from ..records.record import RunPaths, load_record
from ..text.errors import EXIT_FAILED, UserError, say
from ..text.formats import format_time
from ..text.located import Problem, list_problems
from ..text.tables import format_table
from ..training.checkpoints import Diverged, Pruned
from ..training.launch import check_unchanged, describe_os_error, show_plans
from ..training.processes import Processes
from ..training.signals import Interrupted
from ..training.train import choose_device, train_run
from ..training.weights import check_inputs
from .history import History, Outcome, find_best, load_history, read_outcome
from .study import is_hopeless, sample_params

MAX_ATTEMPTS = 100
"""Samples in a row without a new feasible point, after which a search gives up."""

NUM_DRAFTS = 5
"""Trials that a dry run samples."""

NUM_BEST = 3
"""Trials that are shown at the end."""

def search_runs(expt: Experiment, *, device: str, save_minutes: float) -> int:
    """Train trials until the search is over, and return the exit code.

    raises: HparamsError, UserError for a user's mistakes
    """
    processes = Processes(choose_device(device))
    for warning in check_experiment(expt.hparams_path).warnings:
        print(warning, file=sys.stderr)
    history = load_history(expt)
    check_shared_inputs(history, expt)
    for name, hparams in history.runs.items():
        if hparams is not None:
            check_unchanged(expt, name, hparams)
    if history.count_left():
        print(f"search: {describe_search(history, expt)}", flush=True)
    while taken := take_trial(expt):
        name, hparams, history = taken
        paths = expt.get_run_paths(name)
        verb = "resumes" if paths.record.exists() else "starts"
        print(f"{name} {verb}: {join_params(history, hparams)}", flush=True)
        pruner = MedianPruner(expt, paths, history.search)
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
    print(describe_end(load_history(expt), expt))
    return 0


def take_trial(expt: Experiment) -> tuple[str, Hparams, History] | None:
    """Return an interrupted trial, or a new one; None if none is left for this worker."""
    with lock_trials(expt.expt_dir):
        history = load_history(expt)
        for name, state in history.states.items():
            if state == "open" and not is_locked(expt.get_run_paths(name)):
                return name, history.runs[name], history
        if history.count_runs() >= history.search.settings.trials:
            return None
        for number, values, hparams, reason in sample_trials(history, expt):
            name = f"trial-{number:03}"
            append_trial(expt.expt_dir, name, values, reason)
            if reason is None:
                return name, hparams, history
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
    check_shared_inputs(history, expt)
    num_left = history.search.settings.trials - history.count_runs()
    num_drafts = min(NUM_DRAFTS, num_left)
    samples = sample_trials(history, expt) if num_drafts > 0 else ()
    for number, _, hparams, reason in samples:
        name = f"trial-{number:03}"
        end = f"; infeasible: {reason}" if reason else ""
        print(f"{name}: {join_params(history, hparams)}{end}")
        if reason is None:
            runs[name] = hparams
        if len(runs) == num_drafts:
            break
    if runs:
        print()
        show_plans(expt, runs, {}, device)  # so few drafts vary together by chance
    print(f"\nsearch: {describe_search(load_history(expt), expt)}")
    if num_left > len(runs) == NUM_DRAFTS:
        rest = "later ones depend on the results"
        print(f"shown are the first {NUM_DRAFTS} of the next {num_left} trials; {rest}")
    elif num_left > len(runs):
        print(f"only {len(runs)} of {num_left} trials were found: the space seems exhausted")


def check_shared_inputs(history: History, expt: Experiment):
    """Check the models that all trials begin with; raises: HparamsError if they don't fit."""
    problems = list_input_problems(history, history.search.make_example(), expt)
    # What is sampled has no place of its own, and is judged in each trial.
    shared = [x for x in problems if x.place != history.file.shared.key_place]
    if shared:
        raise HparamsError(list_problems(shared))


def list_input_problems(history: History, values: dict, expt: Experiment) -> list[Problem]:
    """Return the problems of the models that a trial names, for sampled values."""
    written, hparams, _ = check_trial(history.file, values, expt.expt_dir)
    if hparams is None:
        return []
    trial = CheckedExperiment({"trial": written}, {"trial": hparams}, [])
    return list(check_inputs(trial, expt.expt_dir))


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
        if reason is None:
            problems = list_input_problems(history, values, expt)
            reason = "; ".join(x.text for x in problems) or None
        known = [outcome.params for outcome in history.outcomes.values()]
        if hparams is not None and history.search.find_params(hparams) in known:
            continue
        history.add(f"trial-{number:03}", hparams, Outcome({}, "infeasible" if reason else "open"))
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
        curve = read_outcome(self.paths, self.search).curve
        if not 0 < len(curve) < trainer.max_epochs:
            return
        outcomes = [
            read_outcome(self.expt.get_run_paths(name), self.search)
            for name, trial in load_trials(self.expt.expt_dir, HparamsError).items()
            if not trial.infeasible
        ]
        finished = [outcome.curve for outcome in outcomes if outcome.state == "finished"]
        if is_hopeless(self.search, curve, finished):
            best = f"{self.search.settings.metric} {find_best(self.search, curve):.4g}"
            raise Pruned(
                f"{best} by epoch {len(curve)}, worse than the median of {len(finished)} "
                "finished trials"
            )

    # A process may have been killed between the validation and the decision.
    on_train_start = on_train_epoch_end


def join_params(history: History, hparams: Hparams) -> str:
    """Return a trial's values of the searched keys on one line."""
    return ", ".join(f"{key} {x}" for key, x in history.write_params(hparams).items())


def describe_trial(expt: Experiment, name: str) -> str:
    """Return the result of a trial, and the state of the search."""
    history, paths = load_history(expt), expt.get_run_paths(name)
    outcome = read_outcome(paths, history.search)
    end = load_record(paths.record).sessions[-1].error
    end = end or f"{history.search.settings.metric} {find_best(history.search, outcome.curve):.4g}"
    return f"{name}: {outcome.state}, {end}; {describe_search(history, expt)}"


def describe_search(history: History, expt: Experiment) -> str:
    """Return the numbers of trials by state, the best of them, and the remaining time."""
    counts, trials = Counter(history.states.values()), history.search.settings.trials
    num_over, num_others = history.count_runs() - counts["open"], count_busy(history, expt)
    texts = [f"{num_over} of {trials} trials done"]
    texts += [
        f"{counts[state]} {state}" for state in ("pruned", "failed", "infeasible") if counts[state]
    ]
    if ranked := history.rank_finished():
        best, value = next(iter(ranked.items()))
        texts.append(f"best {best}, {history.search.settings.metric} {value:.4g}")
    if num_others:
        texts.append(f"{num_others} being trained by other workers")
    rest_s = history.estimate_rest_s(num_others + 1)
    if rest_s and history.count_left() > num_others:
        texts.append(f"about {format_time(rest_s)} left")
    return ", ".join(texts)


def count_busy(history: History, expt: Experiment) -> int:
    """Return the number of trials that are being trained."""
    names = [name for name, state in history.states.items() if state == "open"]
    return sum(is_locked(expt.get_run_paths(name)) for name in names)


def describe_end(history: History, expt: Experiment) -> str:
    """Return the state of the search, its best trials with their values, and what to do next."""
    lines = [f"search: {describe_search(history, expt)}"]
    if not (ranked := history.rank_finished()):
        return lines[0]
    rows = [["best", history.search.settings.metric, *history.search.space]]
    for name, value in [*ranked.items()][:NUM_BEST]:
        values = history.write_params(history.runs[name])
        rows.append([name, f"{value:.4g}", *values.values()])
    lines += format_table(rows, max_width=shutil.get_terminal_size().columns)
    name = shlex.quote(expt.name)
    lines.append(f"all trials: atompaint-vae compare {name}; page: atompaint-vae open {name}")
    return "\n".join(lines)
