#!/usr/bin/env python3
"""Write the table of this experiment's models, latents and compression ratios.

Usage:
    compression_ratios.py
"""

from pathlib import Path

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.tables import make_compression_table, save_table
from atompaint_vae.records.experiment import Experiment


def main(expt: Experiment):
    table = make_compression_table(expt.load_runs())
    save_table(table, expt.expt_dir / f"{expt.date}_compression_ratios.csv")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
