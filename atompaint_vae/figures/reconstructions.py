"""Slices of images and their reconstructions, side by side."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..runs.record import RunPaths
from .style import CHANNEL_COLOURS, CHANNELS, make_figure

SLAB_VOXELS = 3
"""Voxels over which a slice is averaged: one atom is about 1.5 Å across."""

CONTRAST = 2.0


def plot_slices(paths: RunPaths) -> Figure:
    """The worst, median and best reconstruction of a run's test crops.

    A row each: a slab through the middle of the crop, its reconstruction from the posterior's mean,
    and the difference summed over channels.
    """
    with np.load(paths.reconstructions) as stored:
        arrays = dict(stored)
    figure, axes = make_figure(3, 3, figsize=(7.2, 6.6), squeeze=False)
    for k, row in enumerate(axes):
        image, reconstruction = arrays["image"][k], arrays["reconstruction"][k]
        row[0].imshow(colour_slab(image), interpolation="nearest")
        row[1].imshow(colour_slab(reconstruction), interpolation="nearest")
        difference = (reconstruction - image).astype(np.float32).sum(0)
        shown = row[2].imshow(
            cut_slab(difference).T, origin="lower", cmap="RdBu", vmin=-0.5, vmax=0.5
        )
        row[0].set_ylabel(
            f"{arrays['rank'][k]}: {arrays['structure'][k]}\nR² = {arrays['r2'][k]:z.2f}"
        )
    for axis, title in zip(axes[0], ("input", "reconstruction", "difference"), strict=True):
        axis.set_title(title)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[["top", "right"]].set_visible(True)
    label = "filled fraction, reconstruction − input"
    figure.colorbar(shown, ax=axes[:, 2], shrink=0.5, label=label)
    patches = [
        Patch(color=colour, label=name)
        for name, colour in zip(CHANNELS, CHANNEL_COLOURS, strict=True)
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    return figure


def cut_slab(volume: Float[np.ndarray, "... x y z"]) -> Float[np.ndarray, "... x y"]:
    """The mean over a few layers of voxels at the middle of the last axis."""
    start = (volume.shape[-1] - SLAB_VOXELS) // 2
    return volume[..., start : start + SLAB_VOXELS].mean(axis=-1)


def colour_slab(image: Float[np.ndarray, "c x y z"]) -> Float[np.ndarray, "y x 3"]:
    """A slab as colours on white, x to the right and y upwards."""
    filled = CONTRAST * cut_slab(image.astype(np.float32)).clip(0, None)
    colours = 1 - np.einsum("cxy,cr->yxr", filled, 1 - np.array(CHANNEL_COLOURS))
    return colours[::-1].clip(0, 1)
