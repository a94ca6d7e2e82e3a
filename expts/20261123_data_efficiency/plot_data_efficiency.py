#!/usr/bin/env python3
"""Draw R² against the number of structures to train on, and write the table.

Those with all 60 structures are runs of 20261123_rate_distortion.

Usage:
    plot_data_efficiency.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics

ALL = ("20261123_rate_distortion", ("irreps-10", "cnn-10-rate-0.01"))
NUM_ALL = 60
LABELS = {"rotation": "equivariant", "none": "CNN"}


def main(expt: Experiment):
    all_expt = Experiment(expt.expt_dir.with_name(ALL[0]))
    of_all = [run for run in all_expt.load_runs() if run.name in ALL[1]]
    table = pd.DataFrame([describe(run) for run in [*expt.load_runs(), *of_all]])
    table = table.sort_values(["model", "structures"]).round(4)
    save_table(table, expt.expt_dir / f"{expt.date}_data_efficiency.csv")
    save_figure(draw(table), expt.expt_dir / f"{expt.date}_data_efficiency.svg")


def describe(run: RecordedRun) -> dict:
    test = load_metrics(run.paths.test_metrics).iloc[0]
    last = load_metrics(run.paths.train_metrics).iloc[-20:]
    return {
        "run": run.name,
        "model": LABELS[run.hparams.model.symmetry],
        "structures": run.hparams.data.num_train_structures or NUM_ALL,
        "test R²": test["r2"],
        "test data loss": round(test["data_loss"]),
        "training data loss at the end": round(last["data_loss"].mean()),
    }


def draw(table: pd.DataFrame):
    figure, axes = make_figure(1, 2, figsize=(7.4, 3.2))
    for colour, (model, runs) in zip(RUN_COLOURS, table.groupby("model"), strict=False):
        number, style = runs["structures"], {"color": colour, "lw": 1.6}
        axes[0].plot(number, runs["test R²"], "o-", **style, label=model)
        axes[1].plot(number, runs["test data loss"], "o-", **style, label=f"{model}, test crops")
        axes[1].plot(
            number, runs["training data loss at the end"], "o:", mfc="white", **style,
            label=f"{model}, training crops",
        )  # fmt: skip
    axes[0].set(title="Test R²", xlabel="training structures", xscale="log")
    axes[1].set(title="Data loss", xlabel="training structures", xscale="log", ylim=(0, None))
    for axis in axes:
        axis.set_xticks(sorted(set(table["structures"])), sorted(set(table["structures"])))
        axis.minorticks_off()
        axis.legend(loc="best")
    return figure


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
