"""The network F of the denoiser: a U-Net whose fields the noise level modulates.

Letters: b batch, i o channels in and out, x y z voxels, d conditions.
"""

from collections.abc import Sequence
from functools import partial

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ...nn.conv import SteerableConv, choose_padding
from ...nn.fields import FieldType
from ..blocks import make_layer
from ..encoder import calc_sizes

NUM_FREQUENCIES = 32


class NoiseEmbedding(nn.Module):
    """Numbers that describe the noise level: a perceptron of c_noise.

    kind:   "fourier" for random Fourier features of c_noise, or "linear" for the number itself
    source: Tancik et al. 2020 for the features; Karras et al. 2024 (EDM2), appendix B
    """

    def __init__(self, kind: str, num_conditions: int):
        super().__init__()
        self.kind = kind
        if kind == "fourier":
            self.register_buffer("frequencies", 2 * torch.pi * torch.randn(NUM_FREQUENCIES))
            self.register_buffer("phases", 2 * torch.pi * torch.rand(NUM_FREQUENCIES))
        self.perceptron = nn.Sequential(
            nn.Linear(NUM_FREQUENCIES if kind == "fourier" else 1, num_conditions),
            nn.SiLU(),
            nn.Linear(num_conditions, num_conditions),
            nn.SiLU(),
        )

    def forward(self, c_noise: Float[Tensor, " b"]) -> Float[Tensor, "b d"]:
        features = c_noise[:, None]
        if self.kind == "fourier":
            features = 2**0.5 * (features * self.frequencies + self.phases).cos()
        return self.perceptron(features)


class UNet(nn.Module):
    """Layers at several resolutions, down and up again, with skips between the two.

    On the way up, the fields of the coarser resolution are joined with those that were there on the
    way down.  The weights of the last convolution are zero at first.

    layers:          fields at each resolution, the finest first
    size_voxels:     the image's side
    noise_embedding, num_conditions: see `NoiseEmbedding`
    convs_per_layer: blocks at each resolution, in each direction
    blocks, kernel_size, conv, options: as for `Encoder`
    """

    def __init__(
        self,
        irreps_in: Irreps,
        layers: Sequence[FieldType],
        irreps_out: Irreps,
        *,
        size_voxels: int,
        noise_embedding: str = "fourier",
        num_conditions: int = 64,
        convs_per_layer: int = 1,
        blocks: str = "plain",
        kernel_size: int = 3,
        conv: type[nn.Module] = SteerableConv,
        **options,
    ):
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        same = partial(conv, kernel_size=kernel_size, padding=kernel_size // 2)
        sizes = calc_sizes(size_voxels, len(layers) - 1)[:-1]
        make = partial(
            make_layer,
            convs_per_layer=convs_per_layer,
            blocks=blocks,
            kernel_size=kernel_size,
            conv=conv,
            num_conditions=num_conditions,
            **options,
        )

        def change_size(size: int, **direction):
            padding = choose_padding(size, kernel_size)
            return partial(
                conv, kernel_size=kernel_size, stride=2, padding=padding, **direction
            )

        self.embedding = NoiseEmbedding(noise_embedding, num_conditions)
        firsts = [same, *map(change_size, sizes)]
        befores = [self.irreps_in, *(layer.irreps for layer in layers)]
        self.down = nn.ModuleList(
            nn.ModuleList(make(before, layer, first=first))
            for before, layer, first in zip(befores, layers, firsts, strict=False)
        )
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for i in reversed(range(len(sizes))):
            bigger = change_size(sizes[i], transposed=True)
            self.grow += make(layers[i + 1].irreps, layers[i], first=bigger, convs_per_layer=1)
            joined = layers[i].irreps + layers[i].irreps
            self.up.append(nn.ModuleList(make(joined, layers[i], first=same)))
        self.head = same(layers[0].irreps, self.irreps_out, bias=True)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, image: Float[Tensor, "b i x y z"], c_noise: Float[Tensor, " b"]
    ) -> Float[Tensor, "b o x y z"]:
        conditions = self.embedding(c_noise)
        # Given by keyword, or torch would count the costs of blocks wrongly.
        image = image.to(memory_format=torch.channels_last_3d)
        skips = []
        for layer in self.down:
            for block in layer:
                image = block(image, conditions=conditions)
            skips.append(image)
        skips.pop()
        for grow, layer in zip(self.grow, self.up, strict=True):
            image = torch.cat([grow(image, conditions=conditions), skips.pop()], dim=1)
            for block in layer:
                image = block(image, conditions=conditions)
        return self.head(image)
