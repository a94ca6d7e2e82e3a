"""The encoder: image → output channels, such as the parameters of a posterior.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ..nn.activations import FieldNonlinearity
from ..nn.conv import SteerableConv, calc_halved_size, choose_padding
from ..nn.fields import FieldType
from ..nn.norm import IrrepsNorm


class ConvBlock(nn.Module):
    """A convolution, a normalisation and a nonlinearity.

    conv:                   `SteerableConv`, or `UnconstrainedConv` for a network without symmetry
    grid, function, irreps: see `FieldNonlinearity`
    convolution:            kernel_size, stride, padding, transposed: see `SteerableConv`
    """

    def __init__(
        self,
        irreps_in: Irreps,
        field_type: FieldType,
        *,
        conv: type[nn.Module] = SteerableConv,
        grid: str | None = None,
        function: str = "elu",
        irreps: str = "gate",
        **convolution,
    ):
        super().__init__()
        nonlinearity = FieldNonlinearity(field_type, grid=grid, function=function, irreps=irreps)
        # Defined in the order of the data flow, which the repr shows.
        self.conv = conv(irreps_in, nonlinearity.irreps_in, **convolution)
        self.norm = IrrepsNorm(self.conv.irreps_out)
        self.nonlinearity = nonlinearity
        self.irreps_in = self.conv.irreps_in
        self.irreps_out = self.nonlinearity.irreps_out

    def forward(self, image: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x2 y2 z2"]:
        image = self.conv(image)
        return self.nonlinearity(image, *self.norm.calc_affine(image))

    def extra_repr(self):
        return f"{self.irreps_in.simplify()} -> {self.nonlinearity.field_type}"


def list_sizes(size_voxels: int) -> list[int]:
    """Return the side of an image, and its sides after each halving, as often as possible."""
    sizes = [size_voxels]
    while sizes[-1] >= 3:
        sizes.append(calc_halved_size(sizes[-1]))
    return sizes


def calc_sizes(size_voxels: int, num_layers: int) -> list[int]:
    """Return the side of an image before the first layer, and after each.

    raises: ValueError if the image can't be halved that often
    """
    sizes = list_sizes(size_voxels)
    if num_layers >= len(sizes):
        calc_halved_size(sizes[-1])  # raises
    return sizes[: num_layers + 1]


class Encoder(nn.Module):
    """Layers that each halve the image's side, then one convolution to the output channels.

    layers:          the field type after each layer
    size_voxels:     the image's side
    convs_per_layer: convolutions in each layer; the first of them is the strided one
    kernel_size:     of all convolutions, odd
    conv:            `SteerableConv` or `UnconstrainedConv`
    nonlinearity:    grid, function, irreps: see `FieldNonlinearity`
    """

    def __init__(
        self,
        irreps_in: Irreps,
        layers: Sequence[FieldType],
        irreps_out: Irreps,
        *,
        size_voxels: int,
        convs_per_layer: int,
        kernel_size: int,
        conv: type[nn.Module],
        **nonlinearity,
    ):
        super().__init__()
        self.irreps_in = Irreps(irreps_in)
        self.irreps_out = Irreps(irreps_out)
        same_size = {"kernel_size": kernel_size, "padding": kernel_size // 2}

        blocks = []
        irreps = self.irreps_in
        for field_type, size in zip(layers, calc_sizes(size_voxels, len(layers)), strict=False):
            convolution = {**same_size, "stride": 2, "padding": choose_padding(size, kernel_size)}
            for _ in range(convs_per_layer):
                block = ConvBlock(irreps, field_type, conv=conv, **nonlinearity, **convolution)
                blocks.append(block)
                irreps = block.irreps_out
                convolution = same_size
        self.blocks = nn.Sequential(*blocks)
        self.head = conv(irreps, self.irreps_out, **same_size, bias=True)

    def forward(self, image: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x2 y2 z2"]:
        return self.head(self.blocks(image.to(memory_format=torch.channels_last_3d)))
