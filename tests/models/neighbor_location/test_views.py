"""Where atoms appear, worked out by hand; frequencies and ranges of what is drawn."""

import math
from copy import copy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation

from atompaint_vae.data.crops.dataset import CropBatch, CropDataset
from atompaint_vae.models.neighbor_location.hparams import NUM_PLACEMENTS, ViewsHparams
from atompaint_vae.models.neighbor_location.views import (
    FACES,
    NORMALS,
    Placement,
    calc_min_size_voxels,
    cut_views,
    make_views,
    place_views,
    propose_views,
)
from atompaint_vae.models.noise import Noise

DEFAULT = ViewsHparams()


def make_batch(coords_A, num_crops: int = 1) -> CropBatch:
    """The same atoms, all carbon, in each of several crops."""
    coords_A, crop = torch.as_tensor(coords_A, dtype=torch.float32), torch.arange(num_crops)
    num_atoms = len(coords_A)
    channels = torch.zeros(num_crops * num_atoms, dtype=torch.int64)
    index = crop.repeat_interleave(num_atoms)
    return CropBatch(coords_A.repeat(num_crops, 1), channels, index, crop)


def propose(num_crops: int, views: ViewsHparams = DEFAULT, seed: int = 0) -> Placement:
    return propose_views(Noise(seed, torch.arange(num_crops)), views, resolution_A=1.0)


@pytest.fixture(scope="module")
def dataset():
    """Only its way to make images matters."""
    atoms = pd.DataFrame({"x": [0.0], "y": 0.0, "z": 0.0, "element": "C", "structure": "s"})
    return CropDataset(atoms, num_samples=1, seed=0, size_voxels=43, min_density_atoms_nm3=0.0)


@pytest.mark.parametrize(("face", "normal"), [
    ("+x", (1, 0, 0)), ("-x", (-1, 0, 0)), ("+y", (0, 1, 0)), ("-y", (0, -1, 0)),
    ("+z", (0, 0, 1)), ("-z", (0, 0, -1)),
])  # fmt: skip
def test_the_second_view_is_beside_its_face_of_the_first(face, normal):
    assert NORMALS[FACES.index(face)].tolist() == list(normal)
    fixed = ViewsHparams(min_gap_A=3, max_gap_A=3)
    placement = propose(20, fixed)
    is_face = placement.face == FACES.index(face)
    assert is_face.any()
    # 15 Å and the gap of 3 Å, in halves on both sides of the crop's centre.
    first, second = placement.centres_A[is_face].unbind(1)
    assert torch.equal(second, 9 * torch.tensor(normal, dtype=torch.float64).expand_as(second))
    assert torch.equal(first, -second)


def test_an_atom_appears_where_it_is_in_each_view(dataset):
    """At +y, 17 Å apart; the second view is turned by 90° about z, (x, y) to (-y, x)."""
    quarter = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    placement = Placement(
        face=torch.tensor([2]),
        centres_A=torch.tensor([[[0.0, -8.5, 0.0], [0.0, 8.5, 0.0]]]),
        rotations_vi=torch.stack([torch.eye(3), torch.tensor(quarter)])[None],
    )
    # Between the views; (2, -1, 0) from the first centre; (3, 5, -4) from the second.
    batch = make_batch([[0, 0, 0], [2, -9.5, 0], [3, 13.5, -4]])
    batch = batch._replace(channels=torch.tensor([0, 4, 2]))
    pair = make_views(dataset, batch, DEFAULT, placement)
    assert pair.images.shape == (1, 2, 6, 15, 15, 15)
    assert pair.face.tolist() == [2]
    peaks = [(view > 0.9).nonzero().tolist() for view in pair.images[0]]
    # The middle voxel is number 7.
    assert peaks == [[[4, 9, 6, 7]], [[2, 2, 10, 3]]]


