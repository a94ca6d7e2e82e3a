"""Atoms found in images, compared with those of the crops."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from ..data.crops.dataset import CropDataset
from ..data.crops.sampler import Crop
from .matching import count_matches, match_atoms
from .peaks import find_atoms

ALL, ANY = "all", "any"
"""Rows besides those of the elements: their sum; atoms matched regardless of element."""


def count_atoms(
    image: Float[Tensor, "c x y z"],
    crop: Crop,
    dataset: CropDataset,
    *,
    min_weights: Sequence[float] = (0.5,),
) -> pd.DataFrame:
    """Count the atoms found in an image of a crop, as `count_matches`.

    Only atoms whose centres are inside the image count.

    min_weights: see `find_atoms`
    returns:     a row for each of min_weights, and each of the elements, ALL and ANY
    """
    found = find_atoms(
        image,
        resolution_A=dataset.resolution_A,
        radius_A=dataset.radius_A,
        min_weight=min(min_weights),
    )
    half_A = dataset.size_voxels * dataset.resolution_A / 2
    tables = {}
    for min_weight in min_weights:
        chosen = found.select(found.weights >= min_weight)
        coords_A, channels = chosen.coords_A.numpy(), chosen.channels.numpy()
        inside = {
            "found_counts": (np.abs(coords_A) < half_A).all(axis=1),
            "true_counts": (np.abs(crop.coords_A) < half_A).all(axis=1),
        }
        match = match_atoms(coords_A, channels, crop.coords_A, crop.channels)
        counts = count_matches(match, channels, crop.channels, **inside)
        no_element = np.zeros_like(channels), np.zeros_like(crop.channels)
        match = match_atoms(coords_A, no_element[0], crop.coords_A, no_element[1])
        blind = count_matches(match, *no_element, **inside)
        sums = pd.DataFrame({ALL: counts.sum(), ANY: blind.sum()}).T
        tables[min_weight] = pd.concat([counts, sums])
    return pd.concat(tables, names=["min_weight", "element"])
