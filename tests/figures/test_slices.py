import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from atompaint_vae.figures.colours import (
    CHANNEL_COLOURS,
    GROUNDS,
    MORE_COLOURS,
    RESIDUAL_COLOURMAP,
    RESIDUAL_COLOURS,
    pick_colours,
)
from atompaint_vae.figures.slices import (
    choose_slab,
    colour_slab,
    draw_crops,
    draw_samples,
    plot_slices,
)
from atompaint_vae.figures.stored_crops import read_crops
from atompaint_vae.figures.stored_samples import CHANNEL_NAMES, read_samples
from atompaint_vae.records.record import RunPaths


def test_channels_of_other_names_have_colours():
    assert pick_colours(["FE", "C"]) == [MORE_COLOURS[0], CHANNEL_COLOURS["C"]]


def test_residuals_have_the_colours_of_their_map():
    ends = [colormaps[RESIDUAL_COLOURMAP](x)[:3] for x in (0.1, 0.9)]
    np.testing.assert_allclose(ends, [to_rgb(x) for x in RESIDUAL_COLOURS], atol=1.5 / 255)


def test_the_slab_is_three_angstroms_deep_and_in_the_middle():
    assert choose_slab(35) == slice(16, 19)
    assert choose_slab(35, middle=33.0) == slice(32, 35)
    assert choose_slab(35, middle=0.0) == slice(0, 3)
    assert choose_slab(40, resolution_A=0.5) == slice(17, 23)
    assert choose_slab(5, resolution_A=4.0) == slice(2, 3)


def test_a_slab_is_as_dark_as_it_is_full():
    image = np.zeros((3, 2, 4, 5))
    image[2, 1, 3, 1:4] = 0.5  # oxygen, at x = 1 and y = 3, which is the uppermost row
    colours = colour_slab(image, slice(1, 4), ["C", "N", "O"])
    assert colours.shape == (4, 2, 3)
    np.testing.assert_allclose(colours[0, 1], np.array([230, 26, 26]) / 255)
    assert (colours[1:] == 1).all()
    assert (colour_slab(image[:1], slice(0, 1), ["C"]) == 1).all()


def test_a_slab_on_a_dark_page_is_as_bright_as_it_is_full():
    image = np.zeros((1, 2, 2, 1))
    image[0, 0, 0, 0] = 0.5
    colours = colour_slab(image, names=["O"], is_dark=True)
    np.testing.assert_allclose(colours[1, 0], to_rgb(CHANNEL_COLOURS["O"][1]))
    np.testing.assert_allclose(colours[0], [to_rgb(GROUNDS[1])] * 2)


def read_frames(axis):
    return [(*x.get_xy(), x.get_width(), x.get_height()) for x in axis.patches]


def test_pages_cut_and_frame_the_largest_block(tmp_path, write_reconstructions):
    block = (0, 1, (0, 1, 8), (3, 4, 12), 0.75)
    write_reconstructions(tmp_path / "a", blocks=[block])
    crops = read_crops(tmp_path / "a")
    axes = draw_crops(crops, show_blocks=True).axes
    assert read_frames(axes[1]) == [(-0.5, 0.5, 4, 4)]
    assert [axes[i].get_xlabel() for i in (1, 4)] == ["1 solid block, 80 Å³", "no solid blocks"]
    shown = axes[1].images[0].get_array()
    # Nitrogen, filled to 0.75, wherever the frame is.
    assert (shown[-5:-1, :4] == colour_slab(np.full((1, 1, 1, 1), 0.75), None, ["N"])).all()
    axes = plot_slices(RunPaths(tmp_path / "a")).axes
    assert read_frames(axes[1]) == [] and axes[1].get_xlabel() == ""


def test_each_row_is_of_one_crop_in_the_order_of_the_file(tmp_path, write_reconstructions):
    write_reconstructions(tmp_path / "a")
    crops = read_crops(tmp_path / "a")
    *axes, _ = plot_slices(RunPaths(tmp_path / "a")).axes  # the last is the scale of colours
    assert [x.get_title() for x in axes[:3]] == ["input", "reconstruction", "residual"]
    labels = ["worst: 1ABC\nR² = 0.25", "median: 2DEF\nR² = 0.50", "best: 3GHI\nR² = 0.75"]
    assert [x.get_ylabel() for x in axes[::3]] == labels
    for row, crop in enumerate(crops):
        panels = [x.images[0].get_array() for x in axes[3 * row : 3 * row + 3]]
        for panel, image in zip(panels, (crop.image, crop.reconstruction), strict=False):
            expected = colour_slab(image, slice(5, 8), ["C", "N", "O"])
            np.testing.assert_array_equal(panel, expected)


def test_all_panels_have_y_upwards(tmp_path, write_reconstructions):
    arrays = write_reconstructions(tmp_path / "a")
    arrays["image"][0] = 0
    arrays["reconstruction"][0] = 0
    arrays["reconstruction"][0, 0, 2, 12] = 0.25  # carbon at x = 2 and the uppermost y, at each z
    np.savez_compressed(tmp_path / "a/reconstructions.npz", **arrays)
    axes = plot_slices(RunPaths(tmp_path / "a")).axes
    residual = axes[2].images[0].get_array()
    assert residual[0, 2] == 0.25 and np.count_nonzero(residual) == 1
    colours = axes[1].images[0].get_array()
    assert np.argwhere((colours < 1).any(axis=-1)).tolist() == [[0, 2]]
    assert axes[1].get_ylim() == (-0.5, 12.5)


def read_strips(figure):
    """The label of each picture, and the picture, in rows."""
    shown = [x for x in figure.axes if x.get_visible()]
    rows = {}
    for axis in shown:
        rows.setdefault(axis.get_subplotspec().rowspan.start, []).append(axis)
    return [
        (row[0].get_ylabel(), [(x.get_xlabel(), x.images[0].get_array()) for x in row])
        for row in rows.values()
    ]


def test_samples_crops_and_the_path_are_strips(tmp_path, write_samples):
    arrays = write_samples(tmp_path / "a", num_samples=3, num_crops=10, num_steps=4)
    figure = draw_samples(read_samples(tmp_path / "a"), [2, 0])
    strips = read_strips(figure)
    assert [title for title, _ in strips] == ["samples", "test crops", "", "path to 1"]
    labels = [[label for label, _ in row] for _, row in strips]
    assert labels[0] == ["3", "1"]
    assert labels[1:3] == [list("12345678"), ["9", "10"]]
    assert labels[3] == ["σ = 20", "σ = 2", "σ = 0.2", "σ = 0.02"]
    for (_, row), images in zip(
        strips, (arrays["sample"][[2, 0]], arrays["crop"][:8], arrays["crop"][8:], arrays["path"]),
        strict=True,
    ):  # fmt: skip
        for (_, shown), image in zip(row, images, strict=True):
            np.testing.assert_array_equal(shown, colour_slab(image, slice(3, 6), CHANNEL_NAMES))
    (legend,) = figure.legends
    assert [x.get_text() for x in legend.get_texts()] == list(CHANNEL_NAMES)


def test_runs_without_crops_or_a_path(tmp_path, write_samples):
    write_samples(tmp_path / "a", num_samples=1, num_crops=0, num_steps=0)
    strips = read_strips(draw_samples(read_samples(tmp_path / "a"), [0]))
    assert [title for title, _ in strips] == ["samples"]
