#!/usr/bin/env python3
"""Find the atoms of test crops in their images and in a model's reconstructions; write how many.

Usage:
    recover_atoms.py
"""

from pathlib import Path

import pandas as pd
import torch

from atompaint_vae import load_pretrained
from atompaint_vae.analysis.atoms import count_atoms
from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import (
    STARTER,
    collate_crops,
    load_split,
    make_crops,
)
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.tables import make_score_table, save_table
from atompaint_vae.training.weights import BEST, load_pretrained_hparams

NUM_CROPS = 32
MIN_WEIGHTS = (0.3, 0.5, 0.7)


def main(folder: Path):
    model, hparams = load_pretrained(), load_pretrained_hparams()
    seed = SEED_OF_SPLIT["test"]
    dataset = make_crops(
        load_split(STARTER, "test"), hparams.data, num_samples=NUM_CROPS, seed=seed
    )
    counts = {"input": 0, BEST: 0}
    with torch.no_grad():
        for sample in dataset:
            image = dataset.make_images(collate_crops([sample]))
            counts["input"] += count_atoms(image[0], sample[1], dataset)
            counts[BEST] += count_atoms(
                model(image)[0], sample[1], dataset, min_weights=MIN_WEIGHTS
            )
    table = make_score_table(pd.concat(counts, names=["image"]))
    save_table(table, folder / f"{folder.name.split('_')[0]}_recovered_atoms.csv")


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
