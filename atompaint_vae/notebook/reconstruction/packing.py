"""Images as JSON, compact enough for the scripts of a page."""

import base64
import json
import zlib
from collections.abc import Sequence

import numpy as np

from ...analysis.blocks import SolidBlock
from ...figures.stored_crops import StoredCrop, StoredImageError

STEPS = (1 / 128, 1 / 64, 1 / 32, 1 / 16)
"""Densities are rounded to the first of these with which they fit into 8 bits and the page."""

COORD_STEP_A = 0.01
MAX_SCRIPT_BYTES = 450_000
"""With 3Dmol.js, which has 538 kB, a view stays below a megabyte."""


def pack_crop(crop: StoredCrop) -> tuple[str, float]:
    """
    Return a crop with its reconstruction, atoms and blocks, as `pack_images` returns images.

    Coordinates are int16 [n, 3] in units of 0.01 Å, channels uint8 [n].
    """
    return pack_images(
        [crop.image, crop.reconstruction],
        crop.channel_names,
        crop.resolution_A,
        atoms=_pack_atoms(crop),
        blocks=[_describe_block(x, crop) for x in crop.blocks],
    )


def pack_images(
    images: Sequence[np.ndarray],
    channel_names: Sequence[str],
    resolution_A: float,
    **others: object,
) -> tuple[str, float]:
    """
    Return images of one size as JSON, and the step that their densities are rounded to.

    Arrays are deflated and base64-encoded: densities int8 [C, X, Y, Z] with a step and an offset.

    images: [C, X, Y, Z] each, to be shown side by side
    others: what the viewer knows of them besides
    raises: StoredImageError if they are too large even at the coarsest step
    """
    for step in STEPS:
        densities = [_quantise(x, step) for x in images]
        if None in densities:
            continue
        text = json.dumps(
            {
                "channels": list(channel_names),
                "size": images[0].shape[1:],
                "resolution_A": resolution_A,
                "step": step,
                "images": densities,
                **others,
            },
            separators=(",", ":"),
        )
        if len(text) <= MAX_SCRIPT_BYTES:
            return text, step
    size = "×".join(map(str, images[0].shape))
    raise StoredImageError(f"a crop of {size} values is too large for a page")


def _encode(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii")


def _quantise(density: np.ndarray, step: float) -> dict | None:
    """Return densities as int8 above an offset, None if their range is too wide."""
    steps = np.rint(density.astype(np.float32) / step)
    offset = float(steps.min()) + 128
    if steps.max() - offset > 127:
        return None
    return {"offset": offset * step, "data": _encode((steps - offset).astype(np.int8))}


def _pack_atoms(crop: StoredCrop) -> dict | None:
    if crop.coords_A is None or crop.atom_channels is None:
        return None
    coords = np.rint(crop.coords_A / COORD_STEP_A).astype("<i2")
    channels = crop.atom_channels.astype(np.uint8)
    return {"step_A": COORD_STEP_A, "coords": _encode(coords), "channels": _encode(channels)}


def _describe_block(block: SolidBlock, crop: StoredCrop) -> dict:
    return {
        "center_A": [round(float(x), 2) for x in block.center_A],
        "first": block.voxels.min(axis=0).tolist(),
        "last": block.voxels.max(axis=0).tolist(),
        "volume_A3": round(block.volume_A3, 2),
        "mean_filled": round(block.mean_filled, 2),
        "channel": crop.channel_names[block.channel],
    }
