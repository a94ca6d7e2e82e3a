#!/usr/bin/env python3
"""Draw how well a denoiser repairs the latents of test crops, to which noise was added.

Usage:
    plot_denoising.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.records.experiment import Experiment

LATENTS = ("noisy", "denoised once", "sampled")


def main(expt: Experiment):
    table = pd.read_csv(expt.expt_dir / f"{expt.date}_denoising.csv")
    figure, axes = make_figure(figsize=(6, 3.6))
    for latents, colour in zip(LATENTS, RUN_COLOURS, strict=False):
        rows = table[(table["latents"] == latents) & (table["sigma"] > 0)]
        axes.plot(rows["sigma"], rows["bonded"], "o-", ms=4, color=colour, label=latents)
        axes.fill_between(rows["sigma"], rows["low"], rows["high"], color=colour, alpha=0.15, lw=0)
    clean = table.loc[table["sigma"] == 0, "bonded"].item()
    axes.axhline(clean, color="#5b5b5b", lw=1, ls="--", label="without noise")
    axes.set(
        xscale="log", ylim=(0, 1), xlabel="noise level σ of the added noise",
        ylabel="bonded share of the decoded atoms",
    )  # fmt: skip
    axes.legend(frameon=False)
    save_figure(figure, expt.expt_dir / f"{expt.date}_denoising.svg")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
