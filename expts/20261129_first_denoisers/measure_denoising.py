#!/usr/bin/env python3
"""Write how well a denoiser repairs the latents of test crops, to which noise was added.

Usage:
    measure_denoising.py <model>

<model> is a published denoiser, or a run, as experiment/run.
"""

from pathlib import Path

import docopt
import pandas as pd
import torch
from tqdm import tqdm

from atompaint_vae.analysis.geometry import calc_bonded_interval, find_geometry, pool_geometries
from atompaint_vae.config.datasets import SEED_OF_SPLIT, resolve_source
from atompaint_vae.data.crops.dataset import collate_crops, make_crops, open_split
from atompaint_vae.figures.tables import save_table
from atompaint_vae.models.diffusion.sampler import sample_steps
from atompaint_vae.models.noise import Noise
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.training.weights import load_trained

SIGMAS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0)
NUM_CROPS = 24
NUM_STEPS = 12


class NoisyStart(Noise):
    """Noise that a sample starts with, such that it starts with noisy data."""

    def __init__(self, sample_index, start):
        super().__init__(0, sample_index)
        self.start = start

    def draw_normal(self, like, stream):
        return self.start if stream == "start" else super().draw_normal(like, stream)


def main(folder: Path):
    expt = Experiment(folder)
    model, hparams = load_trained(docopt.docopt(__doc__)["<model>"], expt.expt_dir)
    atoms = open_split(resolve_source(hparams, expt.expt_dir), "test")
    crops = make_crops(atoms, hparams.data, num_samples=NUM_CROPS, seed=SEED_OF_SPLIT["test"])
    batch = collate_crops([crops[i] for i in range(NUM_CROPS)])
    structures = [crops[i][1].structure for i in range(NUM_CROPS)]
    noise = Noise(0, batch.sample_index)
    rows = []

    def score(sigma, what, latents):
        found = [
            find_geometry(x, resolution_A=crops.resolution_A, radius_A=crops.radius_A)
            for x in model.decode(latents)
        ]
        low, high = calc_bonded_interval(found, structures)
        bonded = pool_geometries(found).bonded
        rows.append({"sigma": sigma, "latents": what, "bonded": bonded, "low": low, "high": high})

    with torch.no_grad():
        y = model.encode(crops.make_images(batch), noise)
        n = noise.draw_normal(y, "added")
        score(0.0, "noisy", y)
        for sigma in tqdm(SIGMAS, unit="level", disable=None):
            x = y + sigma * n
            score(sigma, "noisy", x)
            score(sigma, "denoised once", model(x, torch.full((NUM_CROPS,), sigma)))
            sampler = hparams.model.sampler.model_copy(
                update={"sigma_max": sigma, "num_steps": NUM_STEPS}
            )
            *_, last = sample_steps(model, NoisyStart(batch.sample_index, x / sigma), y, sampler)
            score(sigma, "sampled", last.x)
    table = pd.DataFrame(rows).round(4)
    save_table(table, expt.expt_dir / f"{expt.date}_denoising.csv")


if __name__ == "__main__":
    main(Path(__file__).parent)
