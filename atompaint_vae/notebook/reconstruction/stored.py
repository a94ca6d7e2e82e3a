"""The crops that a run has kept, with what its model made of them, as pages show them."""

import base64
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import nestedtext as nt
import numpy as np

from ...analysis.blocks import SolidBlock, find_solid_blocks

ARRAYS = ("rank", "structure", "sample_index", "r2", "image", "reconstruction")
NUMBERS = ARRAYS[2:]

STEPS = (1 / 128, 1 / 64, 1 / 32, 1 / 16)
"""What densities are rounded to: the first that 8 bits and the page can hold."""

COORD_STEP_A = 0.01
MAX_SCRIPT_BYTES = 450_000
"""A view is this and 3Dmol.js, which is 538 kB: less than a megabyte."""


class ReconstructionError(ValueError):
    """Reconstructions that can't be shown; the message is one line, for whoever wrote the page."""


@dataclass(frozen=True)
class Crop:
    """
    One crop, its reconstruction and its atoms.

    rank:           such as worst, median or best
    image:          float16 [C, X, Y, Z], filled fractions; so is reconstruction
    coords_A:       float [n, 3] in the crop's frame, or None if the run has kept no atoms
    atom_channels:  int [n], or None
    channel_names:  [C]
    blocks:         what find_solid_blocks finds
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
    """The files of a run that its page depends on."""
    return [run / name for name in ("reconstructions.npz", "hparams.nt", "test.csv")]


def read_crops(run: Path) -> list[Crop]:
    """
    The crops that a run has kept, in their order.

    run:    a run's folder
    raises: ReconstructionError if a file isn't there or isn't what a run writes
    """
    stored, hparams, metrics = list_inputs(run)
    for path in (run, stored, hparams, metrics):
        if not path.exists():
            raise ReconstructionError(f"no such {_name_kind(path, run)}")
    arrays = _load_arrays(stored)
    resolution_A = _read_resolution(hparams)
    num_channels = arrays["image"].shape[1]
    names = _read_channel_names(metrics, num_channels)

    crops = []
    for k, rank in enumerate(arrays["rank"]):
        image, reconstruction = arrays["image"][k], arrays["reconstruction"][k]
        crops.append(
            Crop(
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


def pack_crop(crop: Crop) -> tuple[str, float]:
    """
    A crop as JSON, and what its densities are rounded to.

    Arrays are deflated and base64-encoded: densities int8 [C, X, Y, Z] with a step and an offset,
    coordinates int16 [n, 3] in units of 0.01 Å, channels uint8 [n].

    raises: ReconstructionError if it is too large at the coarsest step
    """
    for step in STEPS:
        densities = [_quantise(x, step) for x in (crop.image, crop.reconstruction)]
        if None in densities:
            continue
        image, reconstruction = densities
        text = json.dumps(
            {
                "channels": crop.channel_names,
                "size": crop.image.shape[1:],
                "resolution_A": crop.resolution_A,
                "step": step,
                "image": image,
                "reconstruction": reconstruction,
                "atoms": _pack_atoms(crop),
                "blocks": [_describe_block(x, crop) for x in crop.blocks],
            },
            separators=(",", ":"),
        )
        if len(text) <= MAX_SCRIPT_BYTES:
            return text, step
    size = "×".join(map(str, crop.image.shape))
    raise ReconstructionError(f"a crop of {size} values is too large for a page")


def _name_kind(path: Path, run: Path) -> str:
    if path != run:
        return f"file: {run.name}/{path.name}"
    known = sorted(x.name for x in run.parent.glob("[!.]*/") if x.is_dir())
    return f"run: {run.name}" + (f"; known: {', '.join(known)}" if known else "")


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    name = f"{path.parent.name}/{path.name}"
    if not zipfile.is_zipfile(path):  # NumPy would take it for a pickle, and say how to open that
        raise ReconstructionError(f"{name}: not a readable npz file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ReconstructionError(f"{name}: not a readable npz file: {error}") from error
    missing = [x for x in ARRAYS if x not in arrays]
    if missing:
        raise ReconstructionError(f"{name}: no array {missing[0]!r}; expected {', '.join(ARRAYS)}")
    image, reconstruction = arrays["image"].shape, arrays["reconstruction"].shape
    if len(image) != 5 or image != reconstruction:
        raise ReconstructionError(
            f"{name}: images {image} and reconstructions {reconstruction}, expected two of the"
            " same [crops, channels, x, y, z]"
        )
    for key in ARRAYS[:4]:
        if arrays[key].shape != image[:1]:
            raise ReconstructionError(
                f"{name}: {key!r} is of shape {arrays[key].shape}, expected one for each of the"
                f" {image[0]} crops"
            )
    if not all(np.issubdtype(arrays[x].dtype, np.number) for x in NUMBERS):
        raise ReconstructionError(f"{name}: expected numbers in {', '.join(NUMBERS)}")
    if not (np.isfinite(arrays["image"]).all() and np.isfinite(arrays["reconstruction"]).all()):
        raise ReconstructionError(f"{name}: densities that are not finite")
    return arrays


def _read_resolution(path: Path) -> float:
    name = f"{path.parent.name}/{path.name}"
    try:
        resolution_A = float(nt.load(path)["data"]["resolution_A"])
    except nt.NestedTextError as error:
        raise ReconstructionError(f"{name}:{error.lineno + 1}: {error.get_message()}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ReconstructionError(f"{name}: no number data.resolution_A") from error
    if not 0 < resolution_A < np.inf:
        raise ReconstructionError(f"{name}: data.resolution_A is {resolution_A:g}, not positive")
    return resolution_A


def _read_channel_names(path: Path, num_channels: int) -> list[str]:
    """As the columns of test.csv have them."""
    header = path.read_text("utf-8", errors="replace").partition("\n")[0].strip()
    names = [
        column.removeprefix("r2_")
        for column in header.split(",")
        if column.startswith("r2_") and column != "r2_zero"
    ]
    if len(names) != num_channels:
        raise ReconstructionError(
            f"{path.parent.name}/{path.name}: {len(names)} columns r2_<channel>,"
            f" but images of {num_channels} channels"
        )
    return names


def _encode(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii")


def _quantise(density: np.ndarray, step: float) -> dict | None:
    """Densities as int8 above an offset; None if their range is too wide for that."""
    steps = np.rint(density.astype(np.float32) / step)
    offset = float(steps.min()) + 128
    if steps.max() - offset > 127:
        return None
    return {"offset": offset * step, "data": _encode((steps - offset).astype(np.int8))}


def _pack_atoms(crop: Crop) -> dict | None:
    if crop.coords_A is None or crop.atom_channels is None:
        return None
    coords = np.rint(crop.coords_A / COORD_STEP_A).astype("<i2")
    channels = crop.atom_channels.astype(np.uint8)
    return {"step_A": COORD_STEP_A, "coords": _encode(coords), "channels": _encode(channels)}


def _describe_block(block: SolidBlock, crop: Crop) -> dict:
    return {
        "center_A": [round(float(x), 2) for x in block.center_A],
        "first": block.voxels.min(axis=0).tolist(),
        "last": block.voxels.max(axis=0).tolist(),
        "volume_A3": round(block.volume_A3, 2),
        "mean_filled": round(block.mean_filled, 2),
        "channel": crop.channel_names[block.channel],
    }
