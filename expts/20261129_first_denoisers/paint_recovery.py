#!/usr/bin/env python3
"""Write how many hidden atoms of test structures the finished runs recover, beside random atoms.

Usage:
    paint_recovery.py
"""

from pathlib import Path

import pandas as pd
from tqdm import tqdm

from atompaint_vae.config.datasets import resolve_source
from atompaint_vae.data.crops.dataset import open_split
from atompaint_vae.figures.tables import save_table
from atompaint_vae.models.diffusion.repainting import measure_recovery, summarise_recovery
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.training.weights import load_trained

RADII_A = (3.0, 5.0)
NUMS_RESAMPLINGS = (1, 10)
NUM_REGIONS = 66
"""Six of each test structure."""


def main(expt: Experiment):
    settings = [
        (run.name, radius_A, num_resamplings)
        for run in expt.load_runs()
        for radius_A in RADII_A
        for num_resamplings in NUMS_RESAMPLINGS
    ]
    tables = []
    for name, radius_A, num_resamplings in tqdm(settings, unit="setting", disable=None):
        model, hparams = load_trained(f"{expt.name}/{name}", expt.expt_dir)
        counts = measure_recovery(
            model,
            hparams.data,
            hparams.model.sampler,
            open_split(resolve_source(hparams, expt.expt_dir), "test"),
            radius_A=radius_A,
            num_regions=NUM_REGIONS,
            num_resamplings=num_resamplings,
        )
        setting = {"run": name, "radius_A": radius_A, "resamplings": num_resamplings}
        tables.append(summarise_recovery(counts).assign(**setting))
    table = pd.concat(tables).set_index(list(setting)).reset_index()
    save_table(table.round(4), expt.expt_dir / f"{expt.date}_paint_recovery.csv")


if __name__ == "__main__":
    main(Experiment(Path(__file__).parent))
