"""The objective of a VAE: losses, held-out metrics, reconstructions, checks.

Letters: b batch, c channels, x y z voxels.
"""

import io
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ...analysis.reconstructions import calc_r2
from ...data.crops.dataset import CropBatch, CropDataset, collate_crops
from ...data.crops.voxelize import CHANNELS
from ...nn.conv import SteerableConv
from ...nn.equivariance import calc_equivariance_error
from ...nn.fields import parse_field_type
from ...nn.grids import GRIDS, calc_synthesis, load_grid
from ...nn.unconstrained import UnconstrainedConv
from ...text.formats import format_bytes
from ...text.located import Located, Problem, find_value
from ..encoder import calc_sizes, list_sizes
from ..kind import Size
from ..noise import Noise
from ..objective import Objective
from .loss import Loss, calc_loss
from .metrics import HeldOutMetrics
from .posterior import Posterior
from .vae import VAE, calc_compression_ratio, calc_latent_shape

QUARTER_TURN = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
"""A rotation by 90°, which permutes voxels."""

FREE_TURN = torch.linalg.matrix_exp(
    torch.tensor([[0, -0.5, 0.3], [0.5, 0, -0.4], [-0.3, 0.4, 0]], dtype=torch.float64)
)
"""A rotation by 0.71 rad about no axis of the cube."""

STORED_STEP = 1 / 128
"""Stored reconstructions are rounded to this fraction of a voxel, to compress well."""

BYTES_OF_NUMBER = 4  # float32


