"""Show the runs of an experiment: states, hyperparameters that differ, results.

Usage:
    atompaint-vae show EXPT
    atompaint-vae show (-h | --help)

EXPT is the experiment's name, date or folder. Results are those on the test structures. The
hyperparameters of a run are those that it started with; if hparams.nt has changed since, lines
below the table say in what.

Exit codes: 0 success; 1 some runs have damaged files, which are listed; 2 there is no such
experiment, or its hparams.nt has mistakes.
"""

import os
import sys
from collections.abc import Mapping

import docopt

from ..config.hparams import find_changes, find_differences, load_resolved
from ..config.schema import Hparams
from ..models.kind import get_kind
from ..records.experiment import Experiment
from ..records.find import locate_experiment
from ..records.properties import Value
from ..records.record import UNREADABLE
from ..text.formats import format_hparam
from ..text.tables import format_table


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["show", *argv])
    expt = Experiment(locate_experiment(arguments["EXPT"]))
    runs = expt.load_properties()
    print("\n".join(describe_runs(expt, runs)))
    damages = {x: run["error"] for x, run in runs.items() if run["state"] == UNREADABLE}
    for name, damage in damages.items():
        print(f"{os.path.relpath(expt.get_run_paths(name).run_dir)}/{damage}", file=sys.stderr)
    return 1 if damages else 0


def describe_runs(expt: Experiment, runs: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """Return a line for each run, below the names of the columns, and what has changed since."""
    written = expt.load_hparams()
    started = {name: load_started(expt, name, hparams) for name, hparams in written.items()}
    differences = find_differences(started)
    kinds = dict.fromkeys(hparams.kind for hparams in started.values())
    best = dict.fromkeys(get_kind(kind).best for kind in kinds)
    tests = [f"test {metric.symbol}" for metric in best]
    rows = [["run", "state", *tests, *next(iter(differences.values()), ())]]
    for name, values in differences.items():
        found = [runs[name].get(f"test.{metric.name}") for metric in best]
        shown = ["" if x is None else f"{x:.3f}" for x in found]
        rows.append([name, runs[name]["state"], *shown, *map(format_hparam, values.values())])
    changed: dict[str, list[str]] = {}
    for name in written:
        if changes := find_changes(started[name], written[name]):
            changed.setdefault("; ".join(changes), []).append(name)
    notes = [
        f"{', '.join(names)}: hparams.nt has changed since: {changes}"
        for changes, names in changed.items()
    ]
    return [*format_table(rows), *[""] * bool(notes), *notes]


def load_started(expt: Experiment, name: str, planned: Hparams) -> Hparams:
    """Return the hyperparameters that a run started with; the planned ones before, or if damaged.
    """
    paths = expt.get_run_paths(name)
    try:
        return load_resolved(paths.hparams) if paths.record.exists() else planned
    except (ValueError, OSError):  # the run's state says so
        return planned
