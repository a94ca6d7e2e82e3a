#!/usr/bin/env python3
"""Draw the accuracy of all runs, also with displaced atoms, and the best run's confusions.

Usage:
    plot_accuracy.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.seeds import draw_seeds
from atompaint_vae.figures.style import make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics

CHANCE = 1 / 6


def main(expt: Experiment):
    runs = expt.load_runs()
    table = pd.DataFrame([describe(run) for run in runs])
    shown = table.rename(columns=lambda name: name.removeprefix("accuracy_"))
    save_table(shown.round(4), expt.expt_dir / f"{expt.date}_accuracy.csv")
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
        **test[["accuracy", "accuracy_low", "accuracy_high"]],
        "best validation": run.record.best.value,
    }  # fmt: skip


def load_noise(run: RecordedRun) -> pd.DataFrame:
    table = pd.read_csv(run.paths.run_dir / "noise.csv")
    return table[table["noise"] == "atoms"].assign(model=run.name.rpartition("-")[0], run=run.name)


def draw(table: pd.DataFrame, noise: pd.DataFrame, occupancy: float):
    figure, (left, right) = make_figure(1, 2, figsize=(8, 3.4), width_ratios=(1.1, 1))
    for model, colour in draw_seeds(left, table, "accuracy").items():
        of_model = noise[noise["model"] == model]
        for _, one in of_model.groupby("run"):
            right.plot(one["level"], one["accuracy"], color=colour, lw=0.7, alpha=0.6)
        mean = of_model.groupby("level")["accuracy"].mean()
        right.plot(mean.index, mean, "o-", color=colour, ms=4, lw=1.8, label=model)
    for value, style, name in ((CHANCE, ":", "chance"), (occupancy, "--", "occupancy")):
        line = {"color": "#5b5b5b", "lw": 1.1, "ls": style, "zorder": 1}
        left.axvline(value, **line)
        right.axhline(value, **line, label=name)
    title = f"Test, {noise['num_pairs'].iloc[0]:,} pairs"
    left.set(title=title, xlabel="accuracy", xlim=(0.1, None))
    right.set(
        title="Displaced atoms", xlabel="SD of the displacement along each axis [Å]",
        ylabel="accuracy", xlim=(0, None), ylim=(0.1, None),
    )  # fmt: skip
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


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
