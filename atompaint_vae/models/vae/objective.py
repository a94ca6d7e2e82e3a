"""The objective of a VAE: losses, held-out metrics, reconstructions, checks.

Letters: b batch, c channels, x y z voxels.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...analysis.reconstructions import calc_r2
from ...data.crops.dataset import CropBatch, CropDataset, collate_crops
from ...data.crops.voxelize import CHANNELS
from ...nn.equivariance import calc_equivariance_error
from ...text.located import Located, Problem
from ..artifacts import pack_images
from ..blocks import make_options
from ..hparams import override
from ..kind import Size
from ..noise import Noise
from ..objective import Objective
from . import checks
from .atoms import AtomMetrics
from .initial import check_encoder, describe_encoder, take_over_encoder
from .loss import Loss, calc_beta, calc_loss
from .metrics import HeldOutMetrics
from .posterior import Posterior
from .vae import VAE

QUARTER_TURN = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
"""A rotation by 90°, which permutes voxels."""

FREE_TURN = torch.linalg.matrix_exp(
    torch.tensor([[0, -0.5, 0.3], [0.5, 0, -0.4], [-0.3, 0.4, 0]], dtype=torch.float64)
)
"""A rotation by 0.71 rad about no axis of the cube."""


class VAEObjective(Objective):
    """The loss of images and their reconstructions, with latents drawn from the posterior."""

    model: VAE

    @property
    def _channel_weights(self) -> tuple[float, ...]:
        return tuple(getattr(self.hparams.loss.channel_weights, x) for x in CHANNELS)

    @classmethod
    def build_model(
        cls, hparams: Any, *, image_std: float = 1.0, inputs: Mapping[str, nn.Module] | None = None
    ) -> VAE:
        model, inputs = hparams.model, inputs or {}
        encoder, decoder = (override(model, part) for part in (model.encoder, model.decoder))
        vae = VAE(
            model.layers,
            model.latent,
            num_channels=len(CHANNELS),
            size_voxels=hparams.data.size_voxels,
            posterior_std=model.posterior_std,
            image_std=image_std,
            encoder={
                "layers": encoder.layers,
                "downsampling": model.encoder.downsampling,
                **make_options(encoder),
            },
            decoder={
                "layers": decoder.layers,
                "upsampling": model.decoder.upsampling,
                **make_options(decoder),
            },
        )
        if "encoder_weights" in inputs:
            source = inputs["encoder_weights"]
            take_over_encoder(vae, source, is_trained=model.encoder_rate > 0)
        return vae

    @classmethod
    def describe_inputs(
        cls, hparams: Any, model: VAE, inputs: Mapping[str, nn.Module]
    ) -> str | None:
        source = inputs.get("encoder_weights")
        return describe_encoder(hparams, model, source) if source is not None else None

    def scale_learning_rates(self) -> dict[str, float]:
        return dict.fromkeys(self.model.loaded, self.hparams.model.encoder_rate)

    def calc_losses(
        self, inputs: Float[Tensor, "b c x y z"], noise: Noise, step: int
    ) -> dict[str, Tensor]:
        hparams = self.hparams.loss
        beta = calc_beta(hparams.beta, hparams.beta_schedule, hparams.beta_steps, step)
        loss = self._calc_loss(inputs, self.model.encode(inputs), noise, beta)
        return {"loss": loss.total, "data_loss": loss.data, "prior_loss": loss.prior}

    def _calc_loss(
        self, images: Float[Tensor, "b c x y z"], posterior: Posterior, noise: Noise, beta: float
    ) -> Loss:
        latent = posterior.sample(noise.draw_normal(posterior.mean, "posterior"))
        std = self.model.image_std
        return calc_loss(
            images / std,
            self.model.decode(latent) / std,
            posterior,
            reduction=self.hparams.loss.reduction,
            beta=beta,
            divergence=self.hparams.loss.divergence,
            free_nats=self.hparams.loss.free_nats,
            channel_weights=self._channel_weights,
            occupied_weight=self.hparams.loss.occupied_weight,
        )

    def begin_held_out(self, test: CropDataset | None = None):
        self._metrics = HeldOutMetrics(CHANNELS)
        self._atoms = AtomMetrics(test) if test is not None else None
        self._example: Tensor | None = None

    def add_held_out(self, inputs: Float[Tensor, "b c x y z"], noise: Noise):
        posterior = self.model.encode(inputs)
        loss = self._calc_loss(inputs, posterior, noise, self.hparams.loss.beta)
        reconstructions = self.model.decode(posterior.mean)
        self._metrics.update(inputs, reconstructions, posterior, loss)
        if self._atoms is not None:
            self._atoms.update(noise.sample_index, inputs, reconstructions)
        if self._example is None:
            self._example = inputs[:1]

    def calc_metrics(self) -> dict[str, float]:
        self._metrics.add_other_processes()
        return {
            **self._metrics.calc(),
            "beta": self.hparams.loss.beta,
            "compression_ratio": self.model.compression_ratio,
            **self._calc_equivariance_errors(),
            **(self._atoms.calc() if self._atoms is not None else {}),
        }

    def _calc_equivariance_errors(self) -> dict[str, float]:
        """Return errors of the model and of its encoder on one held-out crop, the first one seen.

        Latents of an encoder without symmetry aren't expected to rotate in any way.
        """
        irreps = self.model.irreps_in
        functions = {"equivariance_error": (self.model, irreps)}
        if override(self.hparams.model, self.hparams.model.encoder).symmetry == "rotation":
            functions["encoder_equivariance_error"] = self._encode, self.model.latent.irreps
        return {
            f"{name}_{turn}": calc_equivariance_error(
                function, self._example, irreps_in=irreps, irreps_out=irreps_out, rotation=rotation
            )
            for name, (function, irreps_out) in functions.items()
            for turn, rotation in (("90", QUARTER_TURN), ("free", FREE_TURN))
        }

    def _encode(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b i x2 y2 z2"]:
        return self.model.encode(image).mean

    @classmethod
    def find_layers(cls, model: VAE) -> dict[str, tuple[nn.Module, str, str]]:
        """Return the blocks of convolutions, with their normalisations and nonlinearities."""
        layers = {}
        for part, fields in (("encoder", model.irreps_in), ("decoder", model.latent)):
            fields = str(fields)
            module = getattr(model, part)
            for i, block in enumerate(module.blocks):
                fields_in, fields = fields, str(block.field_type)
                layers[f"{part}.blocks.{i}"] = (block, fields_in, fields)
            layers[f"{part}.head"] = (module.head, fields, str(module.head.irreps_out.simplify()))
        return layers

    @classmethod
    def describe_sizes(cls, model: VAE) -> dict[str, Size]:
        return {"latent_shape": model.latent_shape, "compression_ratio": model.compression_ratio}

    @classmethod
    def check(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        return checks.check(hparams, written)

    @classmethod
    def check_sizes(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        return checks.check_sizes(hparams, written)

    @classmethod
    def check_effects(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        return checks.check_effects(hparams, written)

    @classmethod
    def check_input(
        cls, key: str, hparams: Any, source: Any, written: Located
    ) -> Iterator[Problem]:
        return check_encoder(hparams, source, written)

    @classmethod
    def check_devices(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        return checks.check_devices(hparams, written)

    def make_artifacts(self, dataset: CropDataset, device: torch.device) -> dict[str, bytes]:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **make_reconstructions(self.model, dataset, device))
        return {"reconstructions.npz": buffer.getvalue()}


def make_reconstructions(
    model: VAE, dataset: CropDataset, device: torch.device
) -> dict[str, np.ndarray]:
    """Return the worst, the median and the best reconstruction of a dataset's crops, by R².

    returns: rank [3], sample_index [3], r2 [3], structure [3], image and reconstruction
             [3, C, X, Y, Z], and for each k the atoms of the crop, coords_A_k [n, 3] and
             channels_k [n]
    """
    model = model.eval()
    samples = [dataset[index] for index in range(len(dataset))]

    def make_images(chosen: list) -> Float[Tensor, "b c x y z"]:
        return dataset.make_images(CropBatch(*(x.to(device) for x in collate_crops(chosen))))

    r2 = []
    with torch.no_grad():
        for sample in samples:
            image = make_images([sample])
            r2.append(calc_r2(image, model(image)).item())
        by_r2 = np.argsort(r2)
        chosen = [by_r2[0], by_r2[len(by_r2) // 2], by_r2[-1]]
        images = make_images([samples[i] for i in chosen])
        reconstructions = model(images)

    crops = [samples[i][1] for i in chosen]
    return {
        "rank": np.array(["worst", "median", "best"]),
        "sample_index": np.array(chosen),
        "r2": np.array([r2[i] for i in chosen], dtype=np.float32),
        "structure": np.array([crop.structure for crop in crops]),
        "image": pack_images(images),
        "reconstruction": pack_images(reconstructions),
        **{f"coords_A_{k}": crop.coords_A for k, crop in enumerate(crops)},
        **{f"channels_{k}": crop.channels.astype(np.uint8) for k, crop in enumerate(crops)},
    }
