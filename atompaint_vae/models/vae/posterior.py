"""The approximate posterior: a normal distribution over latents.

Letters: b batch, c channels, n irrep copies, x y z voxels.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from e3nn.o3 import Irreps
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...nn.fields import count_copies, list_copies

LOGVAR_RANGE = (-20.0, 10.0)
"""Log-variances are clamped to this range, so that outliers early in training don't overflow."""


@dataclass(frozen=True)
class Posterior:
    """An independent normal distribution for each latent number.

    copy_logvar:     one for each irrep copy, shared by its components, so that a rotated image's
                     posterior is the rotated posterior
    copy_of_channel: index of each channel's irrep copy
    """

    mean: Float[Tensor, "b c x y z"]
    copy_logvar: Float[Tensor, "b n x y z"]
    copy_of_channel: Int[Tensor, " c"]

    @property
    def logvar(self) -> Float[Tensor, "b c x y z"]:
        return self.copy_logvar.index_select(1, self.copy_of_channel)

    def sample(self, noise: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        """Return a latent from standard normal noise."""
        return self.mean + (self.logvar / 2).exp() * noise

    def select(self, indices: Int[Tensor, " k"], device: torch.device) -> "Posterior":
        """Return the posteriors of some of the images, on a device."""
        mean, logvar = (
            x[indices].to(device, non_blocking=True) for x in (self.mean, self.copy_logvar)
        )
        return Posterior(mean, logvar, self.copy_of_channel.to(device))

    def calc_kl(self) -> Float[Tensor, "b c x y z"]:
        """Return each latent number's KL divergence from the standard normal [nats].

        source: Kingma and Welling 2014, appendix B: ½ (σ² + μ² − 1 − ln σ²)
        """
        logvar = self.logvar
        return (logvar.exp() + self.mean.square() - 1 - logvar) / 2

    def calc_mistaken_kl(self) -> Float[Tensor, "b c x y z"]:
        """Return ½ (σ + μ² − 1 − ln σ), what atompaint 0.1.0 had in place of the divergence."""
        log_std = self.logvar / 2
        return (log_std.exp() + self.mean.square() - 1 - log_std) / 2


class PosteriorHead(nn.Module):
    """Splits the encoder's output into mean and log-variance.

    std:        source of each irrep copy's standard deviation. "logvar": a scalar, the
                log-variance.
                "softplus": an irrep like the latent's; the standard deviation is the softplus of
                its norm, as in atompaint 0.1.0, and so never below ln 2
    irreps_in:  irreps_out, followed by a scalar or an irrep for each copy
    irreps_out: irreps of the latent
    """

    def __init__(self, irreps_latent: Irreps, *, std: Literal["logvar", "softplus"] = "logvar"):
        super().__init__()
        self.irreps_out = Irreps(irreps_latent)
        self.std = std
        self.num_copies = count_copies(self.irreps_out)
        scalars = Irreps([(self.num_copies, (0, 1))])
        self.irreps_in = self.irreps_out + (scalars if std == "logvar" else self.irreps_out)
        dims = torch.tensor([irrep.dim for irrep in list_copies(self.irreps_out)])
        copy_of_channel = torch.arange(self.num_copies).repeat_interleave(dims)
        self.register_buffer("copy_of_channel", copy_of_channel, persistent=False)

    def forward(self, parameters: Float[Tensor, "b i x y z"]) -> Posterior:
        mean, spread = parameters.tensor_split([self.irreps_out.dim], dim=1)
        logvar = spread if self.std == "logvar" else self._calc_softplus_logvar(spread)
        return Posterior(mean, logvar.clamp(*LOGVAR_RANGE), self.copy_of_channel)

    def _calc_softplus_logvar(
        self, spread: Float[Tensor, "b c x y z"]
    ) -> Float[Tensor, "b n x y z"]:
        squares = spread.new_zeros(len(spread), self.num_copies, *spread.shape[2:])
        squares = squares.index_add(1, self.copy_of_channel, spread.square())
        # The smallest number keeps the gradient of the root finite where an irrep is zero.
        norms = (squares + torch.finfo(squares.dtype).tiny).sqrt()
        return 2 * F.softplus(norms).log()

    def extra_repr(self):
        return f"{self.irreps_in.simplify()} -> {self.irreps_out.simplify()}"
