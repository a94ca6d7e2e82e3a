"""The decoder: latent → image; it mirrors the encoder.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ..nn.conv import choose_padding
from ..nn.fields import FieldType
from .encoder import ConvBlock, calc_sizes


class Decoder(nn.Module):
    """One convolution from the latent, then layers that each double the image's side.

    layers:          the field types of the encoder's layers, in the encoder's order
    size_voxels:     the side of the output image
    convs_per_layer: convolutions at each resolution below the image's
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

        # The input size of each layer of the encoder.
        sizes = calc_sizes(size_voxels, len(layers))[:-1]

        blocks = []
        irreps = self.irreps_in
        same_size = {"kernel_size": kernel_size, "padding": kernel_size // 2}
        convolution = same_size
        for field_type, size in zip(reversed(layers), reversed(sizes), strict=True):
            for _ in range(convs_per_layer):
                block = ConvBlock(irreps, field_type, conv=conv, **nonlinearity, **convolution)
                blocks.append(block)
                irreps = block.irreps_out
                convolution = same_size
            padding = choose_padding(size, kernel_size)
            convolution = {**same_size, "stride": 2, "padding": padding, "transposed": True}
        self.blocks = nn.Sequential(*blocks)
        self.head = conv(irreps, self.irreps_out, bias=True, **convolution)

    def forward(self, latent: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x2 y2 z2"]:
        return self.head(self.blocks(latent.to(memory_format=torch.channels_last_3d)))
