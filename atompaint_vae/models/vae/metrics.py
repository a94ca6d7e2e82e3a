"""Metrics of a VAE on held-out crops: quality of reconstructions, use of the latent.

Letters: b batch, c channels, n irrep copies, x y z voxels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...analysis.reconstructions import ReconstructionMetrics
from ...nn.distributed import sum_over_processes
from .loss import Loss
from .posterior import Posterior

ACTIVE_VARIANCE = 0.01
"""A latent channel is active if its posterior mean varies more than this between crops and
voxels (Burda et al. 2016, Importance Weighted Autoencoders, sec. 5.2)."""


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
