#!/usr/bin/env python3
"""Predict from the spectrum of the images where a linear VAE collapses, and draw that beside the
runs of this experiment.

The eigenvectors of the covariance of images that look alike everywhere are waves.  To a linear VAE
whose decoder has the variance v, a wave with the eigenvalue λ is worth its prior loss only if λ > v
(Lucas et al. 2019); what the posterior's mean reconstructs then lacks v²/λ of it.  A mean-reduced
squared error of D values with β times the prior loss is a variance of β·D/2.

Usage:
    predict_collapse.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.records.metrics import load_metrics

NUM_CROPS = 256
BETAS = np.geomspace(1e-6, 1, 121)


def main(expt: Experiment):
    runs = expt.load_runs()
    spectrum = calc_spectrum(expt)
    num_latent = int(np.prod(runs[0].record.sizes["latent_shape"]))
    threshold = 2 * spectrum[0] / len(spectrum)

    rows = []
    for run in runs:
        beta, test = run.hparams.loss.beta, load_metrics(run.paths.test_metrics).iloc[0]
        r2, num_waves = predict_r2(spectrum, num_latent, beta)
        rows.append(
            {
                "β": beta,
                "β / threshold": f"{beta / threshold:.2g}",
                "test R²": f"{test['r2']:z.4f}",
                "test R², linear": f"{r2:z.4f}",
                "prior loss [nats]": f"{test['prior_loss']:.4g}",
                "active units": int(test["active_units"]),
                "waves above the threshold": num_waves,
            }
        )
    table = pd.DataFrame(rows).sort_values("β", ascending=False)
    save_table(table, expt.expt_dir / f"{expt.date}_collapse.csv")
    figure = draw(spectrum, num_latent, threshold, table)
    save_figure(figure, expt.expt_dir / f"{expt.date}_collapse.svg")


def calc_spectrum(expt: Experiment) -> np.ndarray:
    """All eigenvalues of the images' covariance, largest first, in units of their variance.

    Of each wave there are as many as there are channels.
    """
    hparams = next(iter(expt.load_hparams().values()))
    dataset = make_dataset(hparams, expt.expt_dir, "train")
    images = torch.cat([dataset.make_images(collate_crops([dataset[i]])) for i in range(NUM_CROPS)])
    images -= images.mean(dim=(0, 2, 3, 4), keepdim=True)
    images /= images.square().mean().sqrt()
    power = 0
    for image in images:
        waves = torch.fft.fftn(image, dim=(1, 2, 3), norm="ortho").flatten(1)
        power = power + torch.einsum("ck,dk->kcd", waves, waves.conj())
    return torch.linalg.eigvalsh(power / NUM_CROPS).flatten().sort(descending=True).values.numpy()


def predict_r2(spectrum: np.ndarray, num_latent: int, beta: float) -> tuple[float, int]:
    """R² of the best linear VAE with so many latents, and how many of them it uses."""
    variance = beta * len(spectrum) / 2
    used = spectrum[:num_latent][spectrum[:num_latent] > variance]
    kept = (used - variance**2 / used).sum()
    return float(kept / spectrum.sum()), len(used)


def draw(spectrum: np.ndarray, num_latent: int, threshold: float, table: pd.DataFrame):
    figure, (left, right) = make_figure(1, 2, figsize=(8, 3.4))
    left.plot(np.arange(1, len(spectrum) + 1), spectrum, color=RUN_COLOURS[0])
    left.axvline(num_latent, color="#5b5b5b", ls=":", lw=1)
    left.annotate(
        "numbers in\nthe latent ", (num_latent, spectrum[0]), ha="right", va="top", fontsize=8
    )
    left.set(
        title="Spectrum of the images", xlabel="wave, the strongest first",
        ylabel="variance / mean variance", xscale="log", yscale="log", ylim=(1e-3, None),
    )  # fmt: skip
    right.plot(
        BETAS, [predict_r2(spectrum, num_latent, beta)[0] for beta in BETAS],
        color=RUN_COLOURS[0], label="linear VAE, from the spectrum",
    )  # fmt: skip
    right.plot(
        table["β"], table["test R²"].astype(float), "o", color=RUN_COLOURS[1], label="trained"
    )
    right.axvline(threshold, color="#5b5b5b", ls=":", lw=1)
    right.annotate(f" predicted\n threshold\n {threshold:.2g}", (threshold, 0.5), fontsize=8)
    right.set(title="Test R²", xlabel="β of the mean-reduced loss", xscale="log", ylim=(-0.05, 1))
    right.legend(loc="upper right")
    return figure


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
