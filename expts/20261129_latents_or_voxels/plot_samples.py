#!/usr/bin/env python3
"""Draw how good samples are against the time of training, on latents and on voxels.

Usage:
    plot_samples.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics

SCORES = {
    "bonded": "bonded share",
    "clashing": "clashing share",
    "atoms_nm3": "atoms per volume [atoms/nm³]",
}
TIMES_MIN = (5, 10, 20, 50, 100)
CHANCE = "atoms displaced by 1 Å"


def main(expt: Experiment):
    table = pd.DataFrame([describe(run) for run in expt.load_runs()])
    save_table(table.round(4), expt.expt_dir / f"{expt.date}_samples.csv")
    scores = pd.read_csv(expt.expt_dir / f"{expt.date}_scores.csv", index_col="images")
    figure = draw(table, chance=scores["bonded"][CHANCE])
    save_figure(figure, expt.expt_dir / f"{expt.date}_samples.svg")


def describe(run: RecordedRun) -> dict:
    test = load_metrics(run.paths.test_metrics).iloc[0]
    return {
        "run": run.name,
        "data": run.name.partition("-")[0],
        "steps": run.record.best.step,
        "minutes": load_metrics(run.paths.val_metrics)["elapsed_s"].iloc[-1] / 60,
        "sample_s": test["sample_s"],
        **test[[*SCORES, "bonded_low", "bonded_high"]],
        "bonded of test crops": test["bonded_true"],
        "bonded of reconstructions": test.get("bonded_reconstructed"),
        "atoms_nm3 of test crops": test["atoms_nm3_true"],
    }


def draw(table: pd.DataFrame, *, chance: float):
    figure, axes = make_figure(1, len(SCORES), figsize=(9, 3.2))
    colours = dict(zip(("latents", "voxels"), RUN_COLOURS, strict=False))
    for ax, (score, label) in zip(axes, SCORES.items(), strict=True):
        for data, runs in table.groupby("data"):
            ax.plot(
                runs["minutes"], runs[score], "o", color=colours[data], ms=5, alpha=0.8,
                label=data,
            )  # fmt: skip
            means = runs.groupby("steps")[["minutes", score]].mean()
            ax.plot(means["minutes"], means[score], color=colours[data], lw=1.2)
        ax.set(xscale="log", xlabel="time of training [min]", ylabel=label, xticks=TIMES_MIN)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.minorticks_off()
    line = {"color": "#5b5b5b", "lw": 1.1, "zorder": 1}
    axes[0].axhline(table["bonded of test crops"].mean(), **line, ls="-", label="test crops")
    axes[0].axhline(
        table["bonded of reconstructions"].mean(), **line, ls="--", label="reconstructions"
    )
    axes[0].axhline(chance, **line, ls=":", label=CHANCE)
    axes[2].axhline(table["atoms_nm3 of test crops"].mean(), **line, ls="-")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
