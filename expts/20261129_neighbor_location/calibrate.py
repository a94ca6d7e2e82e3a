#!/usr/bin/env python3
"""Write a classifier's accuracy and distances of its features for displaced atoms, with intervals.

Usage:
    calibrate.py <model>

<model> is a published classifier, or a run, as experiment/run.
"""

from pathlib import Path

import docopt
import pandas as pd
import torch
from tqdm import tqdm

from atompaint_vae.config.datasets import SEED_OF_SPLIT, resolve_source
from atompaint_vae.data.crops.dataset import make_crops, open_split
from atompaint_vae.figures.tables import save_table
from atompaint_vae.models.neighbor_location.calibration import compare_levels, score_views
from atompaint_vae.models.neighbor_location.robustness import (
    iter_displaced_views,
    list_structures,
)
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.training.weights import load_trained

LEVELS_A = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
NUMS_IMAGES = (100, 200, 400, 1000, 2000, 4000)

NUM_REFERENCES = 2000
REFERENCE_SEED = 3
"""Of other crops of the test structures; no split has it."""

BATCH_SIZE = 16


def main(folder: Path):
    expt = Experiment(folder)
    name = docopt.docopt(__doc__)["<model>"]
    model, hparams = load_trained(name, expt.expt_dir)
    if hparams.kind != "neighbor_location":
        raise ValueError(f"{name}: its kind is {hparams.kind}, not neighbor_location")
    atoms = open_split(resolve_source(hparams, expt.expt_dir), "test")

    def score(levels_A, *, num_samples, seed):
        crops = make_crops(atoms, hparams.data, num_samples=num_samples, seed=seed)
        batches = iter_displaced_views(
            crops, hparams.model.views, levels_A, device=torch.device("cpu"), batch_size=BATCH_SIZE
        )
        bar = tqdm(batches, total=-(-num_samples // BATCH_SIZE), unit="batch", disable=None)
        return score_views(model, (pairs for _, pairs in bar)), list_structures(crops)

    reference, others = score([0.0], num_samples=NUM_REFERENCES, seed=REFERENCE_SEED)
    scores, structures = score(LEVELS_A, num_samples=NUMS_IMAGES[-1], seed=SEED_OF_SPLIT["test"])
    tables = [
        compare_levels(scores, reference[0.0].features, structures, others, num_images=num)
        for num in tqdm(NUMS_IMAGES, unit="table", disable=None)
    ]
    save_table(pd.concat(tables).round(6), expt.expt_dir / f"{expt.date}_calibration.csv")


if __name__ == "__main__":
    main(Path(__file__).parent)
