#!/usr/bin/env python3
"""Draw input and reconstruction of held-out crops side by side.

Usage:
    plot_slices.py
"""

from pathlib import Path

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.slices import plot_slices
from atompaint_vae.figures.style import save_figure
from atompaint_vae.records.experiment import Experiment


def main(expt: Experiment):
    for run in expt.load_runs():
        save_figure(plot_slices(run.paths), expt.expt_dir / f"{expt.date}_slices_{run.name}.svg")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
