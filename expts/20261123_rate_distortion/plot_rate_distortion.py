#!/usr/bin/env python3
"""Draw R² against the compression ratio, and write the table of all runs.

Usage:
    plot_rate_distortion.py
"""

import re
from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.records.metrics import load_metrics

NAME = re.compile(r"(?P<model>.+?)-(?P<target>\d+)(-rate-(?P<rate>[\d.]+))?(-seed\d)?")

LINES = {
    "irreps": "equivariant, free irreps at 9³",
    "finer": "equivariant, free irreps at 17³",
    "cnn": "CNN at 9³",
    "finer-cnn": "CNN at 17³",
    "PCA": "PCA of patches",
    "coarser voxels": "coarser voxels",
}
STYLES = {
    "irreps": (RUN_COLOURS[0], "o-"),
    "finer": (RUN_COLOURS[0], "o--"),
    "cnn": (RUN_COLOURS[1], "o-"),
    "finer-cnn": (RUN_COLOURS[1], "o--"),
}
MARKS = {
    "finer-wide": ("equivariant, irreps at 17³, wider", RUN_COLOURS[0], "*"),
    "fourier1": ("equivariant, regular, L = 1", RUN_COLOURS[0], "D"),
    "fourier2": ("equivariant, regular, L = 2", RUN_COLOURS[0], "d"),
    "quotient2": ("equivariant, quotient, L = 2", RUN_COLOURS[0], "^"),
    "scalars": ("equivariant, scalars at 9³", RUN_COLOURS[0], "s"),
    "finer-scalars": ("equivariant, scalars at 17³", RUN_COLOURS[0], "X"),
    "small-cnn": ("CNN at 9³, 34,000 parameters", RUN_COLOURS[1], "s"),
    "finer-small-cnn": ("CNN at 17³, 13,000 parameters", RUN_COLOURS[1], "*"),
}
PANELS = {
    "r2": "R², all voxels",
    "occupied_r2": "R², occupied voxels",
    "r2_C": "R², carbon",
    "r2_N": "R², nitrogen",
    "r2_O": "R², oxygen",
}
GREY = "#5b5b5b"


def main(expt: Experiment):
    runs = load_runs(expt)
    table = runs.drop(columns=["model", "target"]).rename(columns=PANELS)
    save_table(
        table.round(4),
        expt.expt_dir / f"{expt.date}_rate_distortion.csv",
    )
    with (expt.expt_dir / f"{expt.date}_baselines.csv").open() as file:
        baselines = pd.read_csv(file)
    save_figure(draw(runs, baselines), expt.expt_dir / f"{expt.date}_rate_distortion.svg")


def load_runs(expt: Experiment) -> pd.DataFrame:
    rows = []
    for run in expt.load_runs():
        match = NAME.fullmatch(run.name)
        rows.append(
            {
                "run": run.name,
                "model": match["model"],
                "target": int(match["target"]),
                "compression ratio": round(run.record.sizes["compression_ratio"], 1),
                "parameters": run.record.num_parameters,
                "latent": run.hparams.model.latent,
                "learning rate": run.hparams.optim.learning_rate,
                "seed": run.hparams.seed,
                "validation R²": run.record.best.value,
                **load_metrics(run.paths.test_metrics)[[*PANELS]].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def draw(runs: pd.DataFrame, baselines: pd.DataFrame):
    figure, axes = make_figure(2, 3, figsize=(8.6, 6.2), sharex=True)
    for axis, (key, title) in zip(axes.flat, PANELS.items(), strict=False):
        for name, (colour, marker) in STYLES.items():
            of_model = choose_rate(runs[runs["model"] == name])
            draw_seeds(axis, of_model, key, color=colour, fmt=marker, label=LINES[name])
        for name, style in (("PCA", "-"), ("coarser voxels", ":")):
            line = baselines[baselines["method"] == name]
            x = line["compression ratio"]
            axis.plot(x, line[key], style, color=GREY, lw=1.3, label=LINES[name])
        for name, (label, colour, marker) in MARKS.items():
            of_model = runs[runs["model"] == name]
            draw_seeds(axis, of_model, key, color=colour, fmt=marker, mfc="white", label=label)
        axis.set(title=title, xscale="log", xlim=(1.9, 110), ylim=(-0.05, 1))
        axis.set_xticks([2, 5, 10, 25, 50, 100], ["2", "5", "10", "25", "50", "100"])
        axis.minorticks_off()
    for axis in axes[1, :2]:
        axis.set_xlabel("compression ratio")
    axes[0, 2].tick_params(labelbottom=True)
    axes[0, 2].set_xlabel("compression ratio")
    axes[1, 2].axis("off")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[1, 2].legend(handles, labels, loc="center left", title="64 test crops")
    return figure


def choose_rate(runs: pd.DataFrame) -> pd.DataFrame:
    """At each compression, the runs of the learning rate whose validation is best there."""
    mean = runs.groupby(["target", "learning rate"])["validation R²"].mean()
    best = mean.groupby("target").idxmax()
    return runs[runs.set_index(["target", "learning rate"]).index.isin(best)]


def draw_seeds(axis, runs: pd.DataFrame, key: str, **style):
    """The mean over seeds, and a bar from the worst seed to the best."""
    if runs.empty:
        return
    seeds = runs.groupby("compression ratio")[key].agg(["mean", "min", "max"])
    below, above = seeds["mean"] - seeds["min"], seeds["max"] - seeds["mean"]
    axis.errorbar(
        seeds.index, seeds["mean"], [below, above], ms=4.5, lw=1.6, capsize=3, **style
    )


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
