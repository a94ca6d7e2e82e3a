"""
Slices of images: of reconstructions beside their inputs, and of samples beside test crops.

Experiments draw a run's crops with `plot_slices`; pages show the same picture, with the solid
blocks marked.

c: channels, x y z: voxels
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..records.record import RunPaths
from .colours import (
    CHANNEL_COLOURS,
    GROUNDS,
    RESIDUAL_COLOURMAP,
    RESIDUAL_LABEL,
    RESIDUAL_RANGE,
    pick_colours,
)
from .stored_crops import StoredCrop, describe_blocks, read_crops
from .stored_samples import CHANNEL_NAMES, StoredSamples
from .style import make_figure

SLAB_A = 3.0
"""Depth over which a slice is averaged: an atom is about 1.5 Å across."""

CONTRAST = 2.0
FRAME_COLOUR = "#d55e00"
MAX_LEGEND_COLUMNS = 8
MAX_SAMPLE_COLUMNS = 8


def plot_slices(paths: RunPaths) -> Figure:
    """Draw the worst, median and best reconstruction of a run's test crops."""
    return draw_crops(read_crops(paths.run_dir))


def draw_crops(crops: Sequence[StoredCrop], *, show_blocks: bool = False) -> Figure:
    """
    Draw a slab through each crop, one row per crop: input, reconstruction and residual.

    The slab lies in the plane of x and y, in the middle of the crop. The residual is summed over
    channels.

    show_blocks: place the slab in the largest solid block, frame the blocks that it cuts, and
                 count all of them below each reconstruction
    """
    figure, axes = make_figure(
        len(crops), 3, figsize=(7.2, 0.3 + 2.1 * len(crops)), squeeze=False
    )
    for row, crop in zip(axes, crops, strict=True):
        blocks = crop.blocks if show_blocks else []
        middle = blocks[0].voxels[:, 2].mean() if blocks else None
        *_, width, height, depth = crop.image.shape
        slab = choose_slab(depth, crop.resolution_A, middle)
        # Voxel i covers i - 0.5 to i + 0.5; y points upwards.
        place = {"interpolation": "nearest", "extent": (-0.5, width - 0.5, -0.5, height - 0.5)}
        row[0].imshow(colour_slab(crop.image, slab, crop.channel_names), **place)
        row[1].imshow(colour_slab(crop.reconstruction, slab, crop.channel_names), **place)
        residual = (crop.reconstruction.astype(np.float32) - crop.image).sum(axis=0)
        shown = row[2].imshow(
            residual[..., slab].mean(axis=-1).T[::-1],
            cmap=RESIDUAL_COLOURMAP, vmin=-RESIDUAL_RANGE, vmax=RESIDUAL_RANGE, **place,
        )  # fmt: skip
        row[0].set_ylabel(f"{crop.rank}: {crop.structure}\nR² = {crop.r2:z.2f}")
        if show_blocks:
            row[1].set_xlabel(describe_blocks(blocks))
        for block in blocks:
            first, last = block.voxels.min(axis=0), block.voxels.max(axis=0)
            if first[2] < slab.stop and last[2] >= slab.start:
                corner, extent = first[:2] - 0.5, last[:2] - first[:2] + 1
                frame = Rectangle(corner, *extent, fill=False, edgecolor=FRAME_COLOUR, lw=1.5)
                row[1].add_patch(frame)
    for axis, title in zip(axes[0], ("input", "reconstruction", "residual"), strict=True):
        axis.set_title(title)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[["top", "right"]].set_visible(True)
    figure.colorbar(shown, ax=axes[:, 2], shrink=0.5, label=RESIDUAL_LABEL)
    _add_legend(figure, crops[0].channel_names)
    return figure


def draw_samples(stored: StoredSamples, chosen: Sequence[int]) -> Figure:
    """
    Draw a slab through samples, through test crops and through the images on a sample's path.

    The slabs lie in the plane of x and y, in the middle. On the path, the noise level σ is below
    each image.

    chosen: indices of the samples to draw, in this order
    """
    path_labels = [f"σ = {x:.2g}" for x in stored.path_sigmas]
    strips = [
        ("samples", stored.samples[list(chosen)], [str(k + 1) for k in chosen]),
        ("test crops", stored.crops, [str(k + 1) for k in range(len(stored.crops))]),
        ("path to 1", stored.path, path_labels),
    ]
    num_columns = min(MAX_SAMPLE_COLUMNS, max(len(images) for _, images, _ in strips))
    rows = [
        (title if start == 0 else "", images[start : start + num_columns], labels[start:])
        for title, images, labels in strips
        for start in range(0, len(images), num_columns)
    ]
    width = 8.0
    height = len(rows) * (width / num_columns + 0.1) + 0.4
    figure, axes = make_figure(len(rows), num_columns, figsize=(width, height), squeeze=False)
    slab = choose_slab(stored.samples.shape[-1], stored.resolution_A)
    for row, (title, images, labels) in zip(axes, rows, strict=True):
        row[0].set_ylabel(title)
        for axis, image, label in zip(row, images, labels, strict=False):
            axis.imshow(colour_slab(image, slab, CHANNEL_NAMES), interpolation="nearest")
            axis.set_xlabel(label)
            axis.spines[["top", "right"]].set_visible(True)
        for axis in row:
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        for axis in row[len(images) :]:
            axis.set_visible(False)
    _add_legend(figure, CHANNEL_NAMES)
    return figure


def _add_legend(figure: Figure, names: Sequence[str]) -> None:
    """Add the colours of channels below a figure."""
    patches = [
        Patch(color=light, label=name)
        for name, (light, _) in zip(names, pick_colours(names), strict=True)
    ]
    ncols = min(MAX_LEGEND_COLUMNS, len(patches))
    figure.legend(handles=patches, loc="outside lower center", ncols=ncols, frameon=False)


def choose_slab(
    num_layers: int, resolution_A: float = 1.0, middle: float | None = None
) -> slice:
    """
    Return the layers of voxels along z over which a slice is averaged.

    middle: index of the layer to cut through; the middle of the crop by default
    """
    depth = min(num_layers, max(1, round(SLAB_A / resolution_A)))
    if middle is None:
        middle = (num_layers - 1) / 2
    start = int(np.clip(np.ceil(middle - depth / 2), 0, num_layers - depth))
    return slice(start, start + depth)


def colour_slab(
    image: Float[np.ndarray, "c x y z"],
    slab: slice | None = None,
    names: Sequence[str] = tuple(CHANNEL_COLOURS),
    *,
    is_dark: bool = False,
) -> Float[np.ndarray, "y x 3"]:
    """
    Return a slab of an image as colours on white, x to the right and y upwards.

    slab:    layers along z; by default those in the middle, of an image of 1 Å voxels
    names:   of the channels
    is_dark: for dark pages, on their background
    """
    if slab is None:
        slab = choose_slab(image.shape[-1])
    ground = np.array(to_rgb(GROUNDS[is_dark]))
    rgb = np.array([to_rgb(colours[is_dark]) for colours in pick_colours(names)])
    filled = CONTRAST * image[..., slab].astype(np.float32).mean(axis=-1).clip(0, None)
    colours = ground + np.einsum("cxy,cr->yxr", filled, rgb - ground)
    return colours[::-1].clip(0, 1)
