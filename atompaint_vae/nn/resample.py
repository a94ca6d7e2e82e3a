"""Resampling by two: pooling and upsampling of the sides that a convolution of stride 2 has.

With the padding of `choose_padding`, voxel j of the halved side lies at voxel 2j + 1 − padding of
the other side.  Both layers keep these places, so that they are exactly equivariant to the 24
rotations of the cube.  They act on each channel, and take fields of any type.

Letters: b batch, c channels, x y z voxels.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from .conv import calc_halved_size, choose_padding, convolve


class Pool(nn.Module):
    """Halve the sides of an image by an average over 3³ voxels, with weights 1, 2, 1 along each
    axis.

    Beyond the border, where a convolution would have zeros, the outermost voxels are repeated.

    With these weights every voxel contributes as much as the others, the border aside, and the
    highest frequency of each axis is removed.  Equal weights would pass a third of it, with the
    opposite sign.

    raises: ValueError if a side is even or below 3
    source: Zhang 2019, Making Convolutional Networks Shift-Invariant Again
    """

    def __init__(self, irreps: Irreps):
        super().__init__()
        self.irreps_in = self.irreps_out = Irreps(irreps)
        self._num_channels = self.irreps_in.dim
        weights = torch.tensor([0.25, 0.5, 0.25])
        kernel = torch.einsum("i,j,k->ijk", weights, weights, weights)
        self.register_buffer("_kernel", kernel[None, None], persistent=False)

    def forward(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x2 y2 z2"]:
        # F.pad takes the last axis first, and both ends of each.
        padding = [choose_padding(size) for size in reversed(image.shape[2:]) for _ in range(2)]
        return convolve(
            F.pad(image, padding, mode="replicate"),
            self._kernel.expand(self._num_channels, 1, 3, 3, 3),
            None,
            stride=2,
            padding=0,
            transposed=False,
            groups=self._num_channels,
        )

    def extra_repr(self):
        return f"{self.irreps_in.simplify()}"


class Upsample(nn.Module):
    """Reverse a halving of an image's sides.

    size_voxels: the sides of the output; those of the input are its halves, as `calc_halved_size`
                 has them
    mode:        nearest: each voxel twice along each axis, except the central one, once or three
                 times, which the sides decide.  Of two voxels that are equally near, this takes
                 the outer one if the padding is 1, and the inner one if it is 0.
                 trilinear: voxels between two are their mean, and those beyond the outermost,
                 if the padding is 0, repeat it.

    raises: ValueError if size_voxels is even or below 3, or the input has other sides
    """

    def __init__(self, irreps: Irreps, *, size_voxels: int, mode: Literal["nearest", "trilinear"]):
        super().__init__()
        self.irreps_in = self.irreps_out = Irreps(irreps)
        self.size_voxels = size_voxels
        self.mode = mode
        self._size_in = calc_halved_size(size_voxels)

    def forward(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x2 y2 z2"]:
        if image.shape[2:] != (self._size_in,) * 3:
            raise ValueError(
                f"expected an image of {self._size_in} voxels a side, to make it "
                f"{self.size_voxels}; got {list(image.shape[2:])}"
            )
        if self.mode == "nearest":
            # torch's "nearest" isn't symmetric about the centre.
            return F.interpolate(image, size=[self.size_voxels] * 3, mode="nearest-exact")
        size_inner = 2 * self._size_in - 1
        inner = F.interpolate(image, size=[size_inner] * 3, mode="trilinear", align_corners=True)
        padding = (self.size_voxels - size_inner) // 2
        # Autocast would pad in float32.
        return F.pad(inner, [padding] * 6, mode="replicate").to(inner.dtype)

    def extra_repr(self):
        return f"{self.irreps_in.simplify()}, to {self.size_voxels} voxels, {self.mode}"
