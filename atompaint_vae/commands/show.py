"""The runs of an experiment: state, the hyperparameters in which they differ, results.

Usage:
    atompaint-vae show EXPT
    atompaint-vae show (-h | --help)

EXPT is the experiment's name, or its date. R² is that of the test structures.

Exit codes: 0 done; 1 done but for runs whose files are damaged and named; 2 there is no such
experiment, or its hparams.nt is wrong.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import docopt

from ..config.hparams import find_differences
from ..models.kind import get_kind
from ..records.experiment import Experiment
from ..records.find import find_experiment, find_expts_dir
from ..records.properties import Value
from ..records.record import UNREADABLE
from ..text.tables import format_table


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["show", *argv])
    expt = Experiment(find_experiment(find_expts_dir(Path.cwd()), arguments["EXPT"]))
    runs = expt.load_properties()
    print("\n".join(describe_runs(expt, runs)))
    damages = {x: run["error"] for x, run in runs.items() if run["state"] == UNREADABLE}
    for name, damage in damages.items():
        print(f"{os.path.relpath(expt.get_run_paths(name).run_dir)}/{damage}", file=sys.stderr)
    return 1 if damages else 0


def describe_runs(expt: Experiment, runs: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """A line for each run, below the names of the columns."""
    differences = find_differences(expt.load_hparams())
    kinds = dict.fromkeys(hparams.kind for hparams in expt.load_hparams().values())
    best = dict.fromkeys(get_kind(kind).best for kind in kinds)
    tests = [f"test {metric.symbol}" for metric in best]
    rows = [["run", "state", *tests, *next(iter(differences.values()), ())]]
    for name, values in differences.items():
        found = [runs[name].get(f"test.{metric.name}") for metric in best]
        shown = ["" if x is None else f"{x:.3f}" for x in found]
        rows.append([name, runs[name]["state"], *shown, *map(describe_value, values.values())])
    return format_table(rows)


def describe_value(value: object) -> str:
    return " → ".join(map(str, value)) if isinstance(value, tuple) else str(value)
