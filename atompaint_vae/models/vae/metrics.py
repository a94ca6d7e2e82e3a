"""Metrics on held-out crops: quality of reconstructions, use of the latent.

Letters: b batch, c channels, n irrep copies, x y z voxels.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ...nn.distributed import sum_over_processes
from .loss import Loss
from .posterior import Posterior

ACTIVE_VARIANCE = 0.01
"""A latent channel is active if its posterior mean varies more than this between crops and
voxels (Burda et al. 2016, Importance Weighted Autoencoders, sec. 5.2)."""


def calc_r2(
    image: Float[Tensor, "b c x y z"], reconstruction: Float[Tensor, "b c x y z"]
) -> Float[Tensor, " b"]:
    """Return the R² of each image, relative to its own mean in each channel."""
    errors = (image - reconstruction).square().flatten(1).sum(1)
    deviations = image - image.mean(dim=(2, 3, 4), keepdim=True)
    return 1 - errors / deviations.square().flatten(1).sum(1)


@dataclass
class ReconstructionMetrics:
    """Running sums in float64, for the R² of all images together.

    channel_names: names of the images' channels
    """

    channel_names: tuple[str, ...]
    num_images: int = 0
    num_voxels: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)

    def update(
        self, image: Float[Tensor, "b c x y z"], reconstruction: Float[Tensor, "b c x y z"]
    ):
        """Add a batch."""
        self.num_images += len(image)
        self.num_voxels += image[:, 0].numel()
        errors = (image - reconstruction).square()
        occupied = (image > 0).any(dim=1, keepdim=True)
        self._add("image", image)
        self._add("image_square", image.square())
        self._add("error_square", errors)
        self._add("error_occupied", errors * occupied)
        self._add("occupied_voxels", occupied.float())

    def _add(self, name: str, values: Float[Tensor, "b c x y z"]):
        self._add_total(name, values.double().sum(dim=(0, 2, 3, 4)))

    def _add_total(self, name: str, total: Tensor):
        self.sums[name] = self.sums[name] + total if name in self.sums else total

    def calc(self) -> dict[str, float]:
        """Return the metrics of all batches.

        r2:           1 − Σ error² / Σ (image − mean of its channel)²
        r2_zero:      1 − Σ error² / Σ image²
        occupied_r2:  r2 of the voxels that atoms touch, against their own mean
        r2_<channel>: r2 of one channel alone; NaN where it is empty
        """
        error = self.sums["error_square"]
        image, square = self.sums["image"], self.sums["image_square"]
        variation = square - image.square() / self.num_voxels
        # Outside the occupied voxels, images are zero.
        occupied_variation = square - image.square() / self.sums["occupied_voxels"]
        occupied_error = self.sums["error_occupied"]
        of_channel = torch.where(variation > 0, 1 - error / variation, torch.nan)
        return {
            "r2": (1 - error.sum() / variation.sum()).item(),
            "r2_zero": (1 - error.sum() / square.sum()).item(),
            "occupied_r2": (1 - occupied_error.sum() / occupied_variation.sum()).item(),
        } | {
            f"r2_{name}": value
            for name, value in zip(self.channel_names, of_channel.tolist(), strict=True)
        }


@dataclass
class HeldOutMetrics(ReconstructionMetrics):
    """The metrics of a variational autoencoder on held-out crops."""

    _dims: Tensor | None = None

    def update(
        self,
        image: Float[Tensor, "b c x y z"],
        reconstruction: Float[Tensor, "b c x y z"],
        posterior: Posterior,
        loss: Loss,
    ):
        """Add a batch.

        reconstruction: from the posterior's mean
        loss:           of the batch, with a latent drawn from the posterior
        """
        super().update(image, reconstruction)
        self._add("latent", posterior.mean)
        self._add("latent_square", posterior.mean.square())
        self._add("posterior_var", posterior.logvar.exp())
        self._add("latent_voxels", torch.ones_like(posterior.mean[:, :1]))
        self._add("prior", posterior.calc_kl())
        self._dims = posterior.copy_of_channel.bincount()[posterior.copy_of_channel]
        self._add_total("loss", len(image) * torch.stack(loss).double())

    def add_other_processes(self):
        """Add the batches of the other processes; all processes must call this."""
        self.sums = {name: sum_over_processes(total) for name, total in self.sums.items()}
        counts = self.sums["loss"].new_tensor([self.num_images, self.num_voxels])
        self.num_images, self.num_voxels = map(int, sum_over_processes(counts).tolist())

    def calc(self) -> dict[str, float]:
        """Return the metrics of all batches.

        loss, data_loss, prior_loss: averages over images
        r2 and the like: see `ReconstructionMetrics`
        active_units:    latent channels whose posterior mean varies
        prior_<irrep>:   prior loss of all copies of one irrep; they add up to prior_loss
        var_mean_<irrep>, mean_var_<irrep>: variance of the posterior's mean, and mean of its
                         variance, over crops, voxels and channels of one irrep; they add up to the
                         variance of the aggregate posterior, which is 1 if it equals the prior
        """
        num_voxels = self.sums["latent_voxels"]
        latent_mean = self.sums["latent"] / num_voxels
        latent_var = self.sums["latent_square"] / num_voxels - latent_mean.square()
        of_channels = {
            "prior": (self.sums["prior"] / self.num_images, torch.sum),
            "var_mean": (latent_var, torch.mean),
            "mean_var": (self.sums["posterior_var"] / num_voxels, torch.mean),
        }
        loss, data_loss, prior_loss = (self.sums["loss"] / self.num_images).tolist()
        return {
            "loss": loss,
            "data_loss": data_loss,
            "prior_loss": prior_loss,
            **super().calc(),
            "active_units": int((latent_var > ACTIVE_VARIANCE).sum()),
        } | {
            f"{name}_{(dim - 1) // 2}e": reduce(values[self._dims == dim]).item()
            for name, (values, reduce) in of_channels.items()
            for dim in self._dims.unique().tolist()
        }
