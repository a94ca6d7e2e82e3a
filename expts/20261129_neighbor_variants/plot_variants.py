#!/usr/bin/env python3
"""Draw the accuracy of all runs, and list their means and differences.

Usage:
    plot_variants.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.seeds import draw_seeds, format_mean
from atompaint_vae.figures.style import make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics

BASE = "gate"
CHANCE = 1 / 6


def main(expt: Experiment):
    runs = pd.DataFrame([describe(run) for run in expt.load_runs()])
    figure, axis = make_figure(figsize=(6, 3.6))
    axis.axvline(CHANCE, color="#5b5b5b", lw=1.1, ls=":", zorder=1)
    draw_seeds(axis, runs, "accuracy")
    axis.set(xlabel="test accuracy", xlim=(0.1, None))
    save_figure(figure, expt.expt_dir / f"{expt.date}_variants.svg")
    wide = runs.pivot(index="seed", columns="model", values="accuracy")
    table = pd.DataFrame(
        {
            "model": model,
            "seeds": len(seeds),
            "parameters": seeds["parameters"].iloc[0],
            "shortest time [s]": f"{seeds['time_s'].min():.0f}",
            "accuracy": format_mean(seeds["accuracy"]),
            f"accuracy − {BASE}": format_difference(wide[model] - wide[BASE]),
            "best validation": format_mean(seeds["best"]),
        }
        for model, seeds in runs.groupby("model", sort=False)
    )
    save_table(table, expt.expt_dir / f"{expt.date}_variants.csv")


def describe(run: RecordedRun) -> dict:
    test = load_metrics(run.paths.test_metrics).iloc[0]
    return {
        "model": run.name.rpartition("-")[0],
        "seed": run.hparams.seed,
        "parameters": run.record.num_parameters,
        "time_s": load_metrics(run.paths.val_metrics)["elapsed_s"].iloc[-1],
        "best": run.record.best.value,
        **test[["accuracy", "accuracy_low", "accuracy_high"]],
    }


def format_difference(values: pd.Series) -> str:
    """Return the mean of differences between runs of the same seed; blank for the base itself."""
    return format_mean(values.dropna()) if values.any() else ""


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
