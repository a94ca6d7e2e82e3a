"""What a classifier sees in whole images, whose atoms aren't known.

Letters: b images, c channels, x voxels along an axis, d features, n pairs of views.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from .classifier import NeighborClassifier
from .views import FACES, ViewPair

BIN_ATOMS_NM3 = 5.0
"""Width of the classes of density within which accuracies are compared."""

BATCH_SIZE = 16


class Predictions(NamedTuple):
    """Which predictions of six pairs of views in each image are right, and their densities."""

    is_right: Bool[np.ndarray, "b 6"]
    densities_atoms_nm3: Float64[np.ndarray, "b 6"]


def calc_image_features(
    model: NeighborClassifier, images: Float[Tensor, "b c x x x"]
) -> Float64[np.ndarray, "b d"]:
    """Calculate the features of images in batches; see `NeighborClassifier.calc_features`."""
    device = model.image_std.device
    with torch.no_grad():
        parts = [model.calc_features(x.to(device)).double() for x in images.split(BATCH_SIZE)]
    return torch.cat(parts).cpu().numpy()


def calc_gap_voxels(gap_A: float, resolution_A: float) -> int:
    """Return the odd number of voxels nearest to a gap, for pairs that the centre divides."""
    return 2 * math.floor(gap_A / resolution_A / 2) + 1


def can_hold_views(model: NeighborClassifier, size_voxels: int, resolution_A: float) -> bool:
    """Tell whether images are large enough for two views beside each other."""
    return 2 * model.size_voxels + calc_gap_voxels(model.gap_A, resolution_A) <= size_voxels


def cut_image_views(
    images: Float[Tensor, "b c x x x"], size_voxels: int, gap_voxels: int
) -> ViewPair:
    """Cut six pairs of views out of each image, one for each face, about its centre.

    The views aren't turned, as that would interpolate.

    size_voxels: of a view; odd, as is the gap and the images' side
    returns:     [6 b, 2, ...]; pairs 6 i to 6 i + 5 are those of image i
    """
    size = images.shape[-1]
    first = (size - 2 * size_voxels - gap_voxels) // 2
    middle = (size - size_voxels) // 2
    pairs = []
    for axis in range(3):
        starts = (first, first + size_voxels + gap_voxels)
        low, high = (
            _cut(images, [start if i == axis else middle for i in range(3)], size_voxels)
            for start in starts
        )
        pairs += [torch.stack([low, high], dim=1), torch.stack([high, low], dim=1)]
    faces = torch.arange(len(FACES)).repeat(len(images))
    return ViewPair(torch.stack(pairs, dim=1).flatten(0, 1), faces)


def _cut(image: Tensor, starts: list[int], size: int) -> Tensor:
    x, y, z = (slice(start, start + size) for start in starts)
    return image[:, :, x, y, z]


def predict_faces(
    model: NeighborClassifier,
    images: Float[Tensor, "b c x x x"],
    *,
    resolution_A: float,
    radius_A: float,
) -> Predictions:
    """Predict the faces of pairs of views cut from images.

    The density of a pair is that of its emptier view: the filled volume, in atoms.
    """
    gap_voxels = calc_gap_voxels(model.gap_A, resolution_A)
    ball_A3 = 4 / 3 * math.pi * radius_A**3
    is_right, densities = [], []
    for batch in images.split(BATCH_SIZE):
        views, face = cut_image_views(batch, model.size_voxels, gap_voxels)
        with torch.no_grad():
            predicted = model(views.to(model.image_std.device)).argmax(dim=1).cpu()
        is_right.append((predicted == face).view(-1, len(FACES)))
        filled = views.double().sum(dim=2).mean(dim=(2, 3, 4)).amin(dim=1)
        densities.append(filled.view(-1, len(FACES)) * 1000 / ball_A3)
    return Predictions(torch.cat(is_right).numpy(), torch.cat(densities).numpy())


def calc_weights(
    densities_atoms_nm3: Float64[np.ndarray, "b 6"], reference_atoms_nm3: Float64[np.ndarray, "m 6"]
) -> Float64[np.ndarray, "b 6"]:
    """Return weights that make the densities of pairs as frequent as those of a reference.

    Densities are put into classes of 5 atoms/nm³. Pairs whose class the reference lacks have no
    weight. The weights' sum is the share of the reference in classes that both have.

    source: direct standardisation, Rothman et al. 2008, Modern Epidemiology, ch. 3
    """
    classes, reference = (
        np.floor(x / BIN_ATOMS_NM3).astype(int) for x in (densities_atoms_nm3, reference_atoms_nm3)
    )
    weights = np.zeros(classes.shape)
    for each in np.unique(classes):
        is_in = classes == each
        weights[is_in] = (reference == each).mean() / is_in.sum()
    return weights
