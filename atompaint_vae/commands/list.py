"""List experiments, newest first: runs by state, and the best result on the test structures.

Usage:
    atompaint-vae list
    atompaint-vae list (-h | --help)

In a notebook without a folder `expts`, all folders with runs or notes.rst below its conf.py are
listed, with their numbers. Experiments without runs have the titles of their notes.

Exit codes: 0 success; 2 there is no notebook here or above.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import docopt

from ..models.kind import list_kinds
from ..records.experiment import Experiment
from ..records.find import find_experiments, find_expts_dir, find_notes, read_number
from ..records.properties import Value
from ..text.tables import format_table

ADORNMENT = re.compile(r"([^\w\s])\1{2,}")
"""The line below a title."""


def main(argv: list[str]) -> int:
    docopt.docopt(__doc__, ["list", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    with_runs = find_experiments(expts_dir)
    numbers = {x: read_number(expts_dir / x) for x in {*with_runs, *find_notes(expts_dir)}}
    names = sorted(numbers, key=lambda name: (numbers[name] or 0, name), reverse=True)
    rows = [
        [name, describe_experiment(Experiment(expts_dir / name))]
        if name in with_runs
        else [name, read_title(expts_dir / name / "notes.rst")]
        for name in names
    ]
    if any(numbers.values()):
        rows = [
            [f"#{numbers[name]}" if numbers[name] is not None else "", *row]
            for name, row in zip(names, rows, strict=True)
        ]
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


def read_title(path: Path) -> str:
    """Return the title of notes, "" if they have none."""
    lines = path.read_text("utf-8", "replace").splitlines()
    return next(
        (
            line.strip()
            for line, below in zip(lines, [*lines[1:], ""], strict=True)
            if line.strip() and ADORNMENT.fullmatch(below.rstrip())
            and not ADORNMENT.fullmatch(line.rstrip())
        ),
        "",
    )  # fmt: skip


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
