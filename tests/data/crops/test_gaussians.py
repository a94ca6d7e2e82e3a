"""Truth: scipy's normal distribution, sums, and numerical gradients."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from atompaint_vae.data.crops.gaussians import calc_reach, voxelize_gaussians
from atompaint_vae.data.crops.voxelize import voxelize


def make_image(coords_A, **kwargs):
    coords_A = torch.as_tensor(coords_A, dtype=torch.float64).reshape(-1, 3)
    index = torch.zeros(len(coords_A), dtype=torch.int64)
    params = {"num_images": 1, "num_channels": 1, "size_voxels": 9} | kwargs
    return voxelize_gaussians(coords_A, index, index, **params)[0, 0]


@pytest.mark.parametrize("radius_A", [0.75, 1.7])
@pytest.mark.parametrize("resolution_A", [0.5, 1.0])
def test_a_voxel_holds_the_integral_of_a_normal_density(radius_A, resolution_A):
    centre_A = np.array([0.31, -0.12, 0.44])
    image = make_image(centre_A, radius_A=radius_A, resolution_A=resolution_A, size_voxels=15)
    faces_A = (np.arange(16) - 7.5) * resolution_A
    std_A = radius_A / math.sqrt(5)
    a, b, c = (np.diff(stats.norm.cdf(faces_A, loc=x, scale=std_A)) for x in centre_A)
    mass = 4 / 3 * math.pi * radius_A**3 / resolution_A**3
    expected = mass * a[:, None, None] * b[:, None] * c
    # What lies beyond 4 standard deviations is left out.
    np.testing.assert_allclose(image, expected, atol=1e-4 * mass)


def test_a_ball_and_a_gaussian_have_the_same_volume_and_variance():
    index = torch.zeros(1, dtype=torch.int64)
    params = {"num_images": 1, "num_channels": 1, "size_voxels": 41, "resolution_A": 0.1}
    centre = torch.tensor([[0.02, 0.01, 0.04]], dtype=torch.float64)
    ball = voxelize(centre, index, index, radius_A=0.75, **params)[0, 0]
    soft = make_image(centre, radius_A=0.75, size_voxels=41, resolution_A=0.1)
    assert float(soft.sum()) == pytest.approx(float(ball.sum()), rel=1e-3)
    axis_A = (torch.arange(41) - 20) * 0.1
    variances = [
        float((image.sum((1, 2)) * (axis_A - 0.02) ** 2).sum() / image.sum())
        for image in (ball, soft)
    ]
    assert variances[1] == pytest.approx(variances[0], rel=5e-3)


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    coords = (4 * torch.rand(3, 3, dtype=torch.float64) - 2).requires_grad_()
    weights = torch.rand(9, 9, 9, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: (make_image(x) * weights).sum(), [coords])


def test_quarter_turns_of_the_atoms_turn_the_image():
    coords = np.random.default_rng(0).uniform(-5, 5, (20, 3))
    turned = coords @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]).T
    image, expected = make_image(turned), make_image(coords).rot90(1, (0, 1))
    torch.testing.assert_close(image, expected, atol=1e-12, rtol=0)


def test_atoms_go_to_their_images_and_channels():
    coords = torch.zeros(3, 3)
    image = voxelize_gaussians(
        coords, torch.tensor([0, 1, 1]), torch.tensor([1, 0, 0]),
        num_images=2, num_channels=2, size_voxels=5,
    )  # fmt: skip
    one = 4 / 3 * math.pi * 0.75**3
    expected = torch.tensor([[0, 2 * one], [one, 0]])
    torch.testing.assert_close(image.sum((2, 3, 4)), expected, rtol=1e-3, atol=0)


def test_nothing_reaches_further_than_said():
    reach_A = calc_reach(0.75)
    assert make_image([[0, 0, 4.5 + reach_A + 0.01]]).sum() < 1e-4
    assert make_image([[0, 0, 4.5]]).sum() > 0.5


def test_wrong_sizes_and_channels_are_named():
    with pytest.raises(ValueError, match=r"radius_A must be positive, not 0 Å"):
        make_image([[0, 0, 0]], radius_A=0.0)
    index = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"channel 5 of an atom is not in 0\.\.1"):
        voxelize_gaussians(
            torch.zeros(1, 3), index + 5, index, num_images=1, num_channels=2, size_voxels=3
        )
