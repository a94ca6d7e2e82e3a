"""Slices of images and their reconstructions, side by side."""

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..records.record import RunPaths
from .colours import CHANNEL_COLOURS, RESIDUAL_COLOURMAP, RESIDUAL_LABEL, RESIDUAL_RANGE
from .style import make_figure

SLAB_VOXELS = 3
"""Voxels over which a slice is averaged: one atom is about 1.5 Å across."""

CONTRAST = 2.0


def plot_slices(paths: RunPaths) -> Figure:
    """The worst, median and best reconstruction of a run's test crops.

    A row each: a slab through the middle of the crop, its reconstruction from the posterior's mean,
    and the residual summed over channels.
    """
    with np.load(paths.reconstructions) as stored:
        arrays = dict(stored)
    figure, axes = make_figure(3, 3, figsize=(7.2, 6.6), squeeze=False)
    for k, row in enumerate(axes):
        image, reconstruction = arrays["image"][k], arrays["reconstruction"][k]
        row[0].imshow(colour_slab(image), interpolation="nearest")
        row[1].imshow(colour_slab(reconstruction), interpolation="nearest")
        residual = (reconstruction - image).astype(np.float32).sum(0)
        shown = row[2].imshow(
            cut_slab(residual).T, origin="lower",
            cmap=RESIDUAL_COLOURMAP, vmin=-RESIDUAL_RANGE, vmax=RESIDUAL_RANGE,
        )  # fmt: skip
        row[0].set_ylabel(
            f"{arrays['rank'][k]}: {arrays['structure'][k]}\nR² = {arrays['r2'][k]:z.2f}"
        )
    for axis, title in zip(axes[0], ("input", "reconstruction", "residual"), strict=True):
        axis.set_title(title)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[["top", "right"]].set_visible(True)
    figure.colorbar(shown, ax=axes[:, 2], shrink=0.5, label=RESIDUAL_LABEL)
    patches = [Patch(color=light, label=name) for name, (light, _) in CHANNEL_COLOURS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    return figure


def cut_slab(volume: Float[np.ndarray, "... x y z"]) -> Float[np.ndarray, "... x y"]:
    """The mean over a few layers of voxels at the middle of the last axis."""
    start = (volume.shape[-1] - SLAB_VOXELS) // 2
    return volume[..., start : start + SLAB_VOXELS].mean(axis=-1)


def colour_slab(image: Float[np.ndarray, "c x y z"]) -> Float[np.ndarray, "y x 3"]:
    """A slab as colours on white, x to the right and y upwards."""
    rgb = np.array([to_rgb(light) for light, _ in CHANNEL_COLOURS.values()])
    filled = CONTRAST * cut_slab(image.astype(np.float32)).clip(0, None)
    colours = 1 - np.einsum("cxy,cr->yxr", filled, 1 - rgb)
    return colours[::-1].clip(0, 1)
