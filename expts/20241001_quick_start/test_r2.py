#!/usr/bin/env python3
"""Write the table of R² on the test structures, overall and for each channel.

Usage:
    test_r2.py
"""

from pathlib import Path

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.tables import make_channel_table, save_table
from atompaint_vae.records.experiment import Experiment


def main(expt: Experiment):
    table = make_channel_table(expt.load_runs())
    save_table(table, expt.expt_dir / f"{expt.date}_test_r2.csv")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
