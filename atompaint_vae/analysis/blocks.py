"""Solid blocks: regions that a reconstruction fills in and its input does not.

C: channels, X Y Z: voxels
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SIDE_A = 3.0
"""Twice the diameter of an atom's ball of radius 0.75 Å: such a cube has the volume of 15 balls."""

MIN_FILLED = 0.25
"""Atoms never fill a cube of that side so evenly: in the crops of the committed runs, the emptiest
voxel of every such cube is filled to 0.01 at most."""


@dataclass(frozen=True)
class SolidBlock:
    """
    One connected region that a reconstruction fills in.

    voxels:      int [n, 3], indices along x, y and z
    center_A:    [3], mean of the voxels, in the crop's frame, whose origin is the crop's centre
    volume_A3:   of all its voxels
    mean_filled: mean filled fraction of its voxels, over all channels
    channel:     index of the channel that fills most of it
    """

    voxels: np.ndarray
    center_A: np.ndarray
    volume_A3: float
    mean_filled: float
    channel: int


def find_solid_blocks(
    image: np.ndarray, reconstruction: np.ndarray, resolution_A: float
) -> list[SolidBlock]:
    """
    Find the solid blocks of a reconstruction that its input doesn't have, largest first.

    With the channels summed, a cube of SIDE_A is solid if its emptiest voxel is filled to
    MIN_FILLED or more, and to at least half of its fullest one. Solid cubes that overlap or share a
    voxel's face form one block. Blocks that share a voxel with a solid cube of the input are left
    out. Cubes lie entirely within the crop; their side is rounded up to whole voxels.

    image, reconstruction: float [C, X, Y, Z], filled fractions
    """
    from scipy import ndimage  # slow to import, and few pages show reconstructions

    density = reconstruction.sum(axis=0, dtype=np.float32)
    labels, _ = ndimage.label(find_solid_voxels(density, resolution_A))
    is_solid_in_input = find_solid_voxels(image.sum(axis=0, dtype=np.float32), resolution_A)

    blocks = []
    for label, region in enumerate(ndimage.find_objects(labels), start=1):
        is_block = labels[region] == label
        if (is_block & is_solid_in_input[region]).any():
            continue
        voxels = np.argwhere(is_block) + [axis.start for axis in region]
        x, y, z = voxels.T
        half = (np.array(density.shape) - 1) / 2
        blocks.append(
            SolidBlock(
                voxels=voxels,
                center_A=(voxels.mean(axis=0) - half) * resolution_A,
                volume_A3=len(voxels) * resolution_A**3,
                mean_filled=float(density[x, y, z].mean()),
                channel=int(reconstruction[:, x, y, z].mean(axis=1, dtype=np.float64).argmax()),
            )
        )
    return sorted(blocks, key=lambda block: -block.volume_A3)


def find_solid_voxels(density: np.ndarray, resolution_A: float) -> np.ndarray:
    """
    Mark the voxels that lie in a solid cube, as find_solid_blocks defines it.

    density: float [X, Y, Z], filled fraction over all channels
    returns: bool [X, Y, Z]
    """
    least, most = calc_filled_range(density, resolution_A)
    if not least.size:
        return np.zeros(density.shape, dtype=bool)
    side = density.shape[0] - least.shape[0] + 1
    is_solid = np.pad((least >= MIN_FILLED) & (least >= most / 2), side - 1)
    return sliding_window_view(is_solid, (side,) * 3).any(axis=(-3, -2, -1))


def calc_filled_range(
    density: np.ndarray, resolution_A: float
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the filled fractions of the emptiest and the fullest voxel of each cube of SIDE_A.

    density: float [X, Y, Z], filled fraction over all channels
    returns: two arrays, indexed by the cubes' first voxels; empty if the crop is smaller than a
             cube
    """
    side = int(np.ceil(SIDE_A / resolution_A - 1e-6))
    if side > min(density.shape):
        return np.empty((0, 0, 0)), np.empty((0, 0, 0))
    windows = sliding_window_view(density, (side,) * 3)
    axes = (-3, -2, -1)
    return windows.min(axis=axes), windows.max(axis=axes)