def test_voxels_have_the_resolution_of_the_crops(dataset):
    coarse = copy(dataset)
    coarse.resolution_A = 2.0
    views = ViewsHparams(min_gap_A=1, max_gap_A=1, max_turn_deg=0)
    proposed = propose_views(Noise(0, torch.arange(1)), views, resolution_A=2.0)
    placement = Placement(*(x[:, 0] for x in proposed))
    first_A, second_A = placement.centres_A[0]
    assert (second_A - first_A).norm() == 31  # 15 voxels and the gap
    batch = make_batch(placement.centres_A[0] + torch.tensor([0, 0, 12]))
    images = make_views(coarse, batch, views, placement).images
    # A ball of 0.75 Å fills 0.22 of the voxel that it is in the middle of.
    filled = images[0, :, 0, 7, 7, 13]
    torch.testing.assert_close(filled, torch.full((2,), 0.2209), rtol=0, atol=1e-3)


def test_atoms_of_each_crop_stay_in_it(dataset):
    placement = propose(3)
    chosen = Placement(*(x[:, 0] for x in placement))
    batch = make_batch([[0, 0, 0]], 3)._replace(coords_A=chosen.centres_A[:, 1].float())
    images = make_views(dataset, batch, DEFAULT, chosen).images
    middles = images[:, :, 0, 7, 7, 7] > 0.9
    assert middles.tolist() == [[False, True]] * 3


def test_views_without_gap_and_turn_tile_the_space_between():
    """A cube of 30 × 15 × 15 Å, atoms of no extent: each is in one view, and as near its centre."""
    tiling = ViewsHparams(min_gap_A=0, max_gap_A=0, max_turn_deg=0)
    placement = Placement(*(x[:, 0] for x in propose(1, tiling)))
    rng = np.random.default_rng(0)
    axis = int(placement.face[0]) // 2
    half_side_A = np.full(3, 7.5)
    half_side_A[axis] = 15
    coords_A = rng.uniform(-1, 1, (500, 3)) * half_side_A
    atoms = cut_views(make_batch(coords_A), placement, reach_A=7.5)
    assert len(atoms.coords_A) == 500
    assert {*atoms.image_index.tolist()} == {0, 1}
    sign = 1 if int(placement.face[0]) % 2 == 0 else -1
    in_second = torch.from_numpy(coords_A[:, axis] * sign > 0)
    assert torch.equal(atoms.image_index == 1, in_second)
    moved = torch.from_numpy(coords_A)
    moved[:, axis] += torch.where(in_second, -7.5, 7.5) * sign
    torch.testing.assert_close(atoms.coords_A, moved.float())


def test_atoms_that_reach_into_a_view_are_kept():
    placement = Placement(*(x[:, 0] for x in propose(1)))
    first_A = placement.centres_A[0, 0]
    edges_A = first_A + torch.tensor([[0, 0, 8.2], [0, 0, 8.3]])
    assert len(cut_views(make_batch(edges_A), placement, reach_A=8.25).coords_A) == 1


def test_turns_are_rotations_within_the_range():
    placement = propose(200, ViewsHparams(max_turn_deg=30))
    first, second = (x.flatten(0, 1) for x in placement.rotations_vi.unbind(2))
    assert torch.equal(first, torch.eye(3, dtype=torch.float64).expand_as(first))
    torch.testing.assert_close(second @ second.mT, first)
    turns = Rotation.from_matrix(second.numpy())  # would turn improper ones into others
    np.testing.assert_allclose(turns.as_matrix(), second.numpy(), atol=1e-12)
    angles_deg = np.degrees(turns.magnitude())
    # Uniform from 0 to 30: the mean of 1,600 has a standard error of 0.22.
    assert angles_deg.max() <= 30
    assert abs(angles_deg.mean() - 15) < 1
    axes = turns.as_rotvec() / turns.magnitude()[:, None]
    assert np.abs(axes.mean(axis=0)).max() < 0.06  # standard error 0.014
    assert abs((axes**2).mean(axis=0) - 1 / 3).max() < 0.03


def test_gaps_are_uniform_within_the_range():
    centres_A = propose(200).centres_A.flatten(0, 1)
    gaps_A = (centres_A[:, 1] - centres_A[:, 0]).norm(dim=1) - 15
    assert 1 <= gaps_A.min() < 1.1
    assert 4.9 < gaps_A.max() <= 5
    assert abs(gaps_A.mean() - 3) < 0.15  # standard error 0.03


