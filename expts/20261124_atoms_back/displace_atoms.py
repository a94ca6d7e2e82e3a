#!/usr/bin/env python3
"""Draw what displacing every atom does to R², and to the atoms that are found again.

Usage:
    displace_atoms.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from atompaint_vae import load_pretrained
from atompaint_vae.analysis.atoms import ALL, ANY, count_atoms
from atompaint_vae.analysis.matching import score_matches
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
from atompaint_vae.training.weights import load_pretrained_hparams

MODELS = ("finer-wide-10", "finer-cnn-10")
NUM_CROPS = 32
NUM_SEARCHED = 6
"""Crops of which the atoms are found again; R² is of all crops."""

DISPLACEMENTS_A = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
SCORES = ("precision", "recall")


def main(folder: Path):
    hparams = load_pretrained_hparams(MODELS[0])
    seed = SEED_OF_SPLIT["test"]
    dataset = make_crops(
        load_split(STARTER, "test"), hparams.data, num_samples=NUM_CROPS, seed=seed
    )
    displaced = pd.DataFrame(
        [
            measure(dataset, lambda batch, rms_A=rms_A: displace(dataset, batch, rms_A))
            for rms_A in DISPLACEMENTS_A
        ],
        index=pd.Index(DISPLACEMENTS_A, name="displacement"),
    )
    models = pd.DataFrame({name: measure_model(dataset, name) for name in MODELS}).T
    models.insert(0, "displacement", [find_displacement(displaced["R²"], x) for x in models["R²"]])
    for table, stem in ((displaced.reset_index(), "displaced"), (models, "models")):
        table["displacement"] = table["displacement"].map("{:.2f}".format)
        named = table.rename(columns={"displacement": "displacement [Å]"})
        named = named.rename_axis("model").reset_index() if stem == "models" else named
        path = folder / f"{folder.name.split('_')[0]}_{stem}.csv"
        save_table(named.map(lambda x: x if isinstance(x, str) else f"{x:.3f}"), path)
    save_figure(plot(displaced, models), folder / f"{folder.name}.svg")


def displace(dataset, batch, rms_A):
    """Images of the batch, each atom displaced at random, by rms_A in three dimensions."""
    generator = torch.Generator().manual_seed(int(batch.sample_index[0]))
    noise_A = torch.randn(batch.coords_A.shape, generator=generator) * rms_A / 3**0.5
    return dataset.make_images(batch._replace(coords_A=batch.coords_A + noise_A))


def measure_model(dataset, name):
    model = load_pretrained(name)
    return measure(dataset, lambda batch: model(dataset.make_images(batch)))


@torch.no_grad()
def measure(dataset, make_images):
    """R² against the crops' own images, and scores of the atoms found."""
    errors, deviations, counts = 0.0, 0.0, 0
    for sample in dataset:
        batch = collate_crops([sample])
        image, other = dataset.make_images(batch), make_images(batch)
        errors += float((image - other).square().sum())
        deviations += float((image - image.mean(dim=(2, 3, 4), keepdim=True)).square().sum())
        if sample[0] < NUM_SEARCHED:
            counts += count_atoms(other[0], sample[1], dataset).droplevel("min_weight")
    scores = score_matches(counts)
    return {
        "R²": 1 - errors / deviations,
        **{name: scores.loc[ALL, name] for name in SCORES},
        **{f"{name}, any element": scores.loc[ANY, name] for name in SCORES},
        "RMSD [Å]": scores.loc[ALL, "rmsd_A"],
    }


def find_displacement(r2, value):
    """The displacement with an R², between those measured."""
    return np.interp(value, r2.to_numpy()[::-1], r2.index.to_numpy()[::-1])


def plot(displaced, models):
    figure, (left, right) = make_figure(1, 2, figsize=(7.2, 3.1))
    left.plot(displaced.index, displaced["R²"], "o-", color=RUN_COLOURS[-1], ms=4)
    for (name, row), colour in zip(models.iterrows(), RUN_COLOURS, strict=False):
        at_A = find_displacement(displaced["R²"], row["R²"])
        left.plot([0, at_A, at_A], [row["R²"], row["R²"], 0], color=colour, lw=1.2, label=name)
    left.set(ylabel="R² against the crop", ylim=(min(0, displaced["R²"].min()), 1.02))
    left.legend(title="reconstructions")
    for score, colour in zip(SCORES, RUN_COLOURS[2:], strict=False):
        for suffix, line in (("", "-"), (", any element", ":")):
            right.plot(
                displaced.index, displaced[score + suffix], line, marker="o", ms=3, color=colour,
                label=score + suffix,
            )  # fmt: skip
    right.set(ylabel="atoms within 1 Å", ylim=(0, 1.02))
    right.legend()
    for axis in (left, right):
        axis.set(xlabel="displacement of every atom, RMS [Å]", xlim=(0, None))
    return figure


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
