"""The runs of an experiment: state, the hyperparameters in which they differ, results.

Usage:
    atompaint-vae show EXPT
    atompaint-vae show (-h | --help)

EXPT is the experiment's name, or its date. R² is that of the test structures.

Exit codes: 0 done; 2 there is no such experiment, or its files are broken.
"""

from pathlib import Path

import docopt

from ..runs.experiment import Experiment
from ..runs.find import find_experiment, find_expts_dir
from ..runs.hparams import find_differences


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["show", *argv])
    expt = Experiment(find_experiment(find_expts_dir(Path.cwd()), arguments["EXPT"]))
    print("\n".join(describe_runs(expt)))
    return 0


def describe_runs(expt: Experiment) -> list[str]:
    """A line for each run, below the names of the columns."""
    states, differences = expt.find_run_states(), find_differences(expt.load_hparams())
    rows = [["run", "state", "test R²", *next(iter(differences.values()), ())]]
    for name, values in differences.items():
        r2 = expt.find_test_r2(name)
        shown = "" if r2 is None else f"{r2:.3f}"
        rows.append([name, states[name], shown, *map(describe_value, values.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{x:{width}}" for x, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def describe_value(value: object) -> str:
    return " → ".join(map(str, value)) if isinstance(value, tuple) else str(value)
