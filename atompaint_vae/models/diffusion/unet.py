"""The network F of the denoiser: a U-Net whose fields the noise level modulates.

Letters: b batch, i o channels in and out, x y z voxels, d conditions, p a patch's side.
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
    patch_size:      side of the cubes of voxels that are the channels of one voxel of the first
                     layer, and are seen again by the last; cubes aren't equivariant, so only an
                     unconstrained network may have them
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
        patch_size: int = 1,
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
        self.patch_size = patch_size
        inside = [_make_patched(x, patch_size) for x in (self.irreps_in, self.irreps_out)]
        same = partial(conv, kernel_size=kernel_size, padding=kernel_size // 2)
        sizes = calc_sizes(-(-size_voxels // patch_size), len(layers) - 1)[:-1]
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
        befores = [inside[0], *(layer.irreps for layer in layers)]
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
        seen = layers[0].irreps + inside[0] if patch_size > 1 else layers[0].irreps
        self.head = same(seen, inside[1], bias=True)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, image: Float[Tensor, "b i x y z"], c_noise: Float[Tensor, " b"]
    ) -> Float[Tensor, "b o x y z"]:
        conditions = self.embedding(c_noise)
        size_voxels = image.shape[-1]
        image = patches = split_patches(image, self.patch_size)
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
        if self.patch_size > 1:
            image = torch.cat([image, patches], dim=1)
        return join_patches(self.head(image), self.patch_size, size_voxels)


def split_patches(
    image: Float[Tensor, "b i x y z"], patch_size: int
) -> Float[Tensor, "b ippp x2 y2 z2"]:
    """Return the cubes of p³ voxels of an image as channels; zeros fill those at the far border."""
    missing = -image.shape[-1] % patch_size
    image = nn.functional.pad(image, (0, missing) * 3)
    for dim in (2, 4, 6):
        image = image.unflatten(dim, (-1, patch_size))
    return image.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def join_patches(
    patches: Float[Tensor, "b ippp x2 y2 z2"], patch_size: int, size_voxels: int
) -> Float[Tensor, "b i x y z"]:
    """Return the image of these patches, without what `split_patches` filled with zeros."""
    image = patches.unflatten(1, (-1, *[patch_size] * 3)).permute(0, 1, 5, 2, 6, 3, 7, 4)
    for dim in (2, 3, 4):
        image = image.flatten(dim, dim + 1)
    return image[:, :, :size_voxels, :size_voxels, :size_voxels]


def _make_patched(irreps: Irreps, patch_size: int) -> Irreps:
    return irreps if patch_size == 1 else Irreps([(irreps.dim * patch_size**3, (0, 1))])
