#!/usr/bin/env python3
"""Draw how much the reconstructions of test crops are filled in, and count their solid blocks.

Usage:
    plot_blocks.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from atompaint_vae.analysis.blocks import MIN_FILLED
from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.records.metrics import load_metrics


def main(expt: Experiment):
    crops = pd.read_csv(expt.expt_dir / f"{expt.date}_crops.csv")
    runs = {run.name: run for run in expt.load_runs()}
    crops["model"] = crops["run"].str.replace(r"-\d+$", "", regex=True)
    save_figure(plot(crops), expt.expt_dir / f"{expt.date}_blocks.svg")
    save_table(make_table(crops, runs), expt.expt_dir / f"{expt.date}_blocks.csv")


def make_table(crops: pd.DataFrame, runs: dict) -> pd.DataFrame:
    """A row for each model; the limits are those of Clopper and Pearson."""
    rows = []
    for model, own in crops.groupby("model", sort=False):
        has_block = own.groupby("structure")["blocks"].sum() > 0
        interval = binomtest(int(has_block.sum()), len(has_block)).proportion_ci(method="exact")
        r2 = [load_metrics(runs[x].paths.test_metrics)["r2"].iloc[0] for x in own["run"].unique()]
        rows.append({
            "model": model,
            "seeds": own["run"].nunique(),
            "test R²": f"{np.mean(r2):.3f}",
            "crops": len(own),
            "with a block": int((own["blocks"] > 0).sum()),
            "structures": len(has_block),
            "with a block, share of structures": (
                f"{has_block.mean():.2f} [{interval.low:.2f}, {interval.high:.2f}]"
            ),
            "highest least filled": f"{own['least_filled'].max():.3f}",
        })  # fmt: skip
    return pd.DataFrame(rows)


def plot(crops: pd.DataFrame):
    """Shares of crops by their cube of highest least filled voxel, a line for each run."""
    figure, axis = make_figure(figsize=(6.4, 3.2))
    models = dict(zip(crops["model"].unique(), RUN_COLOURS, strict=False))
    for (model, _), own in crops.groupby(["model", "run"], sort=False):
        shares = 1 - np.arange(len(own)) / len(own)
        axis.step(np.sort(own["least_filled"]), shares, where="pre", color=models[model], lw=1.2)
    for model, colour in models.items():
        axis.plot([], [], color=colour, label=model)
    axis.axvline(MIN_FILLED, color="#888888", ls=":")
    axis.annotate("solid block", (MIN_FILLED, 0.95), xycoords=("data", "axes fraction"),
                  ha="right", va="top", rotation=90, fontsize="small")  # fmt: skip
    axis.set(xlabel="least filled voxel of a crop's most evenly filled cube, filled fraction",
             ylabel="share of crops at or above", ylim=(0, 1.02))  # fmt: skip
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
