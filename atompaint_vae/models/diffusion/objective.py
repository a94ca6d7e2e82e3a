"""The objective of diffusion: the loss of EDM, held-out losses, samples, checks.

Letters: b batch, c channels, x y z voxels.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...data.crops.dataset import CropBatch, CropDataset, collate_crops
from ...data.crops.voxelize import CHANNELS
from ...nn.distributed import sum_over_processes
from ...text.located import Located, Problem
from ..blocks import make_options
from ..kind import Size
from ..noise import Noise
from ..objective import Objective
from ..vae.posterior import Posterior
from . import checks
from .denoiser import SIGMA_DATA, Denoiser
from .edm import calc_sigma, calc_weight
from .encodings import find_encodings
from .kind import BANDS
from .samples import NUM_SAMPLES, NUM_STORED, SampleMetrics, make_stored_samples

NUM_SCALING_CROPS = 64
"""Training crops from which means and standard deviations of data are measured."""

HELD_OUT_SEED = 0
"""Noise of held-out crops is that of this seed in all runs, so that their losses are paired."""


class DiffusionObjective(Objective):
    """The weighted squared error of data that are estimated from noisy data."""

    model: Denoiser
    _encodings: Posterior | None = None  # of the distinct training crops

    @classmethod
    def build_model(
        cls, hparams: Any, *, image_std: float = 1.0, inputs: Mapping[str, nn.Module] | None = None
    ) -> Denoiser:
        model = hparams.model
        return Denoiser(
            model.layers,
            num_channels=len(CHANNELS),
            size_voxels=hparams.data.size_voxels,
            autoencoder=(inputs or {}).get("autoencoder"),
            self_conditioning=model.self_conditioning,
            noise_embedding=model.noise_embedding,
            num_conditions=model.num_conditions,
            **make_options(model),
        )

    @classmethod
    def calibrate(cls, model: Denoiser, dataset: CropDataset):
        samples = [dataset[index] for index in range(NUM_SCALING_CROPS)]
        data = []
        with torch.no_grad():
            for sample in samples:
                batch = collate_crops([sample])
                noise = Noise(HELD_OUT_SEED, batch.sample_index)
                data.append(model.find_data(dataset.make_images(batch), noise))
        model.scaling.measure(torch.cat(data))

    def prepare(self, cache: Path, device: torch.device):
        if self.model.autoencoder is not None and self.dataset.num_crops:
            folder = cache / "encodings"
            self._encodings = find_encodings(self.model.autoencoder, self.dataset, folder, device)

    def make_training_inputs(self, batch: CropBatch) -> Float[Tensor, "b i x y z"] | Posterior:
        if self._encodings is None:
            return super().make_training_inputs(batch)
        numbers = batch.sample_index % self.dataset.num_crops
        return self._encodings.select(numbers, batch.coords_A.device)

    def calc_losses(
        self, inputs: Float[Tensor, "b i x y z"] | Posterior, noise: Noise, step: int
    ) -> dict[str, Tensor]:
        y = self.model.encode(inputs, noise)
        if self.dataset is not None and self.dataset.num_crops:
            y = self.model.turn(y, noise)  # or the same crop would be the same data
        return {"loss": self._calc_training_loss(y, noise).mean()}

    def _calc_training_loss(
        self, y: Float[Tensor, "b c x y z"], noise: Noise
    ) -> Float[Tensor, " b"]:
        z = noise.draw_normal(y[:, 0, 0, 0, 0], "sigma")
        sigma = calc_sigma(z, self.hparams.loss.P_mean, self.hparams.loss.P_std)
        return self._calc_loss(y, sigma, noise, "noise")

    def _calc_loss(
        self, y: Float[Tensor, "b c x y z"], sigma: Float[Tensor, " b"], noise: Noise, stream: str
    ) -> Float[Tensor, " b"]:
        """Return λ(σ) |D(y + n; σ) − y|², averaged over the numbers of each image.

        source: Karras et al. 2022, eq. 2 and 8
        """
        x = y + sigma.view(-1, 1, 1, 1, 1) * noise.draw_normal(y, stream)
        previous = None
        if self.model.self_conditioning:
            # Half of the images see an estimate, as in Chen et al. 2022, Analog Bits, sec. 2.3.
            is_seen = noise.draw_normal(y[:, 0, 0, 0, 0], f"{stream} is seen") > 0
            with torch.no_grad():
                previous = self.model(x, sigma) * is_seen.view(-1, 1, 1, 1, 1)
        error = (self.model(x, sigma, previous) - y).square().flatten(1).mean(dim=1)
        return calc_weight(sigma, SIGMA_DATA) * error

    def estimate_test(self) -> float:
        model = self.hparams.model
        num_in_samples = (NUM_SAMPLES + NUM_STORED) * (2 * model.sampler.num_steps - 1)
        num_in_crop = (1 + len(BANDS)) * (1 + model.self_conditioning)
        return num_in_samples / num_in_crop

    def begin_held_out(self, test: CropDataset | None = None):
        self._sums = torch.zeros(2 + len(BANDS), dtype=torch.float64)
        self._samples = SampleMetrics(test) if test is not None else None

    def add_held_out(self, inputs: Float[Tensor, "b i x y z"], noise: Noise):
        noise = Noise(HELD_OUT_SEED, torch.tensor(noise.sample_index))
        y = self.model.encode(inputs, noise)
        losses = [self._calc_training_loss(y, noise).sum()]
        for name, limits in BANDS.items():
            low, high = map(math.log, limits)
            normal = noise.draw_normal(y[:, 0, 0, 0, 0], f"{name} sigma")
            uniform = torch.special.ndtr(normal)
            sigma = (low + (high - low) * uniform).exp()
            losses.append(self._calc_loss(y, sigma, noise, name).sum())
        counts = torch.tensor([len(inputs)], dtype=torch.float64)
        self._sums += torch.cat([counts, torch.stack(losses).double().cpu()])

    def calc_metrics(self) -> dict[str, float]:
        """Return the metrics of all held-out crops, and in a test those of samples.

        loss:      with the noise levels of training
        loss_<low>_<high>: averages over a band of noise levels, log-uniform in it
        band_loss: their average
        others:    see `SampleMetrics`
        """
        num, *sums = sum_over_processes(self._sums.to(self.model.scaling.std.device)).tolist()
        loss, *of_bands = (x / num for x in sums)
        return {
            "loss": loss,
            "band_loss": float(np.mean(of_bands)),
            **dict(zip(BANDS, of_bands, strict=True)),
            **(self._samples.calc(self.model, self.hparams) if self._samples else {}),
        }

    def make_artifacts(self, dataset: CropDataset, device: torch.device) -> dict[str, bytes]:
        sampler = self.hparams.model.sampler
        return {"samples.npz": make_stored_samples(self.model, sampler, dataset)}

    @classmethod
    def find_layers(cls, model: Denoiser) -> dict[str, tuple[nn.Module, str, str]]:
        """Return the blocks of the U-Net."""
        network = model.network
        layers = {}
        for i, level in enumerate(network.down):
            for j, block in enumerate(level):
                layers[f"network.down.{i}.{j}"] = block
        for i, (grow, level) in enumerate(zip(network.grow, network.up, strict=True)):
            layers[f"network.grow.{i}"] = grow
            for j, block in enumerate(level):
                layers[f"network.up.{i}.{j}"] = block
        layers["network.head"] = network.head
        return {
            name: (block, str(block.irreps_in.simplify()), str(block.irreps_out.simplify()))
            for name, block in layers.items()
        }

    @classmethod
    def describe_sizes(cls, model: Denoiser) -> dict[str, Size]:
        return {"data_shape": model.data_shape}

    @classmethod
    def check(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        return checks.check(hparams, written)

    @classmethod
    def check_input(
        cls, key: str, hparams: Any, source: Any, written: Located
    ) -> Iterator[Problem]:
        return checks.check_autoencoder(hparams, source, written)
