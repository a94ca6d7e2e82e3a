"""Scores of images, such as generated ones, against crops of real structures.

Letters: n images, c channels, x voxels along an axis.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ..analysis.copies import TrainingImages
from ..analysis.distances import (
    calc_distance_interval,
    calc_frechet_infinity,
    calc_kernel_distance,
)
from ..analysis.geometry import (
    MARGIN_A,
    Geometry,
    calc_bonded_interval,
    find_geometry,
    pool_geometries,
)
from ..analysis.intervals import calc_share_interval
from ..text.formats import format_shape
from .neighbor_location.classifier import NeighborClassifier
from .neighbor_location.images import (
    calc_image_features,
    calc_weights,
    can_hold_views,
    predict_faces,
)

MIN_IMAGES = 4
"""The Fréchet distance at infinity needs two in each half."""

MAX_COPY_DISTANCE = 0.5
"""Distance of copies to the nearest training crop, relative to the reference's median. For crops of
15, 21 and 35 Å, test crops are not nearer than 0.77, and 99 % of training crops that are displaced
by 1 Å are."""

MIN_COMMON = 0.5
"""Share of the reference's pairs of views that has to be in classes of density of the images."""


class ImageSet(NamedTuple):
    """Images in the voxelizer's unit, on the CPU, and for each the name of its group.

    groups: names of structures; independent images, such as generated ones, have a group each
    """

    images: Float[Tensor, "n c x x x"]
    groups: Sequence[str]


class Scorer:
    """Scores sets of images against real crops.

    reference:  crops of structures that no model was trained on
    training:   batches of training crops [n, c, x, x, x], to recognise copies
    classifier: whose features and predictions are compared, if there is one
    raises:     ValueError for fewer than four images, and as `NeighborClassifier.calc_features`
    """

    def __init__(
        self,
        reference: ImageSet,
        training: Iterable[Tensor],
        *,
        resolution_A: float,
        radius_A: float,
        classifier: NeighborClassifier | None = None,
    ):
        _check_number(reference)
        self.reference = reference
        self.grid = {"resolution_A": resolution_A, "radius_A": radius_A}
        self.classifier = classifier
        self._geometry = pool_geometries(self._find_geometries(reference.images))
        self._training = TrainingImages(training, resolution_A=resolution_A)
        self._distances = self._training.calc_distances(reference.images)
        size_voxels = reference.images.shape[-1]
        self._has_views = False
        if classifier is not None:
            self._features = calc_image_features(classifier, reference.images)
            self._has_views = can_hold_views(classifier, size_voxels, resolution_A)
        if self._has_views:
            self._predictions = predict_faces(classifier, reference.images, **self.grid)

    def score(self, images: ImageSet) -> dict[str, float]:
        """Return the scores of a set of images; each `_low` and `_high` are a 95 % interval.

        num_images:        number of images
        bonded:            share of the atoms found whose nearest neighbour is 1.15 to 1.75 Å away;
                           only atoms 2 Å inside the image count, here and below
        clashing, isolated: shares of those whose nearest neighbour is nearer, or farther away
        nearest_A:         median distance to the nearest neighbour
        coordination:      mean number of neighbours within 1.75 Å
        bond_CC_A, bond_CN_A, bond_CO_A: distance of the bonds' lengths to the reference's, see
                           `Geometry.score_against`; NaN for fewer than 30 bonds
        bond_A:            their mean over all pairs of elements, each as often as in the reference
        atoms_nm3:         atoms found per volume
        kernel_distance:   of the classifier's features to the reference's, unbiased
        frechet_infinity:  Fréchet distance of them, extrapolated to infinitely many images
        neighbor_accuracy: of the classifier's predictions, weighted such that views are as full as
                           the reference's; NaN if half of these are of other densities; left out
                           if the images are too small for two views
        training_distance: median distance to the nearest training image, see `TrainingImages`,
                           relative to that of the reference
        copied:            share of images for which this is less than a half; 0 for real crops of
                           other structures

        raises: ValueError for fewer than four images, or of another shape than the reference's
        """
        _check_number(images)
        shape, expected = images.images.shape[1:], self.reference.images.shape[1:]
        if shape != expected:
            raise ValueError(
                f"images of {format_shape(shape)}, but the reference has {format_shape(expected)}"
            )
        scores = {"num_images": float(len(images.images)), **self._score_geometry(images)}
        if self.classifier is not None:
            scores |= self._score_features(images)
        if self._has_views:
            scores |= self._score_predictions(images)
        return scores | self._score_copies(images)

    def _find_geometries(self, images: Float[Tensor, "n c x x x"]) -> list[Geometry]:
        progress = tqdm(images, desc="atoms", unit="image", leave=False, disable=None)
        return [find_geometry(image, **self.grid) for image in progress]

    def _score_geometry(self, images: ImageSet) -> dict[str, float]:
        geometries = self._find_geometries(images.images)
        found = pool_geometries(geometries)
        low, high = calc_bonded_interval(geometries, images.groups)
        lengths = found.score_against(self._geometry)
        num_bonds = [len(self._geometry.bond_lengths_A[pair]) for pair in lengths]
        side_nm = (images.images.shape[-1] * self.grid["resolution_A"] - 2 * MARGIN_A) / 10
        return {
            "bonded": found.bonded,
            "bonded_low": low,
            "bonded_high": high,
            "clashing": found.clashing,
            "isolated": found.isolated,
            "nearest_A": found.median_nearest_A,
            "coordination": found.mean_coordination,
            **{f"bond_C{x}_A": lengths.get(("C", x), np.nan) for x in "CNO"},
            "bond_A": float(np.average(list(lengths.values()), weights=num_bonds))
            if lengths
            else np.nan,
            "atoms_nm3": found.num_atoms / len(geometries) / side_nm**3,
        }

    def _score_features(self, images: ImageSet) -> dict[str, float]:
        features = calc_image_features(self.classifier, images.images), self._features
        groups = images.groups, self.reference.groups
        low, high = calc_distance_interval(calc_kernel_distance, features, groups)
        return {
            "kernel_distance": calc_kernel_distance(*features),
            "kernel_distance_low": low,
            "kernel_distance_high": high,
            "frechet_infinity": calc_frechet_infinity(*features),
        }

    def _score_predictions(self, images: ImageSet) -> dict[str, float]:
        is_right, densities = predict_faces(self.classifier, images.images, **self.grid)
        weights = calc_weights(densities, self._predictions.densities_atoms_nm3)
        if weights.sum() < MIN_COMMON:
            weights[:] = 0
        right, total = (is_right * weights).sum(axis=1), weights.sum(axis=1)
        low, high = calc_share_interval(right, images.groups, total)
        return {
            "neighbor_accuracy": right.sum() / total.sum() if total.any() else np.nan,
            "neighbor_accuracy_low": low,
            "neighbor_accuracy_high": high,
        }

    def _score_copies(self, images: ImageSet) -> dict[str, float]:
        distances = self._training.calc_distances(images.images) / self._distances.median()
        return {
            "training_distance": distances.median().item(),
            "copied": (distances < MAX_COPY_DISTANCE).double().mean().item(),
        }


def _check_number(images: ImageSet) -> None:
    if len(images.images) < MIN_IMAGES:
        raise ValueError(f"scores need at least {MIN_IMAGES} images, not {len(images.images)}")
