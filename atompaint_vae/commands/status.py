"""How far each run is, and the commands that train what is missing.

Usage:
    atompaint-vae status [EXPT...]
    atompaint-vae status (-h | --help)

EXPT is an experiment's name, or its date; all experiments if there is none.

A run is planned, queued, running, interrupted, failed, pruned or finished. Queued means that it
waits in Slurm's queue, to begin or to go on. Running means that a process is at work on it now: its
step, and when it would end. Interrupted means that none is, and that train.py goes on from the last
checkpoint. Of a failed run, the error is shown; train.py tries it again. Pruned means that a search
does without the rest of it. Of a run whose task in Slurm is over too early, the last lines of the
log are shown. A run is unreadable if its files are damaged; then file and line are shown.

The last line is the command that trains what is planned, interrupted or failed; it submits that to
Slurm if the experiment was submitted before. If there are trials to go on with, or more to sample,
that is the search.

Exit codes: 0 done; 2 there is no such experiment, or no notebook here or above.
"""

import os
import shlex
from pathlib import Path

import docopt

from ..config.hparams import HparamsError
from ..config.trials import load_trials
from ..records.experiment import Experiment
from ..records.find import find_experiment, find_experiments, find_expts_dir
from ..slurm.progress import list_progress
from ..slurm.queue import load_submissions


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["status", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    folders = [find_experiment(expts_dir, name) for name in arguments["EXPT"]]
    folders = folders or [expts_dir / name for name in find_experiments(expts_dir)[::-1]]
    blocks = ["\n".join(describe_experiment(Experiment(folder))) for folder in folders]
    print("\n\n".join(blocks), end="\n" if blocks else "")
    return 0


def describe_experiment(expt: Experiment) -> list[str]:
    """Lines: a name, its runs, a command. Broken files must not hide the other experiments."""
    try:
        runs = list_progress(expt, expt.load_hparams())
        submissions = load_submissions(expt)
        search = expt.load_search()
        trials = load_trials(expt.expt_dir, HparamsError) if search else {}
    except ValueError as error:
        return [expt.name, f"  {str(error).splitlines()[0]}"]
    width = max(map(len, runs), default=0)
    lines = [expt.name]
    for name, run in runs.items():
        lines.append(f"  {name:{width}}  {run.state:11}  {run.describe()}")
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
