#!/usr/bin/env python3
"""Write how many hidden atoms of test structures a denoiser paints again, beside random atoms.

Settings that are already in the table aren't measured again.

Usage:
    measure_recovery.py
"""

from itertools import product
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from atompaint_vae.config.datasets import resolve_source
from atompaint_vae.data.crops.dataset import open_split
from atompaint_vae.figures.tables import save_table
from atompaint_vae.models.diffusion.repainting import measure_recovery, summarise_recovery
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.training.weights import load_trained

MODEL = "denoiser-small"
RADII_A = (3.0, 5.0)
NUMS_RESAMPLINGS = (1, 10)
NUM_REGIONS = 33
"""Three of each test structure."""

SETTING = ["radius_A", "resamplings"]


def main(expt: Experiment):
    path = expt.expt_dir / f"{expt.date}_recovery.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=SETTING)
    model, hparams = load_trained(MODEL, expt.expt_dir)
    atoms = open_split(resolve_source(hparams, expt.expt_dir), "test")
    done = set(table[SETTING].itertuples(index=False, name=None))
    settings = set(product(RADII_A, NUMS_RESAMPLINGS)) - done
    for setting in tqdm(sorted(settings), unit="setting", disable=None):
        counts = measure_recovery(
            model,
            hparams.data,
            hparams.model.sampler,
            atoms,
            radius_A=setting[0],
            num_regions=NUM_REGIONS,
            num_resamplings=setting[1],
        )
        rows = summarise_recovery(counts).assign(**dict(zip(SETTING, setting, strict=True)))
        table = pd.concat([table, rows]).sort_values(SETTING, kind="stable")
        save_table(table.round(4), path)


if __name__ == "__main__":
    main(Experiment(Path(__file__).parent))