def test_classes_are_balanced():
    counts = propose(1000).face.flatten().bincount(minlength=6)
    expected = 1000 * NUM_PLACEMENTS / 6
    assert abs(counts - expected).max() < 4 * math.sqrt(expected)


def test_views_depend_on_the_seed_and_the_number_alone():
    rng = np.random.default_rng(0)
    batch = make_batch(rng.uniform(-20, 20, (400, 3)), 4)

    def place(batch, seed=3):
        return place_views(batch, Noise(seed, batch.sample_index), DEFAULT, resolution_A=1.0)

    whole = place(batch)
    for i in range(4):
        atoms = batch.image_index == i
        alone = CropBatch(
            batch.coords_A[atoms], batch.channels[atoms], torch.zeros(400).long(), torch.tensor([i])
        )
        for x, y in zip(place(alone), whole, strict=True):
            assert torch.equal(x[0], y[i])
    other = place(batch, seed=4)
    assert not torch.equal(other.centres_A, whole.centres_A)


@pytest.mark.parametrize("density", [3.5, 100.0])
def test_the_first_placement_with_filled_views_is_taken(density):
    """All atoms are on the x axis, 12 in each view there: 12 / 3.375 nm³ = 3.6 atoms/nm³."""
    axis = torch.arange(4.75, 16.25, 0.5)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    batch = make_batch(torch.cat([axis, -axis]), 50)
    gapless = ViewsHparams(max_gap_A=1, min_density_atoms_nm3=density)
    proposed = propose(50, gapless)
    found = place_views(batch, Noise(0, batch.sample_index), gapless, resolution_A=1.0)
    is_filled = proposed.face < 2
    first = is_filled.double().argmax(dim=1)
    assert torch.equal(found.face, proposed.face[torch.arange(50), first])
    assert (first > 0).any()


def test_a_view_is_as_empty_as_the_emptier_of_both():
    """Above 0, an atom in each view; below, 20 atoms in one and none in the other."""
    fixed = ViewsHparams(min_gap_A=1, max_gap_A=1)
    coords_A = [[8, 0, 0], [-8, 0, 0], *[[0, 8, x / 20] for x in range(20)]]
    batch = make_batch(coords_A, 50)
    found = place_views(batch, Noise(0, batch.sample_index), fixed, resolution_A=1.0)
    could_be = (propose(50, fixed).face < 2).any(dim=1)
    assert could_be.sum() > 0
    assert torch.equal(found.face < 2, could_be)


def test_no_condition_takes_the_first_placement():
    views = ViewsHparams(min_density_atoms_nm3=0)
    batch = make_batch(np.random.default_rng(0).uniform(-20, 20, (300, 3)), 20)
    found = place_views(batch, Noise(0, batch.sample_index), views, resolution_A=1.0)
    assert torch.equal(found.face, propose(20).face[:, 0])


@pytest.mark.parametrize(("views", "resolution_A", "expected"), [
    # 15 + 5 + 15 (cos 20° + √2 sin 20°) = 41.35
    ({}, 1.0, 43),
    # 15 + 5 + 15
    ({"max_turn_deg": 0}, 1.0, 35),
    # 15 + 2 + 15 √3 = 42.98
    ({"max_turn_deg": 90, "max_gap_A": 2}, 1.0, 43),
    # The same lengths in voxels of 0.5 Å, but the gap is 10 voxels: 15 + 10 + 21.35 = 46.35
    ({}, 0.5, 47),
])  # fmt: skip
def test_the_smallest_crop_holds_both_views(views, resolution_A, expected):
    views = ViewsHparams(**views)
    assert calc_min_size_voxels(views, resolution_A=resolution_A) == expected
    placement = propose_views(Noise(0, torch.arange(500)), views, resolution_A=resolution_A)
    half_side_A = views.size_voxels * resolution_A / 2
    corners_A = half_side_A * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).double()
    in_crop_A = torch.einsum("bkvij,ci->bkvcj", placement.rotations_vi, corners_A)
    in_crop_A += placement.centres_A[:, :, :, None]
    furthest_A = in_crop_A.abs().max()
    assert furthest_A <= expected * resolution_A / 2
    # 4,000 placements come near to the worst.
    assert furthest_A > (expected - 4) * resolution_A / 2
