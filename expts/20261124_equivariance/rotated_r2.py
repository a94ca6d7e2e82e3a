#!/usr/bin/env python3
"""Measure R² of the same atoms in many orientations.

Usage:
    rotated_r2.py
"""

from pathlib import Path

import pandas as pd
import torch

from atompaint_vae.analysis.orientations import (
    calc_sphere_r2,
    make_turned_images,
    sample_rotations,
)
from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import STARTER, load_split, make_crops
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.nn.rotations import make_octahedral_group
from atompaint_vae.training.weights import load_pretrained, load_pretrained_hparams

MODELS = ("finer-10", "finer-cnn-10")
NUM_CROPS = 24


def main(folder: Path):
    atoms = load_split(STARTER, "test")
    r2 = pd.concat([measure(name, atoms) for name in MODELS], ignore_index=True)
    stem = f"{folder.name.split('_')[0]}_rotated_r2"
    save_table(summarize(r2), folder / f"{stem}.csv")
    save_figure(plot(r2), folder / f"{stem}.svg")


def measure(name, atoms):
    """R² of each crop in each orientation, a row each."""
    model, hparams = load_pretrained(name), load_pretrained_hparams(name)
    dataset = make_crops(atoms, hparams.data, num_samples=NUM_CROPS, seed=SEED_OF_SPLIT["test"])
    cube = make_octahedral_group()
    kinds = {"cube": cube, "free": sample_rotations(len(cube), seed=0)}
    tables = []
    for crop in range(NUM_CROPS):
        for kind, rotations in kinds.items():
            images = make_turned_images(dataset, atoms, crop, rotations)
            with torch.no_grad():
                reconstructions = torch.cat([model(x) for x in images.split(4)])
            r2 = calc_sphere_r2(images, reconstructions).tolist()
            tables.append(pd.DataFrame({"crop": crop, "rotations": kind, "r2": r2}))
    return pd.concat(tables).assign(model=name)


def summarize(r2):
    """Mean over all; spread within a crop, averaged over crops; spread between the crops' means."""
    rows = []
    for (name, kind), group in r2.groupby(["model", "rotations"], sort=False):
        of_crop = group.groupby("crop")["r2"].agg(["mean", "std", "min", "max"])
        rows.append(
            {
                "model": name,
                "rotations": kind,
                "mean R²": f"{of_crop['mean'].mean():.4f}",
                "sd over orientations": f"{of_crop['std'].mean():.1e}",
                "largest range of a crop": f"{(of_crop['max'] - of_crop['min']).max():.1e}",
                "sd over crops": f"{of_crop['mean'].std():.1e}",
                "crops": len(of_crop),
                "orientations": len(group) // len(of_crop),
            }
        )
    return pd.DataFrame(rows)


def plot(r2):
    figure, axes = make_figure(1, 2, figsize=(8, 3.6), sharey=True)
    titles = {"cube": "24 rotations of the cube", "free": "24 free rotations"}
    first = r2[r2["model"] == MODELS[0]]
    order = first.groupby("crop")["r2"].mean().sort_values().index
    rank = {crop: i for i, crop in enumerate(order, 1)}
    for axis, (kind, title) in zip(axes, titles.items(), strict=True):
        for name, colour in zip(MODELS, RUN_COLOURS, strict=False):
            rows = r2[(r2["model"] == name) & (r2["rotations"] == kind)]
            axis.plot(
                rows["crop"].map(rank), rows["r2"], "_", color=colour, ms=7, alpha=0.5, label=name
            )
        axis.set(title=title, xlabel="test crop, by R² of the first model")
    axes[0].set(ylabel="R² within the inscribed sphere")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
