#!/usr/bin/env python3
"""Draw the loss curves of this experiment's runs, from their records.

Usage:
    plot_curves.py
"""

from pathlib import Path

from atompaint_vae.figures.curves import plot_curves
from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import save_figure
from atompaint_vae.records.experiment import Experiment


def main(expt: Experiment):
    save_figure(plot_curves(expt.load_runs()), expt.expt_dir / f"{expt.name}.svg")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
