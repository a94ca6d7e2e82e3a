#!/usr/bin/env python3
"""Disturb inputs, latents and a model's normalisation; write which of it makes solid blocks.

Usage:
    provoke_blocks.py
"""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from atompaint_vae import load_pretrained
from atompaint_vae.analysis.blocks import calc_filled_range, find_solid_blocks
from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import (
    STARTER,
    collate_crops,
    load_split,
    make_crops,
)
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.tables import save_table
from atompaint_vae.training.weights import BEST, load_pretrained_hparams

NUM_CROPS = 6
CROWDED_A = 5.0
"""Radius of the ball at the crop's centre in which atoms are repeated."""


@torch.no_grad()
def main(folder: Path):
    model, hparams = load_pretrained(), load_pretrained_hparams()
    seed = SEED_OF_SPLIT["test"]
    dataset = make_crops(
        load_split(STARTER, "test"), hparams.data, num_samples=NUM_CROPS, seed=seed
    )
    training = deepcopy(model).train()
    rows = []
    for sample in dataset:
        batch = collate_crops([sample])
        generator = torch.Generator().manual_seed(sample[0])
        for name, image, reconstruction in disturb(model, training, dataset, batch, generator):
            given, made = image[0].numpy(), reconstruction[0].numpy()
            rows.append(
                {
                    "disturbed": name,
                    "solid blocks": len(find_solid_blocks(given, made, dataset.resolution_A)),
                    "least filled, input": calc_highest_least(given, dataset),
                    "least filled, reconstruction": calc_highest_least(made, dataset),
                }
            )
    groups = pd.DataFrame(rows).groupby("disturbed", sort=False)
    table = groups.max()
    table["solid blocks"] = groups["solid blocks"].sum()
    for column in table.columns[1:]:
        table[column] = table[column].map("{:z.2f}".format)
    table.insert(0, "crops", groups.size())
    save_table(table.reset_index(), folder / f"{folder.name.split('_')[0]}_provoked.csv")


def disturb(model, training, dataset, batch, generator):
    """Name, input and reconstruction of each way to disturb the model."""

    def draw_noise(like):
        return torch.randn(like.shape, generator=generator)

    image = dataset.make_images(batch)
    posterior = model.encode(image)
    latent = posterior.mean
    yield f"nothing ({BEST})", image, model.decode(latent)
    yield "latent: a sample of the posterior", image, model.decode(
        posterior.sample(draw_noise(latent))
    )
    for std in (np.log(2), 2):
        noisy = latent + std * draw_noise(latent)
        yield f"latent: noise, standard deviation {std:.2f}", image, model.decode(noisy)
    for factor in (4, 10):
        middle = latent.shape[-1] // 2
        scaled = latent.clone()
        scaled[..., middle, middle, middle] *= factor
        yield f"latent: middle voxel × {factor}", image, model.decode(scaled)
    for factor in (2, 3):
        yield f"latent: all × {factor}", image, model.decode(factor * latent)
    yield "normalisation: statistics of the crop", image, training(image)
    yield "input: × 2", 2 * image, model(2 * image)
    yield "input: + 0.1 in every voxel of C", *(
        f(image + 0.1 * torch.eye(len(image[0]))[0].view(-1, 1, 1, 1)) for f in (lambda x: x, model)
    )
    for copies in (2, 4, 8):
        crowded = dataset.make_images(repeat_atoms(batch, copies, generator))
        yield f"input: atoms at the centre {copies} times, 1 Å apart", crowded, model(crowded)


def repeat_atoms(batch, copies, generator):
    """The batch of one crop, the atoms at its centre joined by displaced copies."""
    near = batch.coords_A.norm(dim=1) < CROWDED_A
    repeated_A = batch.coords_A[near].repeat(copies - 1, 1)
    noise_A = torch.randn(repeated_A.shape, generator=generator) / 3**0.5
    channels = torch.cat([batch.channels, batch.channels[near].repeat(copies - 1)])
    return batch._replace(
        coords_A=torch.cat([batch.coords_A, repeated_A + noise_A]),
        channels=channels,
        image_index=torch.zeros_like(channels),
    )


def calc_highest_least(image, dataset):
    """The highest filled fraction of a least filled voxel of a cube."""
    return float(calc_filled_range(image.sum(axis=0), dataset.resolution_A)[0].max())


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
