#!/usr/bin/env python3
"""Measure how much of images and of latents is painted, for spheres of several radii.

Usage:
    measure_painting.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import STARTER, load_split, make_crops
from atompaint_vae.data.structures.regions import Atoms
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.tables import save_table
from atompaint_vae.models.diffusion.denoiser import Denoiser
from atompaint_vae.models.diffusion.objective import DiffusionObjective
from atompaint_vae.models.diffusion.painting import TOLERANCE, Painter
from atompaint_vae.training.weights import load_pretrained, load_pretrained_hparams

MODELS = ("finer-small-8", "finer-wide-10")
RADII_A = range(3, 9)
NUM_CROPS = 3


def main(folder: Path):
    tables = [measure(name) for name in MODELS]
    save_table(pd.concat(tables), folder / "painting.csv")


def measure(name: str) -> pd.DataFrame:
    vae, data = load_pretrained(name), load_pretrained_hparams(name).data
    # Untrained: what is painted depends on the autoencoder and the scale of its latents alone.
    model = Denoiser(["2x0e"], num_channels=6, size_voxels=data.size_voxels, autoencoder=vae)
    train, test = (
        make_crops(load_split(STARTER, x), data, num_samples=1, seed=SEED_OF_SPLIT[x])
        for x in ("train", "test")
    )
    DiffusionObjective.calibrate(model.eval(), train)
    return pd.DataFrame([
        {
            "autoencoder": name,
            "crop [Å]": f"{data.size_voxels * data.resolution_A:g}",
            "radius [Å]": radius_A,
            **average_shares(model, data, [test[i][1] for i in range(NUM_CROPS)], radius_A),
        }
        for radius_A in RADII_A
    ])  # fmt: skip


def average_shares(model, data, crops, radius_A: float) -> dict[str, str]:
    rows = []
    for crop in crops:
        atoms = Atoms(crop.coords_A.astype(np.float64), crop.channels)
        is_hidden = np.linalg.norm(atoms.coords_A, axis=1) < radius_A
        painter = Painter(model, data, atoms.select(~is_hidden), radius_A)
        change = painter.calc_change(atoms.select(is_hidden))
        shares = painter.is_painted, painter.is_painted_data, change > TOLERANCE
        missed = shares[2][~painter.is_painted_data]
        rows.append([x.double().mean().item() for x in (*shares[:2], missed)])
    names = "painted voxels [%]", "painted latents [%]", "changed known latents [%]"
    means = 100 * np.mean(rows, axis=0)
    return {x: f"{value:.2g}" for x, value in zip(names, means, strict=True)}


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
