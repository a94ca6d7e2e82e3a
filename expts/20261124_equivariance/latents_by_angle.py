#!/usr/bin/env python3
"""Measure how far the latent turns along as atoms are turned by more and more.

Usage:
    latents_by_angle.py
"""

from pathlib import Path

import pandas as pd
import torch

from atompaint_vae.analysis.orientations import calc_vector_r2, make_turned_images
from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import STARTER, load_split, make_crops
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.nn.rotations import calc_representation
from atompaint_vae.training.weights import load_pretrained, load_pretrained_hparams

MODELS = ("finer-10", "finer-cnn-10")
NUM_CROPS = 16
ANGLES = (0, 2, 5, 10, 15, 20, 30, 45, 60, 70, 80, 85, 90)
"""Degrees, about the z axis."""


def main(folder: Path):
    atoms = load_split(STARTER, "test")
    table = pd.DataFrame({"angle [°]": ANGLES} | {x: measure(x, atoms) for x in MODELS})
    stem = f"{folder.name.split('_')[0]}_latents_by_angle"
    figure, axis = make_figure(figsize=(6, 3))
    for name, colour in zip(MODELS, RUN_COLOURS, strict=False):
        axis.plot(table["angle [°]"], table[name], "o-", color=colour, ms=4, label=name)
    axis.axhline(0, color="#888888", lw=0.8)
    axis.set(xlabel="angle [°]", ylabel="R² of the turned latent", xticks=range(0, 91, 15))
    axis.legend(frameon=False)
    table[[*MODELS]] = table[[*MODELS]].map("{:z.3f}".format)
    save_table(table, folder / f"{stem}.csv")
    save_figure(figure, folder / f"{stem}.svg")


def measure(name, atoms):
    """R² at each angle, of the latent's central voxel."""
    model, hparams = load_pretrained(name), load_pretrained_hparams(name)
    dataset = make_crops(atoms, hparams.data, num_samples=NUM_CROPS, seed=SEED_OF_SPLIT["test"])
    about_z = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    angles_rad = torch.deg2rad(torch.tensor(ANGLES, dtype=torch.float64))
    rotations = torch.stack([torch.linalg.matrix_exp(x * about_z) for x in angles_rad])
    latents = []
    for crop in range(NUM_CROPS):
        images = make_turned_images(dataset, atoms, crop, rotations)
        with torch.no_grad():
            latent = torch.cat([model.encode(x).mean for x in images.split(4)])
        middle = latent.shape[-1] // 2
        latents.append(latent[:, :, middle, middle, middle])
    latents = torch.stack(latents, dim=1)
    matrices = [calc_representation(model.latent.irreps, x).to(latents) for x in rotations]
    pairs = zip(latents, matrices, strict=True)
    return [calc_vector_r2(found, latents[0] @ matrix.T) for found, matrix in pairs]


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
