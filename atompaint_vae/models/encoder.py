"""The encoder: image → output channels, such as the parameters of a posterior.

Letters: b batch, i o channels in and out, x y z voxels.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ..nn.conv import SteerableConv, calc_halved_size
from ..nn.fields import FieldType
from ..nn.resample import Pool
from ..text.formats import format_shape
from .blocks import ResampledConv, make_layer


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


def check_shape(what: str, found: Sequence[int], expected: Sequence[int]) -> None:
    """Check the shape of a batch; raises: ValueError if an axis is missing or has another length.

    expected: the shape of one item
    """
    if tuple(found[1:]) == tuple(expected):
        return
    hint = "; one needs a batch axis too" if tuple(found) == tuple(expected) else ""
    wanted = format_shape(("n", *expected))
    raise ValueError(f"{what}: expected shape {wanted}, got {format_shape(found)}{hint}")


class Encoder(nn.Module):
    """Layers that each halve the image's side, then one convolution to the output channels.

    Images may also have another side, if it can be halved as often.

    layers:          the field type after each layer
    size_voxels:     the image's side, `size_out` that of the result
    downsampling:    "strided", or "pooled" for averages after an ordinary convolution
    alignment:       "exact" for sides that keep the cube's symmetry, or "none" for strided
                     convolutions that always pad by half a kernel
    convs_per_layer: convolutions in each layer; the first of them halves the side
    blocks:          "plain", or "residual" for those after the first
    kernel_size:     of all convolutions, odd
    conv:            `SteerableConv` or `UnconstrainedConv`
    options:         norm, grid, function, irreps: see `ConvBlock`
    """

    def __init__(
        self,
        irreps_in: Irreps,
        layers: Sequence[FieldType],
        irreps_out: Irreps,
        *,
        size_voxels: int,
        downsampling: str = "strided",
        alignment: str = "exact",
        convs_per_layer: int = 1,
        blocks: str = "plain",
        kernel_size: int = 3,
        conv: type[nn.Module] = SteerableConv,
        **options,
    ):
        super().__init__()
        self.irreps_in = Irreps(irreps_in)
        self.irreps_out = Irreps(irreps_out)
        half = kernel_size // 2
        same = partial(conv, kernel_size=kernel_size, padding=half)
        if alignment == "exact":
            self.size_out, padding = calc_sizes(size_voxels, len(layers))[-1], "auto"
        else:
            self.size_out, padding = math.ceil(size_voxels / 2 ** len(layers)), half
        if downsampling == "pooled":
            first = partial(_make_pooled, same)
        else:
            first = partial(conv, kernel_size=kernel_size, stride=2, padding=padding)

        modules: list[nn.Module] = []
        irreps = self.irreps_in
        for field_type in layers:
            modules += make_layer(
                irreps,
                field_type,
                first=first,
                convs_per_layer=convs_per_layer,
                blocks=blocks,
                kernel_size=kernel_size,
                conv=conv,
                **options,
            )
            irreps = field_type.irreps
        self.blocks = nn.Sequential(*modules)
        self.head = same(irreps, self.irreps_out, bias=True)

    def forward(self, image: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x2 y2 z2"]:
        return self.head(self.blocks(image.to(memory_format=torch.channels_last_3d)))


def _make_pooled(conv, irreps_in: Irreps, irreps_out: Irreps) -> ResampledConv:
    return ResampledConv(conv(irreps_in, irreps_out), Pool(irreps_out))
