#!/usr/bin/env python3
"""Look for solid blocks in reconstructions of 64 test crops; say where the faintest traces lie.

Usage:
    locate_faint_blocks.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree

from atompaint_vae import load_pretrained
from atompaint_vae.analysis.blocks import (
    MIN_FILLED,
    calc_filled_range,
    find_solid_blocks,
)
from atompaint_vae.config.datasets import SEED_OF_SPLIT
from atompaint_vae.data.crops.dataset import (
    STARTER,
    collate_crops,
    load_split,
    make_crops,
)
from atompaint_vae.data.crops.voxelize import CHANNELS
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.training.weights import load_pretrained_hparams

MODELS = ("finer-wide-10", "finer-cnn-10")
NUM_CROPS = 64
MIN_FAINT = 0.05
"""Far below a solid block, and above every cube of the inputs of the committed runs."""

NEAR_A = 4.0
NUCLEIC_NEAR_A = 8.0
EDGES = np.linspace(-0.1, 0.3, 41)


def main(folder: Path):
    hparams = load_pretrained_hparams(MODELS[0])
    atoms = load_split(STARTER, "test")
    seed = SEED_OF_SPLIT["test"]
    dataset = make_crops(atoms, hparams.data, num_samples=NUM_CROPS, seed=seed)
    models = {name: load_pretrained(name) for name in MODELS}
    cubes, histograms, blocks = [], {}, dict.fromkeys(MODELS, 0)
    for sample in dataset:
        image = dataset.make_images(collate_crops([sample]))
        least = {"input": calc_least(image, dataset)}
        for name, model in models.items():
            with torch.no_grad():
                reconstruction = model(image)
            least[name] = calc_least(reconstruction, dataset)
            pair = image[0].numpy(), reconstruction[0].numpy()
            blocks[name] += len(find_solid_blocks(*pair, dataset.resolution_A))
        cubes.append(describe_cubes(image, sample[1], dataset).assign(**least))
        for name, values in least.items():
            counts = np.histogram(values.clip(EDGES[0], EDGES[-1]), EDGES)[0]
            histograms[name] = histograms.get(name, 0) + counts
    stem = f"{folder.name.split('_')[0]}_faint_blocks"
    save_table(make_table(pd.concat(cubes), blocks), folder / f"{stem}.csv")
    save_figure(plot(histograms), folder / f"{stem}.svg")


def calc_least(image, dataset):
    """Filled fraction of the least filled voxel of each cube, flat."""
    return calc_filled_range(image[0].sum(dim=0).numpy(), dataset.resolution_A)[0].ravel()


def describe_cubes(image, crop, dataset):
    """What lies in and around each cube of 3 Å of a crop, a row each."""
    shape = calc_filled_range(image[0, 0].numpy(), dataset.resolution_A)[0].shape
    first = (np.array(dataset.size_voxels) - np.array(shape)) / 2
    centers_A = np.argwhere(np.ones(shape)) + first - (dataset.size_voxels - 1) / 2
    centers_A = centers_A * dataset.resolution_A
    half_A = dataset.size_voxels * dataset.resolution_A / 2
    tree = cKDTree(centers_A)

    def count(chosen, near_A):
        near = tree.query_ball_point(crop.coords_A[chosen], near_A)
        indices = np.concatenate([np.empty(0, int), *near]).astype(int)
        return np.bincount(indices, minlength=len(centers_A))

    is_near_nucleic = count(crop.channels == CHANNELS.index("P"), NUCLEIC_NEAR_A) > 0
    found = {name: count(crop.channels == i, NEAR_A) for i, name in enumerate(CHANNELS)}
    return pd.DataFrame(
        {
            f"atoms within {NEAR_A:g} Å": sum(found.values()),
            **{f"{name} within {NEAR_A:g} Å": found[name] for name in ("C", "N", "O")},
            f"S or other within {NEAR_A:g} Å": (found["S"] + found["other"] > 0).astype(float),
            f"P within {NUCLEIC_NEAR_A:g} Å (nucleic acid)": is_near_nucleic,
            "distance to the border [Å]": half_A - np.abs(centers_A).max(axis=1),
        }
    )


def make_table(cubes, blocks):
    """Averages over all cubes, and over those that a model fills faintly."""
    properties = cubes.drop(columns=["input", *MODELS])
    chosen = {"all": np.ones(len(cubes), bool)}
    chosen |= {name: (cubes[name] >= MIN_FAINT).to_numpy() for name in MODELS}
    rows = []
    for name, is_chosen in chosen.items():
        means = properties[is_chosen].astype(float).mean()
        rows.append(
            {
                "cubes": "all" if name == "all" else f"{name}, least filled to {MIN_FAINT:g}",
                "n": is_chosen.sum(),
                "solid blocks": blocks.get(name, ""),
                "highest least filled": f"{cubes['input' if name == 'all' else name].max():.3f}",
                **means.map("{:.2f}".format),
            }
        )
    return pd.DataFrame(rows)


def plot(histograms):
    figure, axis = make_figure(figsize=(5.6, 3))
    for (name, counts), colour in zip(histograms.items(), ("#5b5b5b", *RUN_COLOURS), strict=False):
        axis.stairs(np.maximum(counts, 0.5), EDGES, baseline=0.5, color=colour, lw=1.4, label=name)
    axis.axvline(MIN_FILLED, color="#888888", ls=":")
    axis.annotate("solid block", (MIN_FILLED, 0.95), xycoords=("data", "axes fraction"),
                  ha="right", va="top", rotation=90, fontsize="small")  # fmt: skip
    axis.set_axisbelow(True)
    axis.set(yscale="log", xlabel="least filled voxel of a cube of 3 Å, filled fraction",
             ylabel=f"cubes of {NUM_CROPS} crops", ylim=(0.5, None))  # fmt: skip
    axis.legend()
    return figure


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
