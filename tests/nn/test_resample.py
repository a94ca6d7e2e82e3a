"""Truth: scipy's filters and its interpolation, and numpy's repetition."""

import numpy as np
import pytest
import torch
from e3nn.o3 import Irreps
from scipy import ndimage

from atompaint_vae.nn import Pool, Upsample, calc_exact_equivariance_error
from atompaint_vae.nn.conv import calc_halved_size, choose_padding

IRREPS = Irreps("1x0e+1x1e")
# In float64; voxels that change places are summed in another order.
EXACT = 1e-14
# Of both paddings, and the smallest.
SIZES = [3, 5, 7, 9, 11, 17, 19, 21, 35]


def make_image(size):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, IRREPS.dim, size, size, size, generator=generator, dtype=torch.float64)


def place_voxels(size):
    """Return where the output voxels of a convolution of stride 2 lie, in voxels of its input."""
    first = 1 - choose_padding(size)
    places = np.arange(first, size - first, 2)
    assert len(places) == calc_halved_size(size)
    assert places.mean() == (size - 1) / 2
    return places


@pytest.mark.parametrize("size", SIZES)
def test_pooling_is_binomial(size):
    image = make_image(size)
    expected = image.numpy()
    for axis in (2, 3, 4):
        expected = ndimage.convolve1d(expected, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
        expected = expected.take(place_voxels(size), axis=axis)
    np.testing.assert_allclose(Pool(IRREPS).double()(image).numpy(), expected, atol=1e-14)


@pytest.mark.parametrize("size", SIZES)
def test_trilinear_upsampling(size):
    places = place_voxels(size)
    image = make_image(len(places))
    result = Upsample(IRREPS, size_voxels=size, mode="trilinear")(image)
    axis = (np.arange(size) - places[0]) / 2
    coords = np.meshgrid(axis, axis, axis, indexing="ij")
    for channel, expected in zip(result.flatten(0, 1), image.flatten(0, 1), strict=True):
        expected = ndimage.map_coordinates(expected, coords, order=1, mode="nearest")
        np.testing.assert_allclose(channel, expected, atol=1e-14)


@pytest.mark.parametrize("size", SIZES)
def test_nearest_upsampling(size):
    places = place_voxels(size)
    image = make_image(len(places))
    result = Upsample(IRREPS, size_voxels=size, mode="nearest")(image).numpy()
    counts = [2] * len(places)
    counts[len(places) // 2] = 3 if places[0] else 1
    expected = image.numpy()
    for axis in (2, 3, 4):
        expected = expected.repeat(counts, axis=axis)
    np.testing.assert_array_equal(result, expected)
    # Of two that are equally near it takes one, and never one that is farther.
    source = np.arange(len(places)).repeat(counts)
    assert (np.abs(places[source] - np.arange(size)) <= 1).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["nearest", "trilinear"])
def test_what_was_upsampled_is_where_a_convolution_takes_it(size, mode):
    places = place_voxels(size)
    image = make_image(len(places))
    result = Upsample(IRREPS, size_voxels=size, mode=mode)(image)
    assert torch.equal(result[:, :, places][:, :, :, places][..., places], image)


@pytest.mark.parametrize("size", [5, 7])
@pytest.mark.parametrize("make", [
    lambda size: Pool(IRREPS).double(),
    lambda size: Upsample(IRREPS, size_voxels=size, mode="nearest"),
    lambda size: Upsample(IRREPS, size_voxels=size, mode="trilinear"),
])  # fmt: skip
def test_resampling_is_equivariant(size, make):
    module = make(size)
    image = make_image(size if isinstance(module, Pool) else calc_halved_size(size))
    error = calc_exact_equivariance_error(module, image, irreps_in=IRREPS, irreps_out=IRREPS)
    assert error < EXACT


@pytest.mark.parametrize("size", [17, 19])
def test_precision_and_memory_format_are_kept(size):
    layout = {"memory_format": torch.channels_last_3d}
    image = make_image(size).float().to(**layout)
    pool = Pool(IRREPS)
    for mode in ("nearest", "trilinear"):
        upsample = Upsample(IRREPS, size_voxels=size, mode=mode)
        exact = upsample(pool(image))
        assert exact.is_contiguous(**layout)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = upsample(pool(image))
        assert rounded.dtype == torch.bfloat16
        assert rounded.is_contiguous(**layout)
        assert (rounded.float() - exact).norm() < 0.01 * exact.norm()


def test_sides_that_do_not_fit():
    with pytest.raises(ValueError, match="can't halve an image of 8 voxels a side"):
        Pool(IRREPS)(torch.randn(1, 4, 8, 8, 8))
    with pytest.raises(ValueError, match="can't halve an image of 8 voxels a side"):
        Upsample(IRREPS, size_voxels=8, mode="nearest")
    upsample = Upsample(IRREPS, size_voxels=9, mode="nearest")
    with pytest.raises(ValueError, match=r"expected .* of 5 voxels .* make it 9; got \[4, 5, 5\]"):
        upsample(torch.randn(1, 4, 4, 5, 5))
