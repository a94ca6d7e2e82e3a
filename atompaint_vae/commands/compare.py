"""Compare runs of any dates: results, differences, reasons not to compare.

Usage:
    atompaint-vae compare [NAME...] [--metric METRIC] [--where EXPR] [--sort KEY] [--top N]
                          [-o FILE]
    atompaint-vae compare (-h | --help)

NAME is an experiment, by its date, name or folder, or a run, `experiment/run`, or just `run` in the
experiment's folder; without names, all experiments are compared:

    atompaint-vae compare 20241029 20241217
    atompaint-vae compare 20241217/2-layer-wide 20241217/3-layer-wide --metric val.data_loss
    atompaint-vae compare 20241217 --where 'model.latent == 5xfourier2 and best(val.r2) > 0.5'
    atompaint-vae compare --where 'compression_ratio > 9 and compression_ratio < 11' --top 5

The best run is first. The table shows the compression ratios and hyperparameters that differ, and
what --where and --sort name. Lines below it tell which runs aren't comparable, which
hyperparameters vary only together, and which code and data the runs were trained with.

Options:
    --metric METRIC    A column of the runs' val.csv, train.csv or test.csv; by default the metric
                       that chooses the best weights, for a VAE val.r2.
    --where EXPR       Only runs that match. Properties are columns of the table, hyperparameters,
                       and metrics such as last(val.loss), best(val.r2) or test.r2. Operators are
                       == != < <= > >= ~ (contains); join comparisons by and, or, not and
                       parentheses. If no run matches, the nearest values are shown.
    --sort KEY         A metric, to have the best first, or another property, to have the smallest
                       first; by default the metric.
    --top N            Only the first N runs.
    -o FILE            Write the table to a FILE.csv, or the metric's curves to a FILE.svg.

Exit codes: 0 success; 1 some runs have damaged files, which are listed; 2 failure.
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
    check_metric,
    choose_columns,
    describe_code,
    describe_data,
    differs,
    find_confounded,
    find_incomparable,
    find_sort_key,
    keep_readable,
    name_column,
    sort_runs,
    write_cells,
)
from ..records.filters import WhereError, describe_nearest, filter_runs, list_named
from ..records.find import locate_runs
from ..records.properties import Run, list_best_metrics, load_runs
from ..text.files import write_atomic
from ..text.tables import format_table

RATIO = "compression_ratio"


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["compare", *argv])
    out = Path(arguments["-o"]) if arguments["-o"] else None
    if out and out.suffix not in (".csv", ".svg"):
        raise ValueError(f"-o: expected a name that ends in .csv or .svg, got {str(out)!r}")
    where, top = arguments["--where"] or "", arguments["--top"]
    if top and not (top.isdecimal() and int(top)):
        raise ValueError(f"--top: expected a number of at least 1, got {top!r}")
    runs = choose_runs(arguments["NAME"], where)
    metric = arguments["--metric"] or f"val.{list_best_metrics(x.properties for x in runs)[0]}"
    check_metric(metric, runs)
    named = list_named(where, [run.properties for run in runs])
    if arguments["--sort"]:
        key = find_sort_key(runs, arguments["--sort"])
        named.append(key)
    else:
        key = find_sort_key(runs, metric)
    runs = sort_runs(runs, key)[: int(top) if top else None]
    if differs(RATIO, keep_readable([run.properties for run in runs])):
        named.append(RATIO)
    columns = choose_columns(runs, [metric], also=named)
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
    Return the runs with these names that match a filter expression.

    raises: ValueError if there are none, or a name or the expression is invalid
    """
    runs = load_runs(locate_runs(names))
    if not runs:
        raise ValueError(f"{' '.join(names)}: no run has a record; ./train.py first")
    try:
        chosen = filter_runs(where, [run.properties for run in runs])
    except WhereError as error:
        raise ValueError(f"--where: {error}") from None
    if not chosen:
        near = describe_nearest(where, [run.properties for run in runs])
        hint = f"; {near}" if near else ""
        raise ValueError(f"--where: none of {len(runs)} runs matches{hint}")
    return [runs[i] for i in chosen]


def format_csv(runs: Sequence[Run], columns: Sequence[str]) -> str:
    """Return properties of runs as CSV, unrounded."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for run in runs:
        writer.writerow([run.properties.get(x) for x in columns])
    return file.getvalue()
