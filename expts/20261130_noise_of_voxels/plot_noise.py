#!/usr/bin/env python3
"""Draw the bonded share of samples and the losses for each noise of training, and list them.

Usage:
    plot_noise.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.seeds import draw_means, draw_seeds, list_means
from atompaint_vae.figures.style import make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.models.diffusion.kind import BANDS
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics

BASE = "20261129_latents_or_voxels", "voxels-short"


def main(expt: Experiment):
    others = Experiment(expt.expt_dir.with_name(BASE[0])).load_runs()
    runs = [run for run in others if run.name.startswith(BASE[1])] + expt.load_runs()
    table = pd.DataFrame([describe(run) for run in runs if run.paths.test_metrics.exists()])
    table = table.sort_values(["P_mean", "seed"])
    table["model"] = "mean " + table["P_mean"].map("{:g}".format).str.replace("-", "−")
    figure, (left, right) = make_figure(1, 2, figsize=(8, 3.2))
    colours = draw_seeds(left, table, "bonded")
    left.set_xlabel("bonded share of atoms in samples")
    draw_means(right, table, BANDS, colours)
    labels = [band.removeprefix("loss_").replace("_", "–") for band in BANDS]
    right.set(yscale="log", xticklabels=labels, xlabel="noise level σ of the test", ylabel="loss")
    save_figure(figure, expt.expt_dir / f"{expt.date}_noise.svg")
    scores = ["bonded", "clashing", "nearest_A", "atoms_nm3", "band_loss", *BANDS]
    save_table(list_means(table, scores), expt.expt_dir / f"{expt.date}_noise.csv")


def describe(run: RecordedRun) -> dict:
    test = load_metrics(run.paths.test_metrics).iloc[0]
    return {"P_mean": run.hparams.loss.P_mean, "seed": run.hparams.seed, **test}


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
