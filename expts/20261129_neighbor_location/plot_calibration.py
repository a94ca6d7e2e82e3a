#!/usr/bin/env python3
"""Draw how displaced atoms change accuracy and distances, and from how many images one can tell.

Usage:
    plot_calibration.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.records.experiment import Experiment

METRICS = {
    "accuracy": "Accuracy", "frechet": "Fréchet distance", "kernel": "Kernel distance",
}  # fmt: skip
LESS_A, MORE_A = 0.2, 1.0


def main(expt: Experiment):
    table = pd.read_csv(expt.expt_dir / f"{expt.date}_calibration.csv")
    save_figure(draw(table), expt.expt_dir / f"{expt.date}_calibration.svg")


def draw(table: pd.DataFrame):
    nums = sorted(set(table["num_images"]))
    colours = colormaps["viridis_r"](np.linspace(0.15, 1, len(nums)))
    figure, axes = make_figure(2, len(METRICS), figsize=(8, 5.2))
    for (upper, lower), (metric, title) in zip(axes.T, METRICS.items(), strict=True):
        rows = table[table["metric"] == metric]
        levels = rows[rows["than_noise_A"].isna()]
        for num, colour in zip(nums, colours, strict=True):
            one = levels[levels["num_images"] == num]
            upper.plot(one["noise_A"], one["value"], "o-", color=colour, ms=3, label=f"{num:,}")
        upper.fill_between(one["noise_A"], one["low"], one["high"], color=colour, alpha=0.15, lw=0)
        upper.set(title=title, xlim=(0, None))
        is_shown = (rows["noise_A"] == MORE_A) & (rows["than_noise_A"] == LESS_A)
        draw_difference(lower, rows[is_shown])
    axes[0, 1].set_xlabel("SD of the displacement along each axis [Å]")
    axes[0, 0].set_ylabel("value")
    axes[1, 1].set_xlabel("images")
    axes[1, 0].set_ylabel(f"at {MORE_A:g} Å − at {LESS_A:g} Å")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False,
        title="images, upper row",
    )  # fmt: skip
    return figure


def draw_difference(axis, rows: pd.DataFrame):
    """The title is the number of images from which on no interval contains zero."""
    axis.axhline(0, color="#5b5b5b", lw=1)
    axis.vlines(rows["num_images"], rows["low"], rows["high"], color=RUN_COLOURS[0], lw=2)
    axis.plot(rows["num_images"], rows["value"], "o", color=RUN_COLOURS[0], ms=4)
    axis.set_xscale("log")
    nums = [*rows["num_images"]]
    axis.set_xticks(nums, [f"{num:,}" for num in nums], fontsize=7.5)
    axis.minorticks_off()
    is_open = ((rows["low"] <= 0) & (rows["high"] >= 0)).to_numpy()
    first = is_open.nonzero()[0].max(initial=-1) + 1
    is_told = first < len(nums)
    axis.set_title(f"told apart from {nums[first]:,} images on" if is_told else "not told apart")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
