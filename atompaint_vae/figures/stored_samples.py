"""The images that a run generated, with test crops beside them, for figures and pages."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .colours import CHANNEL_COLOURS
from .stored_crops import StoredImageError, check_exist, load_arrays

IMAGES = ("sample", "crop", "path")
ARRAYS = (*IMAGES, "path_sigma", "resolution_A")
CHANNEL_NAMES = tuple(CHANNEL_COLOURS)


@dataclass(frozen=True)
class StoredSamples:
    """
    Generated images, test crops, and how the first of the images came about.

    samples:     float16 [n, C, X, Y, Z], filled fractions
    crops:       float16 [m, C, X, Y, Z], likewise
    path:        float16 [k, C, X, Y, Z], from noise to image
    path_sigmas: float [k], the noise level of each
    """

    samples: np.ndarray
    crops: np.ndarray
    path: np.ndarray
    path_sigmas: np.ndarray
    resolution_A: float


def find_samples(run: Path) -> Path:
    """Return the file of a run that read_samples reads."""
    return run / "samples.npz"


def read_samples(run: Path) -> StoredSamples:
    """
    Return the images that a run generated.

    run:    a run's folder
    raises: StoredImageError if the file is missing, or isn't what a run writes
    """
    path = find_samples(run)
    check_exist(run, [path])
    arrays = load_arrays(path, ARRAYS)
    name = f"{run.name}/{path.name}"
    if not all(np.issubdtype(arrays[x].dtype, np.number) for x in ARRAYS):
        raise StoredImageError(f"{name}: expected numbers in {', '.join(ARRAYS)}")
    shape = arrays["sample"].shape
    for key in IMAGES:
        found = arrays[key].shape
        if len(found) != 5 or found[1:] != shape[1:] or found[1] != len(CHANNEL_NAMES):
            raise StoredImageError(
                f"{name}: {key!r} is of shape {found}, expected [images, {len(CHANNEL_NAMES)}, x,"
                " y, z], with the same sides for all images"
            )
        if not np.isfinite(arrays[key]).all():
            raise StoredImageError(f"{name}: {key!r} has densities that are not finite")
    if not len(arrays["sample"]):
        raise StoredImageError(f"{name}: no samples")
    if arrays["path_sigma"].shape != arrays["path"].shape[:1]:
        raise StoredImageError(
            f"{name}: 'path_sigma' is of shape {arrays['path_sigma'].shape}, expected one for each"
            f" of the {len(arrays['path'])} images on the path"
        )
    if arrays["resolution_A"].shape or not 0 < arrays["resolution_A"] < np.inf:
        raise StoredImageError(f"{name}: 'resolution_A' is not a positive number")
    return StoredSamples(
        *(arrays[x] for x in IMAGES), arrays["path_sigma"], float(arrays["resolution_A"])
    )
