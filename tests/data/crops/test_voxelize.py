"""Truth: macromol_voxelize, the volume of a ball, Monte Carlo, finite differences."""

import itertools
import math

import macromol_voxelize as mmvox
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atompaint_vae.data.crops.voxelize import (
    CHANNELS,
    MAX_TABLE_RADIUS_VOXELS,
    channel_of_element,
    find_channels,
    voxelize,
)

MAX_ERROR_VOXELS = 2e-3
MAX_MEAN_ERROR_VOXELS = 2e-4


def make_image(coords_A, *, channels=None, num_channels=1, size_voxels=9, **kwargs):
    """Image of one set of atoms, [c x y z]."""
    coords_A = torch.as_tensor(coords_A)
    channels = torch.zeros(len(coords_A)) if channels is None else torch.as_tensor(channels)
    images = voxelize(
        coords_A,
        channels.long(),
        torch.zeros(len(coords_A), dtype=torch.long),
        num_images=1,
        num_channels=num_channels,
        size_voxels=size_voxels,
        **kwargs,
    )
    return images[0]


def make_reference(coords_A, channels, radii_A, *, num_channels, size_voxels, resolution_A):
    atoms = pl.DataFrame(
        {
            "x": coords_A[:, 0],
            "y": coords_A[:, 1],
            "z": coords_A[:, 2],
            "channels": [[int(c)] for c in channels],
            "radius_A": radii_A,
        }
    )
    image, _ = mmvox.image_from_atoms(
        atoms,
        mmvox.ImageParams(
            channels=num_channels,
            grid=mmvox.Grid(
                length_voxels=size_voxels, resolution_A=resolution_A, center_A=[0, 0, 0]
            ),
            dtype=np.float64,
            fill_algorithm=mmvox.FillAlgorithm.FractionVoxel,
            agg_algorithm=mmvox.AggAlgorithm.Sum,
        ),
    )
    return image


