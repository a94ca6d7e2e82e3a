"""Runs that differ in nothing but the seed -> their mean, its interval, a figure, a table."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import t

from .style import RUN_COLOURS


def calc_half_width(values: Sequence[float]) -> float:
    """
    Return half the 95 % interval of the mean of these seeds, NaN for a single one.

    source: Student 1908; the seeds are taken as draws from a normal distribution
    """
    num = len(values)
    if num < 2:
        return np.nan
    return float(t.ppf(0.975, num - 1) * np.std(values, ddof=1) / np.sqrt(num))


def format_mean(values: Sequence[float], digits: int = 3) -> str:
    """Return a mean as text, with half its interval if there are several seeds."""
    mean, half_width = np.mean(values), calc_half_width(values)
    text = f"{mean:.{digits}f}"
    return text if np.isnan(half_width) else f"{text} ± {half_width:.{digits}f}"


def draw_seeds(axes: Axes, runs: pd.DataFrame, metric: str) -> dict[str, str]:
    """
    Draw a metric of runs, one row for each model.

    Dots are seeds; thin bars, if the table has them, the intervals of single seeds over structures.
    The diamond is the mean over seeds, with its value; the thick bar is the interval of the mean.

    runs:    columns model, {metric}, and optionally {metric}_low and {metric}_high
    returns: the colour of each model
    """
    models = [*dict.fromkeys(runs["model"])]
    colours = dict(zip(models, cycle(RUN_COLOURS), strict=False))
    for row, (model, colour) in enumerate(colours.items()):
        seeds = runs[runs["model"] == model]
        ys = row + 0.12 + 0.1 * np.arange(len(seeds))
        if f"{metric}_low" in runs:
            low, high = seeds[f"{metric}_low"], seeds[f"{metric}_high"]
            axes.hlines(ys, low, high, color=colour, lw=1, alpha=0.7)
        axes.plot(seeds[metric], ys, "o", color=colour, ms=3.5)
        mean, half, y = seeds[metric].mean(), calc_half_width(seeds[metric]), row - 0.15
        axes.hlines(y, mean - half, mean + half, color=colour, lw=3.5, alpha=0.45)
        axes.plot(mean, y, "D", color=colour, ms=6)
        axes.annotate(
            f"{mean:.3f}", (mean, y), (0, 6), textcoords="offset points", ha="center",
            color=colour, fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    return colours


def draw_means(axes: Axes, runs: pd.DataFrame, metrics: Sequence[str], colours: Mapping[str, str]):
    """
    Draw the means over seeds of several metrics, such as losses at several noise levels.

    runs:    columns model and metrics
    metrics: one place of the horizontal axis for each
    colours: the colour of each model, as `draw_seeds` returns them
    """
    for model, colour in colours.items():
        means = runs.loc[runs["model"] == model, list(metrics)].mean()
        axes.plot(range(len(metrics)), means, "o-", color=colour, ms=4, label=model)
    axes.set_xticks(range(len(metrics)), metrics)
    axes.legend()


def list_means(runs: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """
    Return means over seeds as text, each with half its interval, one row for each model.

    runs: columns model and metrics
    """
    return pd.DataFrame(
        {
            "model": model,
            "seeds": len(seeds),
            **{metric: format_mean(seeds[metric]) for metric in metrics},
        }
        for model, seeds in runs.groupby("model", sort=False)
    )
