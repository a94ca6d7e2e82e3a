"""The scaling of the data to unit variance.

Letters: b batch, c channels, x y z voxels.
"""

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ...nn.fields import list_copies
from ...text.errors import UserError


class Scaling(nn.Module):
    """Divides by one standard deviation for each irrep, and subtracts one mean from all scalars.

    So rotations of the data are rotations of the scaled data, and rare channels stay rare.  The
    numbers are saved with the weights.

    mean: of all scalars
    std:  of the components of each l, in ascending order
    """

    def __init__(self, irreps: Irreps):
        super().__init__()
        degrees = [irrep.l for irrep in list_copies(irreps) for _ in range(irrep.dim)]
        self.degrees = sorted(set(degrees))
        channels = torch.tensor([self.degrees.index(l) for l in degrees])
        self.register_buffer("_degree_of_channel", channels, persistent=False)
        self.register_buffer("_is_scalar", torch.tensor(degrees) == 0, persistent=False)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(len(self.degrees)))

    def measure(self, data: Float[Tensor, "b c x y z"]):
        """Set mean and standard deviations to those of the data.

        raises: UserError if the numbers of an irrep are all the same, or NaN
        """
        data = data.double().movedim(1, 0).flatten(1)
        if self._is_scalar.any():
            self.mean.fill_(data[self._is_scalar].mean())
        centred = data - self._expand_mean()[:, None]
        for i, l in enumerate(self.degrees):
            std = centred[self._degree_of_channel == i].square().mean().sqrt()
            if not std > 0:
                raise UserError(f"the data of l = {l} don't vary, so they can't be scaled")
            self.std[i] = std

    def _expand_mean(self) -> Float[Tensor, " c"]:
        return self.mean * self._is_scalar

    def _expand(self) -> tuple[Float[Tensor, "c 1 1 1"], Float[Tensor, "c 1 1 1"]]:
        mean, std = self._expand_mean(), self.std[self._degree_of_channel]
        return mean.view(-1, 1, 1, 1), std.view(-1, 1, 1, 1)

    def forward(self, data: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        mean, std = self._expand()
        return (data - mean) / std

    def invert(self, scaled: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        """Return the data whose scaled numbers these are."""
        mean, std = self._expand()
        return scaled * std + mean
