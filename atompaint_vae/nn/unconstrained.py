"""Unconstrained convolution, a baseline for the steerable one.

Letters: b batch, i o channels, x y z voxels.
"""

from typing import Literal

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from .conv import convolve


class UnconstrainedConv(nn.Module):
    """A convolution without symmetry, with the interface of `SteerableConv`: every number of its
    kernel is a weight.

    All irreps are scalars, as many as there are channels; those that are given are only counted.
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | Literal["auto"] = 0,
        transposed: bool = False,
        bias: bool = False,
    ):
        super().__init__()
        self.irreps_in, self.irreps_out = (
            Irreps([(Irreps(irreps).dim, (0, 1))]) for irreps in (irreps_in, irreps_out)
        )
        self.padding = padding
        make = nn.ConvTranspose3d if transposed else nn.Conv3d
        self.conv = make(
            self.irreps_in.dim,
            self.irreps_out.dim,
            kernel_size,
            stride=stride,
            bias=bias,
        )
        # As in SteerableConv: inputs of unit variance give outputs of unit variance.
        std = (self.irreps_in.dim * kernel_size**3 / (stride**3 if transposed else 1)) ** -0.5
        nn.init.normal_(self.conv.weight, std=std)
        if bias:
            nn.init.zeros_(self.conv.bias)
        self.conv.to(memory_format=torch.channels_last_3d)

    def forward(self, image: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x2 y2 z2"]:
        return convolve(
            image,
            self.conv.weight,
            self.conv.bias,
            stride=self.conv.stride[0],
            padding=self.padding,
            transposed=self.conv.transposed,
        )
