#!/usr/bin/env python3
"""Draw R² and the bonded share of all runs on test crops, and list their means.

Usage:
    plot_pairs.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.seeds import draw_seeds, format_mean
from atompaint_vae.figures.style import make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics

METRICS = {"r2": "test R²", "bonded": "bonded share of found atoms"}


def main(expt: Experiment):
    runs = pd.DataFrame([describe(run) for run in expt.load_runs()])
    figure, axes = make_figure(1, len(METRICS), figsize=(8, 3), sharey=True)
    for axis, (metric, label) in zip(axes, METRICS.items(), strict=True):
        draw_seeds(axis, runs, metric)
        axis.set_xlabel(label)
    save_figure(figure, expt.expt_dir / f"{expt.date}_pairs.svg")
    table = pd.DataFrame(
        {
            "model": model,
            "seeds": len(seeds),
            "compression ratio": f"{seeds['compression ratio'].iloc[0]:.1f}",
            "parameters": seeds["parameters"].iloc[0],
            "shortest time [min]": f"{seeds['minutes'].min():.0f}",
            **{label: format_mean(seeds[metric]) for metric, label in METRICS.items()},
            "bonded share in test crops": f"{seeds['bonded_true'].iloc[0]:.3f}",
        }
        for model, seeds in runs.groupby("model", sort=False)
    )
    save_table(table, expt.expt_dir / f"{expt.date}_pairs.csv")


def describe(run: RecordedRun) -> dict:
    test = load_metrics(run.paths.test_metrics).iloc[0]
    return {
        "model": run.name.rpartition("-")[0],
        "compression ratio": run.record.sizes["compression_ratio"],
        "parameters": run.record.num_parameters,
        "minutes": load_metrics(run.paths.val_metrics)["elapsed_s"].iloc[-1] / 60,
        **{key: value for key, value in test.items() if key.startswith(("r2", "bonded"))},
    }


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
