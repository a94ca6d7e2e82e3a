#!/usr/bin/env python3
"""Write how well the face is predicted from how full each part of the views is.

Usage:
    occupancy.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.config.datasets import SEED_OF_SPLIT, resolve_source
from atompaint_vae.data.crops.dataset import make_crops, open_split
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.tables import save_table
from atompaint_vae.models.neighbor_location.occupancy import calc_occupancy_accuracies
from atompaint_vae.models.neighbor_location.views import iter_views
from atompaint_vae.records.experiment import Experiment

NUM_PAIRS = 2000
"""Of each split; those of the test are the ones that the runs are tested on."""


def main(folder: Path):
    expt = Experiment(folder)
    hparams = next(iter(expt.load_hparams().values()))
    pairs = []
    for split in ("train", "test"):
        atoms = open_split(resolve_source(hparams, expt.expt_dir), split)
        seed = SEED_OF_SPLIT[split]
        crops = make_crops(atoms, hparams.data, num_samples=NUM_PAIRS, seed=seed)
        pairs.append(iter_views(crops, hparams.model.views))
    accuracies = pd.Series(calc_occupancy_accuracies(*pairs)).rename_axis("views")
    save_table(
        accuracies.round(4).reset_index(name="accuracy"),
        expt.expt_dir / f"{expt.date}_occupancy.csv",
    )


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
