#!/usr/bin/env python3
"""Measure whether the latent of turned atoms is the turned latent.

Usage:
    latents.py
"""

from pathlib import Path

import pandas as pd
import torch

from atompaint_vae.analysis.orientations import (
    calc_linear_r2,
    calc_vector_r2,
    make_turned_images,
    sample_rotations,
)
from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import STARTER, load_split, make_crops
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.nn.rotations import (
    calc_representation,
    make_octahedral_group,
    rotate_channels,
    rotate_voxels,
)
from atompaint_vae.training.weights import load_pretrained, load_pretrained_hparams

MODELS = ("finer-10", "finer-cnn-10")
NUM_CROPS = 32


def main(folder: Path):
    atoms = load_split(STARTER, "test")
    table = pd.concat([measure(name, atoms) for name in MODELS], ignore_index=True)
    figure = plot(table)
    table["R²"] = table["R²"].map("{:z.3f}".format)
    stem = f"{folder.name.split('_')[0]}_latents"
    save_table(table, folder / f"{stem}.csv")
    save_figure(figure, folder / f"{stem}.svg")


def measure(name, atoms):
    """R² of one model, a row for each kind of rotation, part of the latent and prediction."""
    model, hparams = load_pretrained(name), load_pretrained_hparams(name)
    dataset = make_crops(atoms, hparams.data, num_samples=NUM_CROPS, seed=SEED_OF_SPLIT["test"])
    irreps = model.latent.irreps
    cube = make_octahedral_group()
    free = sample_rotations(len(cube), seed=0)
    upright = torch.eye(3, dtype=torch.float64)[None]
    before, of_cube, of_free = [], [], []
    for crop in range(NUM_CROPS):
        for latents, rotations in ((before, upright), (of_cube, cube), (of_free, free)):
            images = make_turned_images(dataset, atoms, crop, rotations)
            with torch.no_grad():
                latents.append(torch.cat([model.encode(x).mean for x in images.split(4)]))
    before, of_cube, of_free = torch.cat(before), torch.stack(of_cube), torch.stack(of_free)

    turned = [rotate_voxels(rotate_channels(before, irreps, x), x) for x in cube]
    moved = [rotate_voxels(before, x) for x in cube]
    found, expected, start = (
        list_vectors(x) for x in (of_cube.transpose(0, 1), torch.stack(turned), torch.stack(moved))
    )
    middle = before.shape[-1] // 2
    centre = before[:, :, middle, middle, middle]
    matrices = [calc_representation(irreps, x).to(centre) for x in free]
    found_at_centre = of_free.transpose(0, 1)[..., middle, middle, middle]
    expected_at_centre = torch.stack([centre @ x.T for x in matrices])

    def compare(rotations, found, expected):
        parts = {"all": slice(None)}
        if irreps.lmax:
            parts |= {f"l = {l}": list_channels(irreps, l) for l in range(irreps.lmax + 1)}
        return [
            {
                "rotations": rotations,
                "latent": part,
                "prediction": "turned latent",
                "R²": calc_vector_r2(
                    found[..., x].flatten(0, 1), expected[..., x].flatten(0, 1)
                ),
            }
            for part, x in parts.items()
        ]  # fmt: skip

    linear = [calc_linear_r2(x, y) for x, y in zip(found, start, strict=True)]
    rows = [
        *compare("cube", found, expected),
        {
            "rotations": "cube", "latent": "all", "prediction": "any matrix",
            "R²": sum(linear) / len(linear),
        },
        *compare("free", found_at_centre, expected_at_centre),
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(model=name)[["model", *rows[0]]]


def list_vectors(latents):
    """[rotations, crops, channels, x, y, z] → [rotations, crops and voxels, channels]"""
    return latents.movedim(2, -1).flatten(1, -2)


def list_channels(irreps, l):
    channels = range(irreps.dim)
    parts = zip(irreps, irreps.slices(), strict=True)
    return [i for (_, irrep), part in parts if irrep.l == l for i in channels[part]]


def plot(table):
    figure, axis = make_figure(figsize=(7, 3.2))
    labels = table["rotations"] + ", " + table["latent"] + ", " + table["prediction"]
    for name, colour in zip(MODELS, RUN_COLOURS, strict=False):
        is_own = table["model"] == name
        axis.plot(table.loc[is_own, "R²"], labels[is_own], "o", color=colour, label=name)
    axis.axvline(0, color="#888888", lw=0.8)
    axis.set(xlabel="R² of the prediction")
    axis.invert_yaxis()
    axis.legend()
    return figure


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
