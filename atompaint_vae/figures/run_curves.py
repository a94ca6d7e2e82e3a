"""Curves of one metric, of runs of any experiments, against steps, epochs or time."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..records.compare import check_curve, group_seeds, name_group, name_runs
from ..records.properties import Run
from .style import RUN_COLOURS, make_figure, set_log_ticks

AXES = {"epoch": "epoch", "step": "step", "elapsed_s": "elapsed time [min]"}

SMOOTHER = "exponential moving average, debiased"


def plot_run_curves(
    runs: Sequence[Run],
    metric: str,
    *,
    x: str = "epoch",
    logx: bool = False,
    logy: bool = False,
    smooth: float = 0.0,
    seeds: bool = False,
) -> Figure:
    """
    Draw a metric of each run, such as `val.r2`, with a legend.

    x:      one of AXES
    smooth: weight of the moving average, 0 <= smooth < 1; 0 leaves the values as recorded
    seeds:  draw runs that differ only in their seed as mean ± standard deviation
    raises: PropertyError if no run has such a curve
    """
    check_curve(runs, metric)
    table = metric.partition(".")[0]
    groups = [[i] for i in range(len(runs))]
    if seeds:
        groups = group_seeds([run.properties for run in runs])
    names = name_runs([run.id for run in runs])
    figure, axes = make_figure(figsize=(8, 4.2))
    for i, group in enumerate(groups):
        members = [runs[j] for j in group if runs[j].tables.get(table, {}).get("step")]
        if not members:
            continue
        colour, style = RUN_COLOURS[i % len(RUN_COLOURS)], ("-", "--", ":")[i // 7 % 3]
        curves = [read_curve(run, metric, x, smooth) for run in members]
        label = name_group([names[j] for j in group])
        if len(curves) > 1:
            xs, mean, deviation = average_curves(curves)
            axes.plot(xs, mean, style, color=colour, lw=1.6, label=label)
            low, high = zip(*[(m - d, m + d) for m, d in zip(mean, deviation, strict=True)],
                            strict=True)
            axes.fill_between(xs, low, high, color=colour, alpha=0.2, lw=0)
            continue
        _, xs, raw, values = curves[0]
        if smooth:
            axes.plot(xs, raw, style, color=colour, alpha=0.35, lw=0.6)
        marker = "o" if len(xs) == 1 else None
        axes.plot(xs, values, style, color=colour, lw=1.6, marker=marker, label=label)
    _label_axes(axes, metric, x=x, logx=logx, logy=logy, smooth=smooth, seeds=seeds)
    figure.legend(loc="outside lower center", ncols=min(2, len(groups)), frameon=False)
    return figure


def _label_axes(axes: Axes, metric: str, *, x, logx, logy, smooth, seeds) -> None:
    axes.set(xlabel=AXES[x], ylabel=metric)
    if logx:
        axes.set_xscale("log")
    if logy:
        axes.set_yscale("log")
        set_log_ticks(axes)
    notes = []
    if smooth:
        notes.append(f"Bold: {SMOOTHER}, weight {smooth:g}; thin: as recorded.")
    if seeds:
        notes.append("Bands: mean ± standard deviation (n − 1) over seeds.")
    axes.set_title(" ".join(notes), fontsize="small", loc="left")


def read_curve(
    run: Run, metric: str, x: str, smooth: float
) -> tuple[list[int], list[float], list[float], list[float]]:
    """Return the steps, positions on the x axis, recorded values and smoothed values of a run."""
    table, _, column = metric.partition(".")
    columns = run.tables[table]
    xs = [value / 60 for value in columns[x]] if x == "elapsed_s" else list(columns[x])
    raw = [value if isinstance(value, int | float) else math.nan for value in columns[column]]
    return list(columns["step"]), xs, raw, smooth_values(raw, smooth)


def smooth_values(values: Sequence[float], weight: float) -> list[float]:
    """Return running means in which each value is weighted by `weight` to the power of its age."""
    smoothed, total, norm = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            total, norm = weight * total + value, weight * norm + 1
        smoothed.append(total / norm if math.isfinite(value) else value)
    return smoothed


def average_curves(curves: Sequence[tuple]) -> tuple[list[float], list[float], list[float]]:
    """Return mean position, mean and standard deviation (n − 1) at the steps in all the curves."""
    rows = [dict(zip(steps, zip(xs, ys, strict=True), strict=True)) for steps, xs, _, ys in curves]
    xs, means, deviations = [], [], []
    for step in rows[0]:
        if not all(step in row and math.isfinite(row[step][1]) for row in rows):
            continue
        values = [row[step][1] for row in rows]
        mean = sum(values) / len(values)
        xs.append(sum(row[step][0] for row in rows) / len(rows))
        means.append(mean)
        deviations.append(math.sqrt(sum((y - mean) ** 2 for y in values) / (len(values) - 1)))
    return xs, means, deviations
