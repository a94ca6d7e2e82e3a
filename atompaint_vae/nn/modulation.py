"""Modulation of irreps by numbers that describe the whole image, such as its noise level.

Letters: b batch, d conditions, c channels.
"""

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from .fields import list_copies


class Modulation(nn.Module):
    """Linear functions of the conditions that scale each irrep copy and shift each scalar.

    Scalars don't rotate, so that this is equivariant.  At first it changes nothing.

    source: Perez et al. 2018, FiLM
    """

    def __init__(self, irreps: Irreps, num_conditions: int):
        super().__init__()
        self.irreps = Irreps(irreps)
        dims = torch.tensor([irrep.dim for irrep in list_copies(self.irreps)])
        copy_of_channel = torch.arange(len(dims)).repeat_interleave(dims)
        is_scalar = dims[copy_of_channel] == 1
        self.register_buffer("_copy_of_channel", copy_of_channel, persistent=False)
        self.register_buffer("_scalars", is_scalar.nonzero()[:, 0], persistent=False)
        self.linear = nn.Linear(num_conditions, len(dims) + len(self._scalars))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, conditions: Float[Tensor, "b d"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
        """Return the factor and the offset of each channel."""
        num_scalars = len(self._scalars)
        factors, scalars = self.linear(conditions).split(
            [self.linear.out_features - num_scalars, num_scalars], dim=1
        )
        factor = 1 + factors.index_select(1, self._copy_of_channel)
        return factor, torch.zeros_like(factor).index_copy(1, self._scalars, scalars)

    def __repr__(self):
        return f"{type(self).__name__}({self.linear.in_features} -> {self.irreps.simplify()})"
