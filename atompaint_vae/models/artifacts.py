"""What a model made, for records: images that are stored, and metrics of the atoms in them.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..analysis.geometry import (
    Geometry,
    calc_bonded_interval,
    calc_geometry,
    find_interior,
    pool_geometries,
)
from ..data.crops.sampler import Crop

STORED_STEP = 1 / 128
"""Stored images are rounded to this fraction of a voxel, to compress well."""

STORED_LIMITS = (-1.0, 2.0)
"""Of stored images, which are only looked at: badly trained models go far beyond [0, 1]."""


def pack_images(images: Float[Tensor, "b c x y z"]) -> Float[np.ndarray, "b c x y z"]:
    """Return images as they are stored, in float16."""
    rounded = (images.clamp(*STORED_LIMITS) / STORED_STEP).round() * STORED_STEP
    return rounded.cpu().numpy().astype(np.float16)


def pool_crops(crops: Iterable[Crop], side_A: float) -> Geometry:
    """Return the geometry of the crops' own atoms, in the interior."""
    return pool_geometries(
        calc_geometry(x.coords_A, x.channels, find_interior(x.coords_A, side_A)) for x in crops
    )


def describe_geometry(
    found: Sequence[Geometry], groups: Sequence[str], true: Geometry
) -> dict[str, float]:
    """Return metrics of the atoms found in images.

    bonded:       share of the atoms whose nearest neighbour is as far away as a bond is long, 1.15
                  to 1.75 Å; atoms near the border don't count
    bonded_low, bonded_high: its 95 % interval over the groups of the images
    bonded_true:  the same share of real crops' own atoms
    clashing, isolated: shares of those whose nearest neighbour is nearer, or farther away
    nearest_A:    median distance to the nearest neighbour

    found:  of each image
    groups: of the images: their structures, or a name each if they are independent
    true:   of real crops
    """
    pooled = pool_geometries(found)
    low, high = calc_bonded_interval(found, groups)
    return {
        "bonded": pooled.bonded,
        "bonded_low": low,
        "bonded_high": high,
        "bonded_true": true.bonded,
        "clashing": pooled.clashing,
        "isolated": pooled.isolated,
        "nearest_A": pooled.median_nearest_A,
    }
