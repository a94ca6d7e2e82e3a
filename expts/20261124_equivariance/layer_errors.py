#!/usr/bin/env python3
"""Measure how nearly each layer turns with its input, before and after training.

Usage:
    layer_errors.py
"""

import re
from pathlib import Path

import pandas as pd
import torch

from atompaint_vae.analysis.orientations import sample_rotations
from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import (
    STARTER,
    collate_crops,
    load_split,
    make_crops,
)
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.nn.equivariance import calc_layer_errors
from atompaint_vae.nn.rotations import make_octahedral_group
from atompaint_vae.training.plan import build_model
from atompaint_vae.training.weights import load_pretrained, load_pretrained_hparams

MODELS = ("finer-10", "finer-cnn-10")
NUM_FREE = 6
LAYER = r"(encoder|decoder)\.(blocks\.\d+\.(conv|nonlinearity)|head)"


def main(folder: Path):
    atoms = load_split(STARTER, "test")
    table = pd.concat([measure(name, atoms) for name in MODELS], ignore_index=True)
    figure = plot(table)
    for column in ("cube", "free", "free sd"):
        table[column] = table[column].map("{:.2g}".format)
    stem = f"{folder.name.split('_')[0]}_layer_errors"
    save_table(table, folder / f"{stem}.csv")
    save_figure(figure, folder / f"{stem}.svg")


def measure(name, atoms):
    """Errors of each layer of one model, fresh and trained."""
    hparams = load_pretrained_hparams(name)
    dataset = make_crops(atoms, hparams.data, num_samples=1, seed=SEED_OF_SPLIT["test"])
    image = dataset.make_images(collate_crops([dataset[0]]))
    trained = load_pretrained(name)
    torch.manual_seed(hparams.seed)
    fresh = build_model(hparams, image_std=trained.image_std.item()).eval()
    return pd.concat(
        [
            calc_errors(model, image).assign(model=name, weights=weights)
            for weights, model in {"fresh": fresh, "trained": trained}.items()
        ]
    )[["model", "weights", "layer", "cube", "free", "free sd"]]


def calc_errors(model, image):
    def calc(rotations):
        return pd.DataFrame([calc_layer_errors(model, image, rotation=x) for x in rotations])

    cube, free = calc(make_octahedral_group()), calc(sample_rotations(NUM_FREE, seed=0))
    names = [x for x in cube if re.fullmatch(LAYER, x)]
    rows = {x: x for x in names} | {"whole model": ""}
    return pd.DataFrame(
        {
            "layer": list(rows),
            "cube": [cube[x].max() for x in rows.values()],
            "free": [free[x].mean() for x in rows.values()],
            "free sd": [free[x].std() for x in rows.values()],
        }
    )


def plot(table):
    figure, axes = make_figure(1, 2, figsize=(8, 3.6), sharey=True)
    titles = {"cube": "24 rotations of the cube, largest", "free": "free rotations, mean"}
    for (name, of_model), colour in zip(
        table.groupby("model", sort=False), RUN_COLOURS, strict=False
    ):
        for weights, fill in (("fresh", "none"), ("trained", colour)):
            rows = of_model[of_model["weights"] == weights]
            style = {"color": colour, "mfc": fill, "ms": 5, "label": f"{name}, {weights}"}
            for axis, column in zip(axes, titles, strict=True):
                axis.plot(rows[column], rows["layer"], "o", **style)
    for axis, title in zip(axes, titles.values(), strict=True):
        axis.set(title=title, xlabel="|f(Rx) − R f(x)| / |R f(x)|")
    axes[0].set(xscale="log")
    axes[1].set(xlim=(0, None))
    axes[0].invert_yaxis()
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
