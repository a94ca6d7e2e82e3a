"""The decoder: latent → image.

Letters: b batch, i o channels in and out, x y z voxels.
"""

from collections.abc import Sequence
from functools import partial

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ..nn.conv import SteerableConv, choose_padding
from ..nn.fields import FieldType
from ..nn.resample import Upsample
from .blocks import ResampledConv, make_layer
from .encoder import calc_sizes


class Decoder(nn.Module):
    """One convolution from the latent, then layers that each double the image's side.

    layers:          the field type at each resolution below the image's, the finest first
    size_voxels:     the side of the output image
    upsampling:      "transposed", or "nearest" or "trilinear" before an ordinary convolution
    convs_per_layer: convolutions at each of these resolutions
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
        upsampling: str = "transposed",
        convs_per_layer: int = 1,
        blocks: str = "plain",
        kernel_size: int = 3,
        conv: type[nn.Module] = SteerableConv,
        **options,
    ):
        super().__init__()
        self.irreps_in = Irreps(irreps_in)
        self.irreps_out = Irreps(irreps_out)
        same = partial(conv, kernel_size=kernel_size, padding=kernel_size // 2)

        # The sides that the layers of the encoder halve.
        sizes = calc_sizes(size_voxels, len(layers))[:-1]

        modules: list[nn.Module] = []
        irreps, first = self.irreps_in, same
        for field_type, size in zip(reversed(layers), reversed(sizes), strict=True):
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
            if upsampling == "transposed":
                padding = choose_padding(size, kernel_size)
                strided = {"kernel_size": kernel_size, "stride": 2, "padding": padding}
                first = partial(conv, transposed=True, **strided)
            else:
                first = partial(_make_upsampled, same, size_voxels=size, mode=upsampling)
        self.blocks = nn.Sequential(*modules)
        self.head = first(irreps, self.irreps_out, bias=True)

    def forward(self, latent: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x2 y2 z2"]:
        return self.head(self.blocks(latent.to(memory_format=torch.channels_last_3d)))


def _make_upsampled(
    conv, irreps_in: Irreps, irreps_out: Irreps, *, size_voxels: int, mode: str, bias: bool = False
) -> ResampledConv:
    upsample = Upsample(irreps_in, size_voxels=size_voxels, mode=mode)
    return ResampledConv(upsample, conv(irreps_in, irreps_out, bias=bias))
