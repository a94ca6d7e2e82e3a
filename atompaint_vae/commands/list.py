"""The experiments, newest first: runs by state, and the best R² on the test structures.

Usage:
    atompaint-vae list
    atompaint-vae list (-h | --help)

Exit codes: 0 done; 2 there is no notebook here or above.
"""

from collections import Counter
from pathlib import Path

import docopt

from ..records.experiment import Experiment
from ..records.find import find_experiments, find_expts_dir


def main(argv: list[str]) -> int:
    docopt.docopt(__doc__, ["list", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    names = find_experiments(expts_dir)[::-1]
    width = max(map(len, names), default=0)
    for name in names:
        print(f"{name:{width}}  {describe_experiment(Experiment(expts_dir / name))}")
    return 0


def describe_experiment(expt: Experiment) -> str:
    """One line, even if its files are broken: they must not hide the other experiments."""
    try:
        runs = expt.load_properties().values()
    except ValueError as error:
        return str(error).splitlines()[0]
    r2 = [x for run in runs if (x := run.get("test.r2")) is not None]
    states = Counter(run["state"] for run in runs)
    counts = [f"{number} {state}" for state, number in states.items()]
    return ", ".join(counts) + (f"; best test R² {max(r2):.3f}" if r2 else "")
