"""The test crops that a run stored with their reconstructions, for figures and pages."""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nestedtext as nt
import numpy as np

from ..analysis.blocks import SolidBlock, find_solid_blocks

ARRAYS = ("rank", "structure", "sample_index", "r2", "image", "reconstruction")
NUMBERS = ARRAYS[2:]


class StoredImageError(ValueError):
    """Images of a run that can't be shown. The message is one line."""


@dataclass(frozen=True)
class StoredCrop:
    """
    One crop, its reconstruction and its atoms.

    rank:           worst, median or best
    image:          float16 [C, X, Y, Z], filled fractions; reconstruction likewise
    coords_A:       float [n, 3] in the crop's frame, None if the run stored no atoms
    atom_channels:  int [n], or None
    channel_names:  [C]
    blocks:         solid blocks of the reconstruction, the largest first
    """

    rank: str
    sample_index: int
    structure: str
    r2: float
    image: np.ndarray
    reconstruction: np.ndarray
    coords_A: np.ndarray | None
    atom_channels: np.ndarray | None
    channel_names: list[str]
    resolution_A: float
    blocks: list[SolidBlock]


def list_inputs(run: Path) -> list[Path]:
    """Return the files of a run that read_crops reads."""
    return [run / name for name in ("reconstructions.npz", "hparams.nt", "test.csv")]


def read_crops(run: Path) -> list[StoredCrop]:
    """
    Return the crops that a run stored, in the order of the file.

    run:    a run's folder
    raises: StoredImageError if a file is missing, or isn't what a run writes
    """
    stored, hparams, metrics = list_inputs(run)
    check_exist(run, [stored, hparams, metrics])
    arrays = _load_arrays(stored)
    resolution_A = _read_resolution(hparams)
    num_channels = arrays["image"].shape[1]
    names = _read_channel_names(metrics, num_channels)

    crops = []
    for k, rank in enumerate(arrays["rank"]):
        image, reconstruction = arrays["image"][k], arrays["reconstruction"][k]
        crops.append(
            StoredCrop(
                rank=str(rank),
                sample_index=int(arrays["sample_index"][k]),
                structure=str(arrays["structure"][k]),
                r2=float(arrays["r2"][k]),
                image=image,
                reconstruction=reconstruction,
                coords_A=arrays.get(f"coords_A_{k}"),
                atom_channels=arrays.get(f"channels_{k}"),
                channel_names=names,
                resolution_A=resolution_A,
                blocks=find_solid_blocks(image, reconstruction, resolution_A),
            )
        )
    return crops


def describe_blocks(blocks: Sequence[SolidBlock]) -> str:
    """Return a summary such as "2 solid blocks, 91 Å³"."""
    if not blocks:
        return "no solid blocks"
    number = "1 solid block" if len(blocks) == 1 else f"{len(blocks)} solid blocks"
    return f"{number}, {sum(x.volume_A3 for x in blocks):.0f} Å³"


def check_exist(run: Path, files: Sequence[Path]) -> None:
    """
    Check that a run and its files exist.

    raises: StoredImageError with the names of the runs that do
    """
    if not run.exists():
        known = sorted(x.name for x in run.parent.glob("[!.]*/") if x.is_dir())
        hint = f"; known: {', '.join(known)}" if known else ""
        raise StoredImageError(f"no such run: {run.name}{hint}")
    for path in files:
        if not path.exists():
            raise StoredImageError(f"no such file: {run.name}/{path.name}")


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """
    Return the arrays of an npz file.

    names:  arrays that it must have
    raises: StoredImageError if it can't be read, or has no array of a name
    """
    name = f"{path.parent.name}/{path.name}"
    if not zipfile.is_zipfile(path):  # NumPy would suggest to load it as a pickle
        raise StoredImageError(f"{name}: not a readable npz file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StoredImageError(f"{name}: not a readable npz file: {error}") from error
    missing = [x for x in names if x not in arrays]
    if missing:
        raise StoredImageError(f"{name}: no array {missing[0]!r}; expected {', '.join(names)}")
    return arrays


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    name = f"{path.parent.name}/{path.name}"
    arrays = load_arrays(path, ARRAYS)
    image, reconstruction = arrays["image"].shape, arrays["reconstruction"].shape
    if len(image) != 5 or image != reconstruction:
        raise StoredImageError(
            f"{name}: images {image} and reconstructions {reconstruction}, expected the"
            " same shape [crops, channels, x, y, z]"
        )
    for key in ARRAYS[:4]:
        if arrays[key].shape != image[:1]:
            raise StoredImageError(
                f"{name}: {key!r} is of shape {arrays[key].shape}, expected one for each of the"
                f" {image[0]} crops"
            )
    if not all(np.issubdtype(arrays[x].dtype, np.number) for x in NUMBERS):
        raise StoredImageError(f"{name}: expected numbers in {', '.join(NUMBERS)}")
    if not (np.isfinite(arrays["image"]).all() and np.isfinite(arrays["reconstruction"]).all()):
        raise StoredImageError(f"{name}: densities that are not finite")
    return arrays


def _read_resolution(path: Path) -> float:
    name = f"{path.parent.name}/{path.name}"
    try:
        resolution_A = float(nt.load(path)["data"]["resolution_A"])
    except nt.NestedTextError as error:
        raise StoredImageError(f"{name}:{error.lineno + 1}: {error.get_message()}") from error
    except (KeyError, TypeError, ValueError) as error:
        text = f"{name}: data.resolution_A is missing or not a number"
        raise StoredImageError(text) from error
    if not 0 < resolution_A < np.inf:
        raise StoredImageError(f"{name}: data.resolution_A is {resolution_A:g}, not positive")
    return resolution_A


def _read_channel_names(path: Path, num_channels: int) -> list[str]:
    """Return the channels that test.csv has a column r2_<channel> for."""
    header = path.read_text("utf-8", errors="replace").partition("\n")[0].strip()
    names = [
        column.removeprefix("r2_")
        for column in header.split(",")
        if column.startswith("r2_") and column != "r2_zero"
    ]
    if len(names) != num_channels:
        raise StoredImageError(
            f"{path.parent.name}/{path.name}: {len(names)} columns r2_<channel>,"
            f" but the images have {num_channels} channels"
        )
    return names
