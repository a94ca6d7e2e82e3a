"""Compare runs of any dates: what came of them, what differs, what speaks against comparing them.

Usage:
    atompaint-vae compare NAME... [--metric METRIC] [--where EXPR] [-o FILE]
    atompaint-vae compare (-h | --help)

NAME is an experiment, by its date or its folder's name, or a run, `experiment/run`; `all` means
all experiments:

    atompaint-vae compare 20241029 20241217
    atompaint-vae compare 20241217/2-layer-wide 20241217/3-layer-wide --metric val.data_loss
    atompaint-vae compare 20241217 --where 'model.latent == 5xfourier2 and best(val.r2) > 0.5'

Of the hyperparameters, the table has those that differ. The lines below it say where runs aren't
comparable, which hyperparameters vary only together, and by which code and data they were trained.

Options:
    --metric METRIC    A column of the runs' val.csv, train.csv or test.csv; by default what chooses
                       the best weights, val.r2 of a VAE.
    --where EXPR       Only the runs for which this holds. Properties are columns of the table, any
                       hyperparameter, and any metric, such as last(val.loss), best(val.r2) or
                       test.r2; they are compared by == != < <= > >= ~ (contains); comparisons are
                       joined by and, or, not and parentheses.
    -o FILE            Write the table to a FILE.csv, or the metric's curves to a FILE.svg.

Exit codes: 0 all is done; 1 done but for runs whose files are damaged and named; 2 nothing is done.
"""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import docopt

from ..records.compare import (
    check_curve,
    choose_columns,
    describe_code,
    describe_data,
    find_confounded,
    find_incomparable,
    keep_readable,
    name_column,
    write_cells,
)
from ..records.filters import WhereError, filter_runs
from ..records.find import find_expts_dir, find_runs
from ..records.properties import Run, list_best_metrics, load_runs
from ..text.files import write_atomic
from ..text.tables import format_table


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["compare", *argv])
    out = Path(arguments["-o"]) if arguments["-o"] else None
    if out and out.suffix not in (".csv", ".svg"):
        raise ValueError(f"-o: expected a name that ends in .csv or .svg, got {str(out)!r}")
    runs = choose_runs(arguments["NAME"], arguments["--where"] or "")
    metric = arguments["--metric"] or f"val.{list_best_metrics(x.properties for x in runs)[0]}"
    columns = choose_columns(runs, [metric])
    if out and out.suffix == ".csv":
        write_atomic(out, format_csv(runs, [*columns, "commit", "data_hash"]))
    elif out:
        from ..figures.run_curves import plot_run_curves
        from ..figures.style import render_figure

        check_curve(runs, metric)
        write_atomic(out, render_figure(plot_run_curves(runs, metric)))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    rows = [[name_column(x) for x in columns], *(write_cells(x.properties, columns) for x in runs)]
    print("\n".join(format_table(rows, max_width=width, num_fixed=columns.index("run") + 1)))
    properties = [run.properties for run in runs]
    notes = [*find_incomparable(properties, [metric]), *find_confounded(properties)]
    print("\n".join(["", *notes, *describe_code(properties), *describe_data(properties)]))
    return 1 if len(keep_readable(properties)) < len(runs) else 0


def choose_runs(names: Sequence[str], where: str) -> list[Run]:
    """
    The runs that names and a filter expression choose.

    raises: ValueError if there are none, or if a name or the expression is wrong
    """
    expts_dir = find_expts_dir(Path.cwd())
    runs = load_runs(find_runs(expts_dir, [_strip_path(name, expts_dir) for name in names]))
    if not runs:
        raise ValueError(f"{' '.join(names)}: no run has a record; ./train.py first")
    try:
        chosen = filter_runs(where, [run.properties for run in runs])
    except WhereError as error:
        raise ValueError(f"--where: {error}") from None
    if not chosen:
        raise ValueError(f"--where: chooses none of {len(runs)} runs")
    return [runs[i] for i in chosen]


def _strip_path(name: str, expts_dir: Path) -> str:
    """A name as `find_runs` takes it, where the shell has completed a path."""
    path = Path(name).resolve()
    if not (path.is_dir() and path.is_relative_to(expts_dir) and path != expts_dir):
        return name
    return "/".join(x for x in path.relative_to(expts_dir).parts if x != "runs")


def format_csv(runs: Sequence[Run], columns: Sequence[str]) -> str:
    """Properties of runs as CSV, as they are in the records."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for run in runs:
        writer.writerow([run.properties.get(x) for x in columns])
    return file.getvalue()
