"""List experiments, newest first: runs by state, and the best result on the test structures.

Usage:
    atompaint-vae list
    atompaint-vae list (-h | --help)

Exit codes: 0 success; 2 there is no notebook here or above.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import docopt

from ..models.kind import list_kinds
from ..records.experiment import Experiment
from ..records.find import find_experiments, find_expts_dir
from ..records.properties import Value
from ..text.tables import format_table


def main(argv: list[str]) -> int:
    docopt.docopt(__doc__, ["list", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    names = find_experiments(expts_dir)[::-1]
    rows = [[name, describe_experiment(Experiment(expts_dir / name))] for name in names]
    print("".join(f"{line}\n" for line in format_table(rows)), end="")
    return 0


def describe_experiment(expt: Experiment) -> str:
    """Return one line, even if the files are damaged: they must not hide other experiments."""
    try:
        runs = expt.load_properties().values()
    except ValueError as error:
        return str(error).splitlines()[0]
    best = find_best_test(list(runs))
    states = Counter(run["state"] for run in runs)
    counts = [f"{number} {state}" for state, number in states.items()]
    return ", ".join(counts) + (f"; best {best}" if best else "")


def find_best_test(runs: Sequence[Mapping[str, Value]]) -> str:
    """Return the best test result of each kind of model among these runs; "" if there is none."""
    texts = []
    for kind in list_kinds():
        values = [
            x
            for run in runs
            if run.get("kind") == kind.name and (x := run.get(f"test.{kind.best.name}")) is not None
        ]
        if values:
            texts.append(f"test {kind.best.symbol} {kind.best.find_best(values):.3f}")
    return ", ".join(texts)