class VAEObjective(Objective):
    """The loss of images and their reconstructions, with latents drawn from the posterior."""

    model: VAE

    @classmethod
    def build_model(
        cls, hparams: Any, *, image_std: float = 1.0, inputs: Mapping[str, nn.Module] | None = None
    ) -> VAE:
        return VAE(
            hparams.model.layers,
            hparams.model.latent,
            num_channels=len(CHANNELS),
            size_voxels=hparams.data.size_voxels,
            convs_per_layer=hparams.model.convs_per_layer,
            kernel_size=hparams.model.kernel_size,
            conv=UnconstrainedConv if hparams.model.symmetry == "none" else SteerableConv,
            posterior_std=hparams.model.posterior_std,
            grid=None if hparams.model.grid == "auto" else hparams.model.grid,
            function=hparams.model.nonlinearity,
            irreps=hparams.model.irreps_nonlinearity,
            image_std=image_std,
        )

    def calc_losses(
        self, inputs: Float[Tensor, "b c x y z"], noise: Noise, step: int
    ) -> dict[str, Tensor]:
        posterior = self.model.encode(inputs)
        loss = self._calc_loss(inputs, posterior, noise)
        return {"loss": loss.total, "data_loss": loss.data, "prior_loss": loss.prior}

    def _calc_loss(
        self, images: Float[Tensor, "b c x y z"], posterior: Posterior, noise: Noise
    ) -> Loss:
        latent = posterior.sample(noise.draw_normal(posterior.mean, "posterior"))
        std = self.model.image_std
        return calc_loss(
            images / std,
            self.model.decode(latent) / std,
            posterior,
            reduction=self.hparams.loss.reduction,
            beta=self.hparams.loss.beta,
            free_nats=self.hparams.loss.free_nats,
        )

    def begin_held_out(self, test: CropDataset | None = None):
        self._metrics = HeldOutMetrics(CHANNELS)
        self._example: Tensor | None = None

    def add_held_out(self, inputs: Float[Tensor, "b c x y z"], noise: Noise):
        posterior = self.model.encode(inputs)
        loss = self._calc_loss(inputs, posterior, noise)
        self._metrics.update(inputs, self.model.decode(posterior.mean), posterior, loss)
        if self._example is None:
            self._example = inputs[:1]

    def calc_metrics(self) -> dict[str, float]:
        self._metrics.add_other_processes()
        return {
            **self._metrics.calc(),
            "beta": self.hparams.loss.beta,
            "compression_ratio": self.model.compression_ratio,
            "equivariance_error_90": self._calc_equivariance_error(QUARTER_TURN),
            "equivariance_error_free": self._calc_equivariance_error(FREE_TURN),
        }

    def _calc_equivariance_error(self, rotation: Float64[Tensor, "3 3"]) -> float:
        """Return the equivariance error of the model on one held-out crop, the first one seen."""
        irreps = self.model.irreps_in
        return calc_equivariance_error(
            self.model, self._example, irreps_in=irreps, irreps_out=irreps, rotation=rotation
        )

    @classmethod
    def find_layers(cls, model: VAE) -> dict[str, tuple[nn.Module, str, str]]:
        """Return the convolutions, each with its normalisation and nonlinearity."""
        layers = {}
        for part, fields in (("encoder", model.irreps_in), ("decoder", model.latent)):
            fields = str(fields)
            module = getattr(model, part)
            for i, block in enumerate(module.blocks):
                fields_in, fields = fields, str(block.nonlinearity.field_type)
                layers[f"{part}.blocks.{i}"] = (block, fields_in, fields)
            layers[f"{part}.head"] = (module.head, fields, str(module.head.irreps_out.simplify()))
        return layers

    @classmethod
    def describe_sizes(cls, model: VAE) -> dict[str, Size]:
        return {"latent_shape": model.latent_shape, "compression_ratio": model.compression_ratio}

    @classmethod
    def check(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        if hparams.model is None:
            return
        yield from check_grids(hparams.model, written)
        yield from check_symmetry(hparams.model, written)
        if hparams.data is None:
            return
        if found := check_num_layers(hparams.model, hparams.data, written):
            yield from found
        elif hparams.optim is not None:
            yield from check_memory(hparams, written)

    @classmethod
    def check_sizes(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        model, data = hparams.model, hparams.data
        if model is not None and data is not None and not check_num_layers(model, data, written):
            yield from check_compression(model, data, written)

    @classmethod
    def check_devices(cls, hparams: Any, written: Located) -> Iterator[Problem]:
        why = "of a batch isn't the mean of its parts', so --devices would train something else"
        if hparams.loss.reduction == "optimal":
            place = find_value(written, "loss", "reduction").place
            yield Problem(place, f"loss.reduction: the loss 'optimal' {why}")
        if hparams.loss.free_nats:
            place = find_value(written, "loss", "free_nats").place
            yield Problem(place, f"loss.free_nats: the prior loss with free nats {why}")

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

    def pack(images):
        return ((images / STORED_STEP).round() * STORED_STEP).cpu().numpy().astype(np.float16)

    crops = [samples[i][1] for i in chosen]
    return {
        "rank": np.array(["worst", "median", "best"]),
        "sample_index": np.array(chosen),
        "r2": np.array([r2[i] for i in chosen], dtype=np.float32),
        "structure": np.array([crop.structure for crop in crops]),
        "image": pack(images),
        "reconstruction": pack(reconstructions),
        **{f"coords_A_{k}": crop.coords_A for k, crop in enumerate(crops)},
        **{f"channels_{k}": crop.channels.astype(np.uint8) for k, crop in enumerate(crops)},
    }


def check_grids(model: Any, written: Located) -> Iterator[Problem]:
    """Yield problems of layers whose fields are too fine for the grid."""
    for i, layer in enumerate(model.layers):
        for term in parse_field_type(layer).terms:
            if term.kind == "irrep" or model.grid == "auto" or _can_hold(model.grid, term):
                continue
            others = [grid for grid in GRIDS if _can_hold(grid, term)]
            place = find_value(written, "model", "layers", i).place
            yield Problem(
                place,
                f"model.layers[{i}]: {term.kind} fields of frequency {term.frequency} are too fine "
                f"for model.grid {model.grid}; expected {' or '.join(others)}",
            )


def _can_hold(grid: str, term) -> bool:
    try:
        calc_synthesis(term, load_grid(grid))
    except ValueError:
        return False
    return True


def check_symmetry(model: Any, written: Located) -> Iterator[Problem]:
    """Yield problems of fields other than scalars in a network without symmetry."""
    if model.symmetry == "rotation":
        return
    for keys in (*(("layers", i) for i in range(len(model.layers))), ("latent",)):
        place = find_value(written, "model", *keys)
        irreps = parse_field_type(place.content).irreps
        if irreps.lmax > 0:
            name = "latent" if keys == ("latent",) else f"layers[{keys[1]}]"
            yield Problem(
                place.place,
                f"model.{name}: {place.content} rotates, but model.symmetry is none; "
                f"expected scalars such as {irreps.dim}x0e",
            )


def check_num_layers(model: Any, data: Any, written: Located) -> list[Problem]:
    """Return the problem of too many layers for the images' size."""
    sizes = list_sizes(data.size_voxels)
    most = len(sizes) - 1
    if len(model.layers) <= most:
        return []
    text = (
        f"model.layers: {len(model.layers)} layers, but {data.size_voxels} voxels can be halved "
        f"only {most} times: {' → '.join(map(str, sizes))}"
    )
    return [Problem(find_value(written, "model", "layers", most).place, text)]


def check_compression(model: Any, data: Any, written: Located) -> Iterator[Problem]:
    """Yield the warning of a latent that isn't smaller than the image."""
    image = torch.Size((len(CHANNELS), *[data.size_voxels] * 3))
    latent = parse_field_type(model.latent)
    shape = torch.Size(calc_latent_shape(data.size_voxels, len(model.layers), latent))
    ratio = calc_compression_ratio(image, shape)
    if ratio <= 1:
        yield Problem(
            find_value(written, "model", "latent").place,
            f"warning: model.latent: {shape.numel():,} numbers, no fewer than the image's "
            f"{image.numel():,}: compression ratio {ratio:.2f}",
        )


def check_memory(hparams: Any, written: Located) -> Iterator[Problem]:
    """Yield the problem of a batch that exceeds this machine's memory."""
    model, sizes = hparams.model, calc_sizes(hparams.data.size_voxels, len(hparams.model.layers))
    channels = [len(CHANNELS), *(parse_field_type(layer).size for layer in model.layers)]
    num_latent = parse_field_type(model.latent).size
    num_in_images = num_latent * sizes[-1] ** 3
    num_in_images += sum(n * size**3 for n, size in zip(channels, sizes, strict=True))
    num_in_kernels = num_latent * channels[-1]
    for before, after in pairwise(channels):
        num_in_kernels += after * (before + (model.convs_per_layer - 1) * after)
    # The decoder has as many, hence the factor 2 below.
    num_numbers = hparams.optim.batch_size * num_in_images + num_in_kernels * model.kernel_size**3
    num_bytes = 2 * BYTES_OF_NUMBER * num_numbers
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_bytes > memory_bytes:
        text = (
            f"data.size_voxels: a batch and the model's kernels take at least "
            f"{format_bytes(num_bytes)}; this machine has {format_bytes(memory_bytes)}"
        )
        yield Problem(find_value(written, "data", "size_voxels").place, text)
