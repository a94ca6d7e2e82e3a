#!/usr/bin/env python3
"""Draw how many hidden atoms are painted again, beside random atoms.

Usage:
    plot_recovery.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.models.diffusion.repainting import GAIN

MEASURES = {"recall": "position within 1 Å", "element_recall": "and the right element"}


def main(folder: Path):
    table = pd.read_csv(folder / "20261130_recovery.csv")
    figure, axes = make_figure(1, len(MEASURES), figsize=(8, 3.2), sharey=True)
    settings = [*table.groupby(["radius_A", "resamplings"]).groups]
    for axis, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        shown = table[(table["measure"] == measure) & (table["atoms"] != GAIN)]
        for i, (atoms, rows) in enumerate(shown.groupby("atoms", sort=False)):
            rows = rows.set_index(["radius_A", "resamplings"]).loc[settings]
            ys = [row + 0.15 * (i - 1) for row in range(len(settings))]
            axis.hlines(ys, rows["low"], rows["high"], color=RUN_COLOURS[i], lw=1.5)
            axis.plot(rows["value"], ys, "o", color=RUN_COLOURS[i], ms=5, label=atoms)
        axis.set(xlabel="share of the hidden atoms", title=title)
        axis.set_xlim(left=0)
        axis.grid(False, axis="y")
    labels = [f"{radius:g} Å, {repeats:g}×" for radius, repeats in settings]
    axes[0].set_yticks(range(len(settings)), labels)
    axes[0].set_ylim(len(settings) - 0.5, -0.5)
    axes[0].legend()
    save_figure(figure, folder / "20261130_recovery.svg")


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
