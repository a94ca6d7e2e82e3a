"""Figures of a set of structures: sizes, elements, resolutions, and slices of crops."""

import numpy as np
from matplotlib.figure import Figure

from ..data.crops.dataset import CropDataset, collate_crops
from ..data.sets.summary import Summary, count_resolutions
from .slices import choose_slab, colour_slab
from .style import RUN_COLOURS, make_figure


def plot_summary(summary: Summary) -> Figure:
    """Draw the sizes, elements and resolutions of a set's structures, for each split."""
    figure, (sizes, elements, resolutions) = make_figure(1, 3, figsize=(9.5, 2.8))
    splits = list(summary.splits.index)
    edges = np.geomspace(
        max(1, summary.sizes.num_atoms.min()) * 0.99, summary.sizes.num_atoms.max() * 1.01, 16
    )
    data = [summary.sizes.num_atoms[summary.sizes.split == split] for split in splits]
    labels = [f"{split} (n = {len(each)})" for split, each in zip(splits, data, strict=True)]
    colours = list(RUN_COLOURS[: len(splits)])
    sizes.hist(data, bins=edges, stacked=True, label=labels, color=colours)
    sizes.set(xscale="log", xlabel="heavy atoms", ylabel="structures", title="Size")
    sizes.legend(fontsize="small")

    _draw_bars(elements, summary.elements.rename(lambda name: name.replace(" ", "\n")), colours)
    elements.set(yscale="log", xlabel="element", ylabel="atoms", title="Elements", ylim=(0.7, None))
    counts = count_resolutions(summary)
    if len(counts):
        _draw_bars(resolutions, counts, colours)
        resolutions.set(ylabel="structures", xlabel="resolution [Å]")
        names = [
            label.removesuffix(" Å").replace(" Å and above", "+").replace(" to ", "–")
            .replace("below ", "<")
            for label in counts.index
        ]  # fmt: skip
        resolutions.set_xticks(range(len(names)), names)
    else:
        resolutions.text(0.5, 0.5, "not known", ha="center", transform=resolutions.transAxes)
    resolutions.set_title(f"Resolution (n = {len(summary.resolutions_A)})")
    for axis in (sizes, elements, resolutions):
        axis.set_axisbelow(True)
        axis.grid(axis="x", visible=False)
    return figure


def plot_crops(dataset: CropDataset, indices: list[int]) -> Figure:
    """Draw slabs through the middle of some crops, coloured by element."""
    batch = collate_crops([dataset[index] for index in indices])
    images = dataset.make_images(batch).numpy()
    figure, axes = make_figure(1, len(indices), figsize=(1.9 * len(indices), 2.2), squeeze=False)
    half_A = dataset.size_voxels * dataset.resolution_A / 2
    slab = choose_slab(dataset.size_voxels, dataset.resolution_A)
    for axis, image, index in zip(axes[0], images, indices, strict=True):
        extent = (-half_A, half_A, -half_A, half_A)
        axis.imshow(colour_slab(image, slab), interpolation="nearest", extent=extent)
        axis.set(title=f"{dataset[index][1].structure}, crop {index}", xlabel="x [Å]")
        axis.grid(False)
    axes[0, 0].set_ylabel("y [Å]")
    return figure


def _draw_bars(axis, counts, colours) -> None:
    """Draw the splits' bars side by side: on a logarithmic scale, stacked bars would mislead."""
    width = 0.85 / len(counts.columns)
    for place, (colour, split) in enumerate(zip(colours, counts.columns, strict=True)):
        offset = (place - (len(counts.columns) - 1) / 2) * width
        axis.bar(np.arange(len(counts)) + offset, counts[split], width, color=colour)
    axis.set_xticks(range(len(counts)), list(counts.index))
    axis.tick_params(axis="x", labelsize="x-small")
