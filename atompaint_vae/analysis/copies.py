"""Copies: images like one of a training set, in any of the 24 orientations of the cube.

b: images, c: channels, x: voxels along an axis, m: training images, d: cells of all channels
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..nn.rotations import make_octahedral_group, rotate_voxels

CELL_A = 3.0
"""Side of the cells that images are compared by: coarse, so that copies need not be exact. With 400
training crops of 21 Å, the nearest is at 0.72 (median) for test crops, at least at 0.60; for
training crops that are cut again 1 Å away at 0.20, 2 Å away at 0.55, and turned by 10° at 0.32. The
voxels themselves tell no more, and take 20 times longer."""

BATCH_SIZE = 64


class TrainingImages:
    """Images that others are compared with.

    batches: [b, c, x, x, x]
    """

    def __init__(self, batches: Iterable[Tensor], *, resolution_A: float):
        self.resolution_A = resolution_A
        cells = [self._pool(batch) for batch in batches]
        self.cells: Float[Tensor, "m d"] = torch.cat([_standardise(x) for x in cells])

    def calc_distances(self, images: Float[Tensor, "b c x x x"]) -> Float[Tensor, " b"]:
        """Calculate the distance of each image to the nearest training image.

        It is 1 − r, where r is the correlation over the cells of all channels, each without its
        mean; the largest of all training images and 24 rotations. A copy has 0. Blurred images have
        no advantage over sharp ones, as they would in Euclidean distance.

        returns: 1 for an image that is empty or constant
        """
        nearest = [self._find_largest(self._pool(x)) for x in images.split(BATCH_SIZE)]
        return 1 - torch.cat(nearest)

    def _find_largest(self, cells: Float[Tensor, "b c x x x"]) -> Float[Tensor, " b"]:
        turned = (rotate_voxels(cells, rotation) for rotation in make_octahedral_group())
        largest = [(_standardise(x) @ self.cells.T).amax(dim=1) for x in turned]
        return torch.stack(largest).amax(dim=0)

    def _pool(self, images: Float[Tensor, "b c x x x"]) -> Tensor:
        return F.adaptive_avg_pool3d(images, round(images.shape[-1] * self.resolution_A / CELL_A))


def _standardise(cells: Float[Tensor, "b c x x x"]) -> Float[Tensor, "b d"]:
    """Return the deviations from each channel's mean, scaled to length one."""
    return F.normalize((cells - cells.mean(dim=(2, 3, 4), keepdim=True)).flatten(1))
