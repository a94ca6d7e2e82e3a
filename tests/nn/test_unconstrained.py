"""Truth: the sums of a convolution, written out; and the variance of independent numbers."""

import itertools

import numpy as np
import pytest
import torch
from e3nn.o3 import Irreps

from atompaint_vae.nn import SteerableConv, calc_exact_equivariance_error
from atompaint_vae.nn.unconstrained import UnconstrainedConv


def convolve_by_hand(image, kernel, *, stride, padding):
    padded = np.pad(image, [(0, 0), *[(padding, padding)] * 3])
    size, side = padded.shape[-1], kernel.shape[-1]
    starts = range(0, size - side + 1, stride)
    result = np.empty((len(kernel), *[len(starts)] * 3))
    for place in itertools.product(enumerate(starts), repeat=3):
        (i, x), (j, y), (k, z) = place
        patch = padded[:, x : x + side, y : y + side, z : z + side]
        result[:, i, j, k] = (kernel * patch).sum(axis=(1, 2, 3, 4))
    return result


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}, {"kernel_size": 1}])
def test_it_is_a_convolution(options):
    torch.manual_seed(0)
    conv = UnconstrainedConv(Irreps("2x0e"), Irreps("3x0e"), bias=True, **options)
    conv.conv.bias.data = torch.tensor([0.0, 1.0, -2.0])
    image = torch.randn(1, 2, 5, 5, 5)
    expected = convolve_by_hand(
        image[0].numpy(), conv.conv.weight.detach().numpy(),
        stride=options.get("stride", 1), padding=options.get("padding", 0),
    )  # fmt: skip
    expected += np.array([0, 1, -2])[:, None, None, None]
    np.testing.assert_allclose(conv(image)[0].detach(), expected, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"stride": 2, "padding": 1},
        {"stride": 2, "kernel_size": 5},
        {"stride": 2, "padding": 1, "transposed": True},
        {"stride": 2, "transposed": True, "bias": True},
    ],
)
def test_it_takes_the_place_of_a_steerable_convolution(options):
    image = torch.randn(2, 4, 7, 7, 7)
    steerable, free = (
        make(Irreps("4x0e"), Irreps("2x0e"), **options)
        for make in (SteerableConv, UnconstrainedConv)
    )
    assert free(image).shape == steerable(image).shape
    assert (free.irreps_in, free.irreps_out) == (steerable.irreps_in, steerable.irreps_out)
    assert free.conv.weight.numel() > sum(weight.numel() for weight in steerable.weights.values())


@pytest.mark.parametrize(("stride", "transposed"), [(1, False), (2, False), (1, True), (2, True)])
def test_unit_variance_is_kept(stride, transposed):
    torch.manual_seed(0)
    conv = UnconstrainedConv(Irreps("32x0e"), Irreps("32x0e"), stride=stride, transposed=transposed)
    with torch.no_grad():
        result = conv(torch.randn(4, 32, 15, 15, 15))
    # Away from the border, where a transposed convolution sums over fewer voxels.  The kernel's
    # 28,000 numbers or more, and fewer for each output of a stride, give it to some per cent.
    assert result[..., 2:-2, 2:-2, 2:-2].var().item() == pytest.approx(1, rel=0.1)


def test_it_does_not_turn_with_its_input():
    torch.manual_seed(0)
    conv = UnconstrainedConv(Irreps("2x0e"), Irreps("2x0e"), padding=1)
    image = torch.randn(1, 2, 5, 5, 5)
    error = calc_exact_equivariance_error(
        conv, image, irreps_in=conv.irreps_in, irreps_out=conv.irreps_out
    )
    assert error > 1  # kernels of unrelated numbers: about √2


def test_irreps_are_only_counted():
    conv = UnconstrainedConv(Irreps("2x0e+1x2e"), Irreps("1x0e+1x1e"))
    assert (conv.irreps_in, conv.irreps_out) == (Irreps("7x0e"), Irreps("4x0e"))