@given(
    seed=st.integers(0, 2**32),
    radius_voxels=st.floats(0.3, 3.0),
    resolution_A=st.floats(0.25, 2.0),
    size_voxels=st.integers(1, 9),
    is_per_atom=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_images_are_those_of_macromol_voxelize(
    seed, radius_voxels, resolution_A, size_voxels, is_per_atom
):
    # Each table is used twice at most here: few radii keep the test fast.
    radius_A = round(radius_voxels, 1) * resolution_A
    rng = np.random.default_rng(seed)
    num_atoms = 30
    reach_A = size_voxels * resolution_A / 2 + 2 * radius_A
    coords_A = rng.uniform(-reach_A, reach_A, (num_atoms, 3))
    channels = rng.integers(3, size=num_atoms)
    radii_A = np.full(num_atoms, radius_A)
    if is_per_atom:
        radii_A *= rng.uniform(0.3, 1, size=num_atoms)
    params = {"num_channels": 3, "size_voxels": size_voxels, "resolution_A": resolution_A}
    image = make_image(
        coords_A.astype(np.float32),
        channels=channels,
        radius_A=torch.tensor(radii_A, dtype=torch.float32) if is_per_atom else radius_A,
        **params,
    )
    errors = abs(image.double().numpy() - make_reference(coords_A, channels, radii_A, **params))
    assert errors.max() <= MAX_ERROR_VOXELS
    assert errors.mean() <= MAX_MEAN_ERROR_VOXELS


def test_the_default_image_is_that_of_macromol_voxelize():
    rng = np.random.default_rng(0)
    coords_A = rng.uniform(-19, 19, (1500, 3))
    channels = rng.integers(len(CHANNELS), size=len(coords_A))
    params = {"num_channels": len(CHANNELS), "size_voxels": 35}
    image = make_image(coords_A.astype(np.float32), channels=channels, **params)
    reference = make_reference(
        coords_A, channels, np.full(len(coords_A), 0.75), resolution_A=1.0, **params
    )
    errors = abs(image.double().numpy() - reference)
    assert errors.max() <= MAX_ERROR_VOXELS
    assert errors[reference > 0].mean() <= MAX_MEAN_ERROR_VOXELS


@pytest.mark.parametrize("radius_A", [0.15, 0.3, 0.5, 0.75, 1.2, 1.6])
@pytest.mark.parametrize("resolution_A", [0.5, 1.0])
def test_an_atom_inside_fills_the_volume_of_a_ball(radius_A, resolution_A):
    coords_A = torch.rand(50, 3, generator=torch.manual_seed(0)) - 0.5
    images = voxelize(
        coords_A,
        torch.zeros(50, dtype=torch.long),
        torch.arange(50),
        num_images=50,
        num_channels=1,
        size_voxels=13,
        resolution_A=resolution_A,
        radius_A=radius_A,
    )
    volume_voxels = 4 / 3 * math.pi * (radius_A / resolution_A) ** 3
    # The table's interpolation errors of up to 64 voxels add up.
    assert images.sum(dim=(1, 2, 3, 4)).numpy() == pytest.approx(volume_voxels, abs=2e-3, rel=2e-3)


def test_a_voxel_is_the_share_of_random_points_that_are_in_the_ball():
    atom_A = np.array([0.31, -0.12, 0.44])
    image = make_image(atom_A[None].astype(np.float32), size_voxels=3, radius_A=0.9)
    points_A = np.random.default_rng(0).uniform(-1.5, 1.5, (2_000_000, 3))
    inside = ((points_A - atom_A) ** 2).sum(1) < 0.9**2
    counts, _ = np.histogramdd(points_A[inside], bins=3, range=[(-1.5, 1.5)] * 3)
    shares = counts / (len(points_A) / 27)
    # Four standard deviations of the share of 74,000 points, √(¼ / 74,000), plus the table's error.
    assert abs(image[0].numpy() - shares).max() < 0.008 + MAX_ERROR_VOXELS


def test_an_atom_at_the_origin_is_centred_in_the_middle_voxel():
    image = make_image(torch.zeros(1, 3), size_voxels=3, radius_A=0.4)
    assert image[0, 1, 1, 1] == pytest.approx(4 / 3 * math.pi * 0.4**3, abs=1e-6)
    assert image.count_nonzero() == 1


def test_axes_are_in_the_order_x_y_z():
    image = make_image(torch.tensor([[-2.0, 0.0, 3.0]]), radius_A=0.4)
    assert image[0].nonzero().tolist() == [[2, 4, 7]]


def test_an_atom_on_the_border_fills_only_the_voxels_inside():
    image = make_image(torch.tensor([[4.5, 0.0, 0.0]]), radius_A=0.4)
    assert image.sum() == pytest.approx(4 / 3 * math.pi * 0.4**3 / 2, rel=1e-3)
    assert image[0, 8, 4, 4] == image.sum()


@pytest.mark.parametrize("radius_A", [0.75, 2.0])
def test_atoms_far_outside_leave_no_trace(radius_A):
    coords_A = torch.tensor([[30.0, 0, 0], [0, -1e7, 0], [1e7, 1e7, 1e7]])
    assert make_image(coords_A, radius_A=radius_A).count_nonzero() == 0


def test_no_atoms_make_empty_images():
    assert make_image(torch.zeros(0, 3)).count_nonzero() == 0
    assert make_image(torch.zeros(0, 3), radius_A=torch.zeros(0)).count_nonzero() == 0


def test_overlapping_atoms_sum():
    atom_A = torch.tensor([[0.2, 0.3, -0.4]])
    torch.testing.assert_close(make_image(atom_A.repeat(3, 1)), 3 * make_image(atom_A))


def test_a_batch_is_its_images_one_by_one():
    generator = torch.manual_seed(0)
    coords_A = 8 * torch.rand(40, 3, generator=generator) - 4
    channels = torch.randint(3, (40,), generator=generator)
    image_index = torch.randint(4, (40,), generator=generator)
    image_index[image_index == 2] = 1
    images = voxelize(
        coords_A, channels, image_index, num_images=4, num_channels=3, size_voxels=9
    )
    for i in range(4):
        mine = image_index == i
        single = make_image(coords_A[mine], channels=channels[mine], num_channels=3)
        # Summed in the same order, so equal to the bit.
        assert torch.equal(images[i], single)


@pytest.mark.parametrize("size_voxels", [8, 9])
@pytest.mark.parametrize("radius_A", [0.75, 2.0])
def test_the_24_rotations_of_the_atoms_rotate_the_image(size_voxels, radius_A):
    coords_A = torch.rand(30, 3, generator=torch.manual_seed(0), dtype=torch.float64) * 9 - 4.5
    params = {"size_voxels": size_voxels, "radius_A": radius_A}
    image = make_image(coords_A, **params)[0]
    num_rotations = 0
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product([1, -1], repeat=3):
            rotation = torch.eye(3, dtype=torch.float64)[list(axes)] * torch.tensor(signs)[:, None]
            if torch.linalg.det(rotation) < 0:
                continue
            num_rotations += 1
            flips = [i for i in range(3) if signs[i] < 0]
            expected = image.permute(axes).flip(flips)
            actual = make_image(coords_A @ rotation.T, **params)[0]
            # Only the order of float64 sums differs.
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    assert num_rotations == 24


@pytest.mark.parametrize("radius_A", [0.4, 0.75, 2.0, "per atom"])
def test_the_gradient_is_that_of_finite_differences(radius_A):
    generator = torch.manual_seed(0)
    coords_A = torch.rand(6, 3, generator=generator, dtype=torch.float64) * 10 - 5
    weights = torch.rand(9, 9, 9, generator=generator, dtype=torch.float64)
    if radius_A == "per atom":
        radius_A = 0.3 + torch.rand(6, generator=generator, dtype=torch.float64)

    def calc_sum(coords_A):
        return (make_image(coords_A, radius_A=radius_A)[0] * weights).sum()

    coords_A.requires_grad_()
    calc_sum(coords_A).backward()
    step_A = 1e-3
    for i, j in itertools.product(range(6), range(3)):
        shift_A = torch.zeros(6, 3, dtype=torch.float64)
        shift_A[i, j] = step_A
        with torch.no_grad():
            change = calc_sum(coords_A + shift_A) - calc_sum(coords_A - shift_A)
        # The step may straddle nodes of the table, where its slope changes by some percent.
        assert float(coords_A.grad[i, j]) == pytest.approx(
            float(change) / (2 * step_A), abs=0.03
        )
    assert coords_A.grad.abs().max() > 0.1


@pytest.mark.parametrize("radius_A", [0.5, 2.0])
def test_the_gradient_is_finite_where_a_ball_only_touches_a_face(radius_A):
    coords_A = torch.tensor([[0.2, 0.5, -0.5]], requires_grad=True)
    image = make_image(coords_A, radius_A=torch.tensor([radius_A]))
    image[0, 5:].square().sum().backward()
    assert coords_A.grad.isfinite().all()
    assert coords_A.grad[0, 0] > 0


def test_a_table_made_in_inference_mode_still_serves_training():
    with torch.inference_mode():
        make_image(torch.zeros(1, 3), radius_A=0.7123)
    coords_A = torch.full((1, 3), 0.1, requires_grad=True)
    make_image(coords_A, radius_A=0.7123).square().sum().backward()
    assert coords_A.grad.abs().max() > 0


def test_radii_per_atom_are_those_of_each_atom():
    coords_A = torch.tensor([[-2.0, 0.1, 0.3], [2.0, 0.2, -0.4]])
    both = make_image(coords_A, radius_A=torch.tensor([0.5, 1.1]))
    one_by_one = make_image(coords_A[:1], radius_A=0.5) + make_image(coords_A[1:], radius_A=1.1)
    torch.testing.assert_close(both, one_by_one, rtol=0, atol=MAX_ERROR_VOXELS)


def test_half_precision_coordinates_make_single_precision_images():
    assert make_image(torch.zeros(1, 3, dtype=torch.bfloat16)).dtype == torch.float32


def test_large_balls_fill_voxels_completely():
    image = make_image(torch.zeros(1, 3), radius_A=4 * MAX_TABLE_RADIUS_VOXELS, size_voxels=5)
    assert image.numpy() == pytest.approx(1, abs=1e-4)


def test_sulphur_and_selenium_share_a_channel():
    assert CHANNELS == ("C", "N", "O", "P", "S", "other")
    named = [CHANNELS[channel_of_element(e)] for e in ["C", "N", "O", "P", "S", "Se", "SE"]]
    assert named == ["C", "N", "O", "P", "S", "S", "S"]
    assert {CHANNELS[channel_of_element(e)] for e in ["Zn", "FE", "Cl", "CA", "X"]} == {"other"}


@pytest.mark.parametrize("dtype", ["category", "str", object])
def test_channels_of_a_column(dtype):
    elements = pd.Series(["ZN", "C", "SE", "C", "P"]).astype(dtype)
    assert find_channels(elements).tolist() == [5, 0, 4, 0, 3]


def test_a_missing_element_is_an_error():
    elements = pd.Series(["C", None], dtype="category")
    with pytest.raises(ValueError, match=r"^element missing in row 1$"):
        find_channels(elements)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"channels": [0, 3], "num_channels": 3}, r"channel 3 of an atom is not in 0\.\.2"),
        ({"channels": [0, -1]}, r"channel -1 of an atom is not in 0\.\.0"),
        ({"size_voxels": 0}, "size_voxels must be at least 1, not 0"),
        ({"resolution_A": 0.0}, "resolution_A must be positive, not 0 Å"),
        ({"radius_A": -0.5}, "radius_A must be positive, not -0.5 Å"),
        ({"radius_A": math.nan}, "radius_A must be positive, not nan Å"),
        ({"radius_A": torch.tensor([1.0, 0.0])}, "radius_A must be positive, not 0 Å"),
    ],
)
def test_bad_arguments_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        make_image(torch.zeros(2, 3), **params)


def test_an_image_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"^image 2 of an atom is not in 0\.\.1$"):
        voxelize(
            torch.zeros(1, 3),
            torch.tensor([0]),
            torch.tensor([2]),
            num_images=2,
            num_channels=1,
            size_voxels=3,
        )
