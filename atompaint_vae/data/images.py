"""
Voxel images <-> files: CCP4/MRC maps, which PyMOL and ChimeraX open, and npz.

A map holds one channel. Its header says how large the voxels are and where the first one lies, so
that programs show the image around the point that its frame has there.

n: images, c: channels, x y z: voxels, s: spatial axes
"""

import io
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Float

from ..text.errors import UserError
from ..text.files import write_atomic, write_together
from .crops.voxelize import CHANNELS
from .hparams import DataHparams

MAP_SUFFIXES = (".mrc", ".map", ".ccp4")
ORIGIN_CENTER_A = np.zeros(3)
RADIUS_A, DENSITY = (DataHparams.model_fields[x].default for x in ("radius_A", "density"))
"""How atoms look in images that don't say so."""

# Words of the header, counted from 1.
# source: Cheng et al. 2015, MRC2014: extensions to the MRC format header
_START, _SAMPLING, _CELL, _ANGLES, _VERSION, _ORIGIN = 5, 8, 11, 14, 28, 50
_FORMAT = 20140
_FLOAT32 = 2

_TOLERANCE = 1e-3
"""Relative: cells of deposited maps are rounded."""


class ImageFileError(UserError):
    """Files that aren't images, or not of one image. The message is one line."""


class MappedImage(NamedTuple):
    """
    An image, and where it lies.

    image:    float32; channels without a map are zero
    center_A: the image's centre in the frame of the maps
    """

    image: Float[np.ndarray, "c x y z"]
    resolution_A: float
    center_A: Float[np.ndarray, "s"]


class StoredImages(NamedTuple):
    """
    Images of one npz file.

    radius_A, density: how atoms look in them, see `DataHparams`
    structures:        the name of each image's structure; None if the file names none
    """

    images: Float[np.ndarray, "n c x y z"]
    resolution_A: float
    radius_A: float
    density: str
    channel_names: tuple[str, ...] = CHANNELS
    structures: list[str] | None = None


def write_image_maps(
    image: Float[np.ndarray, "c x y z"],
    folder: Path,
    stem: str,
    resolution_A: float,
    *,
    center_A: Float[np.ndarray, "s"] = ORIGIN_CENTER_A,
    channel_names: Sequence[str] = CHANNELS,
) -> list[Path]:
    """
    Write a map for each channel, and return their paths: <stem>_C.mrc, <stem>_N.mrc and so on.

    All maps are written, or none. Voxels are single-precision numbers, not normalised; PyMOL
    normalises maps on loading, unless `set normalize_ccp4_maps, off` comes before.

    center_A: position of the image's centre; with (0, 0, 0), maps lie over atoms of the crop's
              frame
    raises:   ValueError for numbers of channels and names that differ, numbers that aren't finite,
              or a voxel without extent; OSError as `write_together`
    """
    _check(image, resolution_A, channel_names)
    maps = {
        folder / f"{stem}_{name}.mrc": _pack_map(plane, resolution_A, center_A)
        for name, plane in zip(channel_names, image, strict=True)
    }
    write_together(maps, sync=False)
    return list(maps)


def read_image_maps(
    paths: Iterable[str | os.PathLike], *, channel_names: Sequence[str] = CHANNELS
) -> MappedImage:
    """
    Read the maps of one image, each named after its channel, as `write_image_maps` names them.

    The maps may have any order of axes and come from other programs.

    raises: ImageFileError if a file is missing, isn't a map, is named after no channel or one that
            another file has, has numbers that aren't finite, voxels that aren't cubes, or differs
            from the first map in size, voxels or place
    """
    found: dict[int, _Map] = {}
    for path in map(Path, paths):
        channel = _find_channel(path, channel_names)
        if channel in found:
            name = channel_names[channel]
            raise ImageFileError(f"{path}: a second map of {name}, after {found[channel].path}")
        found[channel] = this = _read_map(path)
        _check_same(this, next(iter(found.values())))
    if not found:
        raise ImageFileError("no maps to read")
    first = next(iter(found.values()))
    image = np.zeros((len(channel_names), *first.plane.shape), dtype=np.float32)
    for channel, this in found.items():
        image[channel] = this.plane
    return MappedImage(image, first.resolution_A, first.center_A)


def save_images(
    path: Path,
    images: Float[np.ndarray, "n c x y z"],
    resolution_A: float,
    *,
    radius_A: float = RADIUS_A,
    density: str = DENSITY,
    channel_names: Sequence[str] = CHANNELS,
) -> None:
    """
    Write images as a compressed npz file: image [n, C, X, Y, Z], resolution_A, radius_A, density,
    channels [C].

    radius_A, density: how atoms look in the images, see `DataHparams`
    raises:            ValueError as `write_image_maps`; OSError as `write_atomic`
    """
    _check(images, resolution_A, channel_names)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        image=images,
        resolution_A=np.float64(resolution_A),
        radius_A=np.float64(radius_A),
        density=density,
        channels=list(channel_names),
    )
    write_atomic(path, content.getbuffer())


