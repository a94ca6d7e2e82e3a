"""Crops and their reconstructions as a picture of slices, for print and before a view is opened."""

import io
from collections.abc import Sequence

import numpy as np

from ...analysis.blocks import SolidBlock
from ...figures.colours import (
    CHANNEL_COLOURS,
    MORE_COLOURS,
    RESIDUAL_COLOURMAP,
    RESIDUAL_LABEL,
    RESIDUAL_RANGE,
)
from .stored import Crop

SLAB_A = 3.0
"""Slices are the mean over this depth: an atom is about 1.5 Å across."""

CONTRAST = 2.0
DOTS_PER_INCH = 144


def pick_colours(names: Sequence[str]) -> list[tuple[str, str]]:
    """The colour of each channel on a light page and on a dark one."""
    return [
        CHANNEL_COLOURS.get(name, MORE_COLOURS[i % len(MORE_COLOURS)])
        for i, name in enumerate(names)
    ]


def draw_slices(crops: Sequence[Crop]) -> bytes:
    """
    A PNG of a slab through each crop: input, reconstruction, residual summed over channels.

    The slab lies in the plane of x and y, through the middle of the largest solid block if there
    is one, else of the crop. Blocks that it cuts are framed.
    """
    # Slow to import, and needed only where a page has changed.
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    style, pixels = {"fontsize": 9}, {"interpolation": "nearest", "origin": "lower"}
    figure = Figure(figsize=(7.2, 0.5 + 2.1 * len(crops)), layout="constrained")
    axes = figure.subplots(len(crops), 3, squeeze=False)
    for row, crop in zip(axes, crops, strict=True):
        slab = choose_slab(crop)
        residual = (crop.reconstruction.astype(np.float32) - crop.image).sum(axis=0)
        row[0].imshow(colour_slab(crop.image[..., slab], crop), **pixels)
        row[1].imshow(colour_slab(crop.reconstruction[..., slab], crop), **pixels)
        shown = row[2].imshow(
            residual[..., slab].mean(axis=-1).T,
            cmap=RESIDUAL_COLOURMAP, vmin=-RESIDUAL_RANGE, vmax=RESIDUAL_RANGE, **pixels,
        )  # fmt: skip
        row[0].set_ylabel(f"{crop.rank}: {crop.structure}\nR² = {crop.r2:.2f}", **style)
        row[1].set_xlabel(describe_blocks(crop.blocks), **style)
        for block in crop.blocks:
            first, last = block.voxels.min(axis=0), block.voxels.max(axis=0)
            if first[2] < slab.stop and last[2] >= slab.start:
                corner, extent = first[:2] - 0.5, last[:2] - first[:2] + 1
                frame = Rectangle(corner, *extent, fill=False, edgecolor="#d55e00", linewidth=1.5)
                row[1].add_patch(frame)
    for axis, title in zip(axes[0], ("input", "reconstruction", "residual"), strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    bar = figure.colorbar(shown, ax=axes[:, 2], shrink=0.6)
    bar.set_label(RESIDUAL_LABEL, **style)
    patches = [
        Patch(color=light, label=name)
        for name, (light, _) in zip(
            crops[0].channel_names, pick_colours(crops[0].channel_names), strict=True
        )
    ]
    figure.legend(
        handles=patches, loc="outside lower center", ncols=min(8, len(patches)), frameon=False,
        **style,
    )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def choose_slab(crop: Crop) -> slice:
    """The voxels along z over which a crop's slices are averaged."""
    size = crop.image.shape[-1]
    depth = min(size, max(1, round(SLAB_A / crop.resolution_A)))
    middle = crop.blocks[0].voxels[:, 2].mean() if crop.blocks else (size - 1) / 2
    start = int(np.clip(np.ceil(middle - depth / 2), 0, size - depth))
    return slice(start, start + depth)


def colour_slab(slab: np.ndarray, crop: Crop) -> np.ndarray:
    """
    A slab as colours on white.

    slab:    float [C, X, Y, depth]
    returns: float [Y, X, 3] in 0..1, y upwards when drawn from the bottom
    """
    light = [colour for colour, _ in pick_colours(crop.channel_names)]
    rgb = np.array([[int(x[i : i + 2], 16) / 255 for i in (1, 3, 5)] for x in light])
    filled = CONTRAST * slab.astype(np.float32).mean(axis=-1).clip(0, None)
    return (1 - np.einsum("cxy,cr->yxr", filled, 1 - rgb)).clip(0, 1)


def describe_blocks(blocks: Sequence[SolidBlock]) -> str:
    """Such as "2 solid blocks, 91 Å³"."""
    if not blocks:
        return "no solid blocks"
    number = "1 solid block" if len(blocks) == 1 else f"{len(blocks)} solid blocks"
    return f"{number}, {sum(x.volume_A3 for x in blocks):.0f} Å³"
