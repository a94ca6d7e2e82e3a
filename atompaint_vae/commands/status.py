"""Show the progress of each run, and the commands that train the missing ones.

Usage:
    atompaint-vae status [EXPT...]
    atompaint-vae status (-h | --help)

EXPT is an experiment's name, date or folder; without it, all experiments are shown.

The state of a run is one of:
    planned       It has not started.
    queued        It waits in Slurm's queue, to start or to resume.
    running       A process is training it; its step and expected end are shown.
    interrupted   No process is training it; train.py resumes from the last checkpoint.
    failed        The error is shown; train.py tries again.
    pruned        A search ended it early.
    finished      It is complete.
    unreadable    Its files are damaged; file and line are shown.
If a run's task in Slurm ended too early, the last lines of its log are shown.

The last line is the command that trains the planned, interrupted and failed runs; it submits them
to Slurm if the experiment was submitted before. For a search with trials to resume or to sample, it
is the search's command.

Exit codes: 0 success; 2 there is no such experiment, or no notebook here or above.
"""

import os
import shlex
from pathlib import Path

import docopt

from ..config.hparams import HparamsError
from ..config.trials import load_trials
from ..records.experiment import Experiment
from ..records.find import find_experiments, find_expts_dir, locate_experiment
from ..slurm.progress import format_progress, list_progress
from ..slurm.queue import load_submissions


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["status", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    folders = [locate_experiment(name) for name in arguments["EXPT"]]
    folders = folders or [expts_dir / name for name in find_experiments(expts_dir)[::-1]]
    blocks = ["\n".join(describe_experiment(Experiment(folder))) for folder in folders]
    print("\n\n".join(blocks), end="\n" if blocks else "")
    return 0


def describe_experiment(expt: Experiment) -> list[str]:
    """Return lines: name, runs, command. Damaged files must not hide other experiments."""
    try:
        runs = list_progress(expt, expt.load_hparams())
        submissions = load_submissions(expt)
        search = expt.load_search()
        trials = load_trials(expt.expt_dir, HparamsError) if search else {}
    except ValueError as error:
        return [expt.name, f"  {str(error).splitlines()[0]}"]
    lines = [expt.name]
    for run, line in zip(runs.values(), format_progress(runs), strict=True):
        lines.append(f"  {line}")
        if run.task and run.task.state == "gone" and (log := run.task.read_log_end()):
            lines += [f"    {os.path.relpath(run.task.log)}:", *(f"    | {line}" for line in log)]
    ended = ("planned", "interrupted", "failed")
    folder = os.path.relpath(expt.expt_dir)
    missing = [name for name, run in runs.items() if run.state in ended and name not in trials]
    if missing:
        names = missing if len(missing) < len(runs) else []
        options = list(submissions.values())[-1].options if submissions else ()
        train = shlex.join(["./train.py", *names, *options])
        lines.append(f"  {shlex.join(['cd', folder])} && {train}")
    states = [runs[name].state for name in trials if name in runs]
    is_cut_off = "planned" in states or "interrupted" in states
    if search and (is_cut_off or len(states) < search.settings.trials):
        lines.append(f"  {shlex.join(['atompaint-vae', 'search', folder])}")
    return lines