def load_images(path: str | os.PathLike) -> StoredImages:
    """
    Read images as `save_images` wrote them, in the same precision.

    `radius_A`, `density`, `channels`, and `structure` [n], the name of each image's structure, may
    be missing.

    raises: ImageFileError if the file is missing or isn't one of images
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            images = stored["image"]
            # To six digits, as in maps, since it may be stored in single precision.
            resolution_A, radius_A = (
                float(f"{float(x):.6g}")
                for x in (stored["resolution_A"], stored.get("radius_A", RADIUS_A))
            )
            density = str(stored.get("density", DENSITY))
            channels = stored.get("channels", CHANNELS)
            structures = stored["structure"].tolist() if "structure" in stored else None
        if images.ndim != 5 or not np.issubdtype(images.dtype, np.floating):
            shape = "×".join(map(str, images.shape))
            raise ValueError(f"image is {images.dtype} of shape {shape}; expected n×c×x×y×z floats")
        channel_names = tuple(map(str, channels))
    except KeyError as error:
        raise ImageFileError(f"{path}: no array {error.args[0].split()[0]}") from error
    except FileNotFoundError as error:
        raise ImageFileError(f"{path}: no such file") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ImageFileError(f"{path}: not an npz file of images: {error}") from error
    return StoredImages(images, resolution_A, radius_A, density, channel_names, structures)


class _Map(NamedTuple):
    path: Path
    plane: Float[np.ndarray, "x y z"]
    resolution_A: float
    center_A: Float[np.ndarray, "s"]


def _check(images: np.ndarray, resolution_A: float, channel_names: Sequence[str]) -> None:
    if images.shape[-4] != len(channel_names):
        raise ValueError(f"{images.shape[-4]} channels, but {len(channel_names)} names")
    if not 0 < resolution_A < np.inf:
        raise ValueError(f"voxels of {resolution_A:g} Å")
    if not np.isfinite(images).all():
        raise ValueError("an image with numbers that are not finite")


def _pack_map(
    plane: Float[np.ndarray, "x y z"], resolution_A: float, center_A: Float[np.ndarray, "s"]
) -> bytes:
    sides_A = np.multiply(plane.shape, resolution_A)
    cell = gemmi.UnitCell(*sides_A, 90, 90, 90)
    packed = gemmi.Ccp4Map()
    packed.grid = gemmi.FloatGrid(plane.astype(np.float32), cell, gemmi.SpaceGroup("P1"))
    packed.update_ccp4_header(_FLOAT32)
    packed.set_header_i32(_VERSION, _FORMAT)
    # Of the centre of voxel 0. Where it isn't a multiple of a voxel, NSTART couldn't tell.
    for axis, place_A in enumerate(center_A - (sides_A - resolution_A) / 2):
        packed.set_header_float(_ORIGIN + axis, place_A)
    return packed.ccp4_header + packed.grid.array.astype("<f4").tobytes(order="F")


def _find_channel(path: Path, channel_names: Sequence[str]) -> int:
    if path.suffix.lower() not in MAP_SUFFIXES:
        expected = ", ".join(MAP_SUFFIXES)
        raise ImageFileError(f"{path}: suffix {path.suffix!r} is not a map's: {expected}")
    _, separator, name = path.stem.rpartition("_")
    if not separator or name not in channel_names:
        known = ", ".join(channel_names)
        raise ImageFileError(f"{path}: name doesn't end in _ and a channel; channels: {known}")
    return channel_names.index(name)


def _read_map(path: Path) -> _Map:
    try:
        opened = gemmi.read_ccp4_map(str(path))
        opened.setup(0.0, gemmi.MapSetup.ReorderOnly)
    except FileNotFoundError as error:
        raise ImageFileError(f"{path}: no such file") from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).removesuffix(f": {path}").rstrip(".")
        raise ImageFileError(f"{path}: not a CCP4 or MRC map: {reason}") from error

    plane = np.array(opened.grid.array, dtype=np.float32)
    if not np.isfinite(plane).all():
        number = "NaN" if np.isnan(plane).any() else "infinity"
        raise ImageFileError(f"{path}: a voxel is {number}")
    start, sampling = (
        np.array([opened.header_i32(word + axis) for axis in range(3)])
        for word in (_START, _SAMPLING)
    )
    cell_A, angles, origin_A = (
        np.array([opened.header_float(word + axis) for axis in range(3)])
        for word in (_CELL, _ANGLES, _ORIGIN)
    )
    sides_A = cell_A / sampling.clip(1)
    is_cubic = np.allclose(sides_A, sides_A[0], rtol=_TOLERANCE) and np.allclose(angles, 90)
    if not (is_cubic and 0 < sides_A[0] < np.inf):
        sides, corners = (" × ".join(f"{x:g}" for x in row) for row in (sides_A, angles))
        raise ImageFileError(f"{path}: voxels are not cubes: {sides} Å, angles {corners}°")
    resolution_A = float(f"{sides_A[0]:.6g}")  # the header has single precision
    # As PyMOL and ChimeraX do: ORIGIN, and where it is zero, NSTART.
    first_A = origin_A if origin_A.any() else start * resolution_A
    center_A = first_A + (np.array(plane.shape) - 1) / 2 * resolution_A
    return _Map(path, plane, resolution_A, center_A)


def _check_same(this: _Map, first: _Map) -> None:
    def describe(shape: Sequence[int]) -> str:
        return "×".join(map(str, shape))

    if this.plane.shape != first.plane.shape:
        raise ImageFileError(
            f"{this.path}: {describe(this.plane.shape)} voxels, but {describe(first.plane.shape)}"
            f" in {first.path}"
        )
    if not np.isclose(this.resolution_A, first.resolution_A, rtol=_TOLERANCE):
        raise ImageFileError(
            f"{this.path}: voxels of {this.resolution_A:g} Å, but of {first.resolution_A:g} Å"
            f" in {first.path}"
        )
    if not np.allclose(this.center_A, first.center_A, atol=_TOLERANCE * first.resolution_A):
        places = [", ".join(f"{x:g}" for x in item.center_A) for item in (this, first)]
        raise ImageFileError(
            f"{this.path}: centre at {places[0]} Å, but at {places[1]} Å in {first.path}"
        )
