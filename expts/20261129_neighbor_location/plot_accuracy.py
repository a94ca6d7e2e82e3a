#!/usr/bin/env python3
"""Draw the accuracy of all runs, also with displaced atoms, and the best run's confusions.

Usage:
    plot_accuracy.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics

CHANCE = 1 / 6


def main(expt: Experiment):
    runs = expt.load_runs()
    table = pd.DataFrame([describe(run) for run in runs])
    save_table(table.round(4), expt.expt_dir / f"{expt.date}_accuracy.csv")
    noise = pd.concat([load_noise(run) for run in runs])
    path = expt.expt_dir / f"{expt.date}_occupancy.csv"
    occupancy = pd.read_csv(path).set_index("views")["accuracy"]["both"]
    save_figure(draw(table, noise, occupancy), expt.expt_dir / f"{expt.date}_accuracy.svg")
    # Chosen by the validation, so that its test is that of any run.
    best = max(runs, key=lambda run: run.record.best.value)
    save_figure(draw_confusion(best), expt.expt_dir / f"{expt.date}_confusion.svg")


def describe(run: RecordedRun) -> dict:
    test = load_metrics(run.paths.test_metrics).iloc[0]
    return {
        "run": run.name, "model": run.name.rpartition("-")[0], "seed": run.hparams.seed,
        "accuracy": test["accuracy"], "low": test["accuracy_low"], "high": test["accuracy_high"],
        "best validation": run.record.best.value,
    }  # fmt: skip


def load_noise(run: RecordedRun) -> pd.DataFrame:
    table = pd.read_csv(run.paths.run_dir / "noise.csv")
    return table[table["noise"] == "atoms"].assign(model=run.name.rpartition("-")[0], run=run.name)


def draw(table: pd.DataFrame, noise: pd.DataFrame, occupancy: float):
    models = [*dict.fromkeys(table["model"])]
    colours = dict(zip(models, RUN_COLOURS, strict=False))
    figure, (left, right) = make_figure(1, 2, figsize=(8, 3.4), width_ratios=(1.1, 1))
    for row, model in enumerate(models):
        draw_model(left, row, table[table["model"] == model], colours[model])
        of_model = noise[noise["model"] == model]
        for _, one in of_model.groupby("run"):
            right.plot(one["level"], one["accuracy"], color=colours[model], lw=0.7, alpha=0.6)
        mean = of_model.groupby("level")["accuracy"].mean()
        right.plot(mean.index, mean, "o-", color=colours[model], ms=4, lw=1.8, label=model)
    for value, style, name in ((CHANCE, ":", "chance"), (occupancy, "--", "occupancy")):
        line = {"color": "#5b5b5b", "lw": 1.1, "ls": style, "zorder": 1}
        left.axvline(value, **line)
        right.axhline(value, **line, label=name)
    left.set_yticks(range(len(models)), models)
    left.set(
        title=f"Test, {noise['num_pairs'].iloc[0]:,} pairs", xlabel="accuracy",
        ylim=(len(models) - 0.5, -0.5), xlim=(0.1, None),
    )  # fmt: skip
    left.grid(False, axis="y")
    left.tick_params(axis="y", length=0)
    right.set(
        title="Displaced atoms", xlabel="SD of the displacement along each axis [Å]",
        ylabel="accuracy", xlim=(0, None), ylim=(0.1, None),
    )  # fmt: skip
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def draw_model(axis, row: int, runs: pd.DataFrame, colour: str):
    """Thin bars are intervals over structures, the thick one is that of the mean over seeds."""
    ys = row + 0.12 + 0.1 * np.arange(len(runs))
    axis.hlines(ys, runs["low"], runs["high"], color=colour, lw=1, alpha=0.7)
    axis.plot(runs["accuracy"], ys, "o", color=colour, ms=3.5)
    mean, num = runs["accuracy"].mean(), len(runs)
    half_width = t.ppf(0.975, num - 1) * runs["accuracy"].std() / num**0.5 if num > 1 else 0
    axis.hlines(row - 0.15, mean - half_width, mean + half_width, color=colour, lw=3.5, alpha=0.45)
    axis.plot(mean, row - 0.15, "D", color=colour, ms=6)
    axis.annotate(
        f"{mean:.3f}", (mean, row - 0.15), (0, 6), textcoords="offset points", ha="center",
        color=colour, fontsize=8,
    )  # fmt: skip


def draw_confusion(run: RecordedRun):
    counts = pd.read_csv(run.paths.run_dir / "confusion.csv").set_index("face")
    shares = counts.div(counts.sum(axis=1), axis=0)
    figure, axis = make_figure(figsize=(4.6, 3.8))
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=shares.to_numpy().max())
    for (i, j), share in np.ndenumerate(shares):
        colour = "white" if share > 0.6 * shares.to_numpy().max() else "black"
        axis.text(j, i, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(counts)), counts.columns)
    axis.set_yticks(range(len(counts)), counts.index)
    axis.set(title=run.name, xlabel="predicted face", ylabel="true face")
    axis.grid(False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.colorbar(image, label="share of the true face's pairs", shrink=0.9)
    return figure


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
