"""Baselines for the equivariant models.

Letters: b batch, c i o channels, x y z voxels, p patches, n numbers of a patch.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class PatchPCA:
    """Principal components of patches, cubes that don't overlap: the best linear compression of
    each patch by itself.

    batches:    images [b, c, x, y, z] to fit the components to
    side:       of a patch, in voxels; the images' side is a multiple of it
    components: [n, n], in columns, by decreasing variance
    """

    def __init__(self, batches: Iterable[Tensor], side: int):
        self.side = side
        num_patches, total, products = 0, 0.0, 0.0
        for images in batches:
            patches = self._cut(images)
            num_patches += len(patches)
            total = total + patches.double().sum(dim=0)
            products = products + (patches.T @ patches).double()
        mean = total / num_patches
        covariance = products / num_patches - torch.outer(mean, mean)
        self.mean = mean.to(images)
        self.components = torch.linalg.eigh(covariance).eigenvectors.flip(1).to(images)

    def reconstruct(
        self, images: Float[Tensor, "b c x y z"], num_components: int
    ) -> Float[Tensor, "b c x y z"]:
        """Compress each patch to so many numbers, and reconstruct the images."""
        basis = self.components[:, :num_components]
        patches = (self._cut(images) - self.mean) @ basis @ basis.T + self.mean
        b, c, *_ = images.shape
        num, side = images.shape[-1] // self.side, self.side
        cubes = patches.view(b, num, num, num, c, side, side, side)
        return cubes.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(images.shape)

    def _cut(self, images: Float[Tensor, "b c x y z"]) -> Float[Tensor, "p n"]:
        b, c, size, *_ = images.shape
        num, side = size // self.side, self.side
        cubes = images.reshape(b, c, num, side, num, side, num, side)
        return cubes.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b * num**3, c * side**3)


def coarsen(images: Float[Tensor, "b c x y z"], size: int) -> Float[Tensor, "b c x y z"]:
    """Average images down to a side of `size` voxels, and interpolate them back."""
    small = F.interpolate(images, (size,) * 3, mode="area")
    return F.interpolate(small, images.shape[2:], mode="trilinear", align_corners=False)
