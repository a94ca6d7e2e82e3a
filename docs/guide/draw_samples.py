#!/usr/bin/env python3
"""Draw what the published model makes of an image, of its posterior and of the prior.

Usage:
    draw_samples.py
"""

from pathlib import Path

import pandas as pd
import torch

import atompaint_vae
from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import (
    STARTER,
    collate_crops,
    load_split,
    make_crops,
)
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.slices import colour_slab
from atompaint_vae.figures.style import make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.training.weights import load_pretrained_hparams

NUM_CROPS = 16
MOSTLY_FILLED = 0.5


def main(folder: Path):
    kinds = make_images()
    figure, axes = make_figure(1, len(kinds), figsize=(8, 2.5))
    for axis, (kind, images) in zip(axes, kinds.items(), strict=True):
        axis.imshow(colour_slab(images[0].numpy()), interpolation="nearest")
        axis.set(title=kind, xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[["top", "right"]].set_visible(True)
    save_figure(figure, folder / "samples.svg")
    rows = [
        {
            "images": kind,
            "mean": f"{images.mean():.4f}",
            "standard deviation": f"{images.std():.4f}",
            "voxels more than half filled [%]": f"{100 * count_filled(images):.2g}",
        }
        for kind, images in kinds.items()
    ]
    save_table(pd.DataFrame(rows), folder / "samples.csv")


def make_images():
    model, hparams = atompaint_vae.load_pretrained(), load_pretrained_hparams()
    atoms = load_split(STARTER, "test")
    crops = make_crops(atoms, hparams.data, num_samples=NUM_CROPS, seed=SEED_OF_SPLIT["test"])
    images = crops.make_images(collate_crops([crops[i] for i in range(NUM_CROPS)]))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        posterior = model.encode(images)
        noise = torch.randn(posterior.mean.shape, generator=generator)
        return {
            "test crop": images,
            "posterior's mean": model.decode(posterior.mean),
            "posterior's sample": model.decode(posterior.sample(noise)),
            "prior's sample": model.sample(NUM_CROPS, generator=generator),
        }


def count_filled(images):
    """The share of voxels that atoms, of all channels, fill by more than a half."""
    return (images.sum(1) > MOSTLY_FILLED).float().mean().item()


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
