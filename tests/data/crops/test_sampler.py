"""Truth: brute force over all atoms, and the statistics of the uniform distribution."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial import KDTree

from atompaint_vae.data.crops.sampler import (
    MAX_PROPOSALS,
    AtomGrid,
    CropSampler,
    check_atoms,
    sample_rotation,
)
from atompaint_vae.data.crops.voxelize import find_channels

DENSITY_ATOMS_A3 = 0.03


def make_ball(structure, num_atoms, *, seed=0, centre_A=(0, 0, 0)):
    """Atoms of random elements, spread evenly over a ball as densely as a protein's."""
    rng = np.random.default_rng(seed)
    radius_A = (num_atoms / DENSITY_ATOMS_A3 * 3 / 4 / np.pi) ** (1 / 3)
    direction = rng.normal(size=(num_atoms, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    coords_A = centre_A + direction * radius_A * rng.random((num_atoms, 1)) ** (1 / 3)
    table = pd.DataFrame(coords_A.astype(np.float32), columns=["x", "y", "z"])
    elements = rng.choice(["C", "N", "O", "P", "S", "ZN"], size=num_atoms)
    return table.assign(
        structure=pd.Categorical([structure] * num_atoms), element=pd.Categorical(elements)
    )


def join(*tables):
    atoms = pd.concat(tables, ignore_index=True)
    return atoms.astype({"structure": "category", "element": "category"})


def make_sampler(atoms, **kwargs):
    params = {"length_A": 12.0, "radius_A": 0.75, "min_density_atoms_nm3": 20.0} | kwargs
    return CropSampler(atoms, **params)


@pytest.fixture(scope="module")
def ball():
    return make_ball("ball", 3000, centre_A=(300, -200, 50))


@pytest.mark.parametrize("length_A", [3.0, 12.0, 40.0])
def test_a_crop_holds_the_atoms_that_brute_force_finds(ball, length_A):
    sampler = make_sampler(ball, length_A=length_A)
    coords_a = ball[["x", "y", "z"]].to_numpy(dtype=np.float64)
    channels = find_channels(ball["element"])
    for i in range(30):
        crop = sampler.sample(0, i)
        expected_A = (coords_a - crop.centre_A) @ crop.rotation_ia.T
        reach_A = length_A / 2 + 0.75
        assert abs(crop.coords_A).max(initial=0) < reach_A
        # Atoms within rounding of the border may be on either side of it.
        inside, certain = (
            abs(coords_A).max(axis=1) < reach_A - 1e-3 for coords_A in (expected_A, crop.coords_A)
        )
        assert inside.sum() == certain.sum() > 0
        # float32 at 300 Å resolves 3e-5 Å.
        distances_A, partners = KDTree(crop.coords_A).query(expected_A[inside])
        assert distances_A.max() < 2e-4
        assert len(set(partners)) == len(partners)
        assert np.array_equal(crop.channels[partners], channels[inside])
        assert crop.coords_A.dtype == np.float32
        assert crop.structure == "ball"


def test_the_grid_finds_every_atom_in_a_box(ball):
    coords_A = ball[["x", "y", "z"]].to_numpy()
    grid = AtomGrid(coords_A, find_channels(ball["element"]))
    rng = np.random.default_rng(0)
    for _ in range(50):
        centre_A = coords_A[rng.integers(len(coords_A))] + rng.normal(scale=20, size=3)
        reach_A = rng.uniform(0, 25, size=3)
        near = grid.find_near(centre_A, reach_A)
        inside = (abs(coords_A - centre_A) <= reach_A).all(axis=1).sum()
        found = (abs(grid.coords_A[near] - centre_A) <= reach_A).all(axis=1).sum()
        assert found == inside
        assert len(np.unique(near)) == len(near)


def test_a_place_without_atoms_has_none(ball):
    sampler = make_sampler(ball)
    grid = AtomGrid(ball[["x", "y", "z"]].to_numpy(), find_channels(ball["element"]))
    assert len(grid.find_near(np.array([1e5, 0.0, 0.0]), 10.0)) == 0
    assert sampler.calc_density(grid, np.array([1e5, 0.0, 0.0])) == 0


def test_the_density_is_that_of_the_inscribed_sphere(ball):
    grid = AtomGrid(ball[["x", "y", "z"]].to_numpy(), find_channels(ball["element"]))
    density = make_sampler(ball, length_A=40.0).calc_density(grid, np.array([300.0, -200.0, 50.0]))
    # 1000 atoms are expected in 33.5 nm³: three standard deviations are 10 %.
    assert density == pytest.approx(1000 * DENSITY_ATOMS_A3, rel=0.1)


def test_centres_are_where_atoms_are_dense(ball):
    ghosts = make_ball("ball", 3000).assign(x=lambda t: t.x * 10, y=lambda t: t.y * 10)
    atoms = join(ball, ghosts.assign(x=lambda t: t.x + 3000))
    sampler = make_sampler(atoms)
    centres_A = np.array([sampler.sample(0, i).centre_A for i in range(100)])
    assert (np.linalg.norm(centres_A - [300, -200, 50], axis=1) < 40).all()


def test_the_densest_proposal_is_taken_where_none_is_dense_enough(ball):
    sampler = make_sampler(ball, min_density_atoms_nm3=1e6)
    grid = AtomGrid(ball[["x", "y", "z"]].to_numpy(), find_channels(ball["element"]))
    sparse = make_sampler(ball, min_density_atoms_nm3=0.0)

    def calc_mean_density(sampler):
        centres_A = [sampler.sample(0, i).centre_A for i in range(40)]
        return np.mean([sampler.calc_density(grid, c) for c in centres_A])

    assert MAX_PROPOSALS == 20
    # The best of 20 lies about two standard deviations, 2 x 5.5 atoms/nm³, above the mean.
    assert calc_mean_density(sampler) > calc_mean_density(sparse) + 8


def test_a_structure_is_chosen_by_the_root_of_its_atoms():
    atoms = join(make_ball("small", 100), make_ball("large", 10_000))
    sampler = make_sampler(atoms, length_A=3.0, min_density_atoms_nm3=0.0)
    assert sampler.structures == ["large", "small"]
    num_large = sum(sampler.sample(0, i).structure == "large" for i in range(2000))
    # Four standard deviations of the binomial of p = 100/110.
    assert num_large == pytest.approx(2000 * 100 / 110, abs=4 * np.sqrt(2000 * 10 / 121))


def test_a_crop_is_a_function_of_seed_and_number(ball):
    atoms = join(ball, make_ball("other", 500))
    shuffled = join(make_ball("other", 500), ball)
    crops = [make_sampler(atoms).sample(3, i) for i in range(5)]
    sampler = make_sampler(shuffled)
    sampler.sample(1, 1)
    for i in [4, 2, 0]:
        for mine, theirs in zip(crops[i], sampler.sample(3, i), strict=True):
            assert np.array_equal(mine, theirs)
    centres = {tuple(make_sampler(ball).sample(s, i).centre_A) for s in range(4) for i in range(4)}
    assert len(centres) == 16


def test_numbers_beyond_32_bits_are_samples_of_their_own(ball):
    sampler = make_sampler(ball)
    # Words of 32 bits that were strung together would make these the same.
    pairs = [(1, 7 + 5 * 2**32), (1 + 7 * 2**32, 5), (1, 2**63 - 1), (1, 7)]
    assert len({tuple(sampler.sample(*pair).centre_A) for pair in pairs}) == 4


def test_rotations_are_uniform():
    rng = np.random.default_rng(0)
    rotations = np.array([sample_rotation(rng) for _ in range(20_000)])
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotations.shape),
        rtol=0, atol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    # Elements: mean 0, variance 1/3, and 9 x 9 covariance diagonal; five standard errors each.
    elements = rotations.reshape(-1, 9)
    np.testing.assert_allclose(elements.mean(0), 0, atol=5 * np.sqrt(1 / 3 / 20_000))
    np.testing.assert_allclose(np.cov(elements.T), np.eye(9) / 3, atol=5 * np.sqrt(0.2 / 20_000))
    # The angle's density is (1 - cos θ) / π, its distribution (θ - sin θ) / π.
    angles_rad = np.arccos((np.trace(rotations, axis1=1, axis2=2) - 1) / 2)
    assert stats.kstest(angles_rad, lambda t: (t - np.sin(t)) / np.pi).pvalue > 0.01
    # A column is a uniform point of the sphere: its z is uniform (Archimedes).
    assert stats.kstest(rotations[:, 2, 0], stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_centres_fall_anywhere_in_a_voxel(ball):
    sampler = make_sampler(ball)
    shifts = np.array([sampler.sample(0, i).centre_A % 1 for i in range(1000)])
    assert all(stats.kstest(shifts[:, j], "uniform").pvalue > 0.01 for j in range(3))


def test_one_atom_is_a_structure():
    crop = make_sampler(make_ball("ion", 1)).sample(0, 0)
    assert len(crop.coords_A) <= 1


def test_unused_categories_are_no_structures(ball):
    atoms = join(ball, make_ball("other", 10))
    sampler = make_sampler(atoms[atoms["structure"] == "ball"])
    assert repr(sampler) == "1 structures -> crops of 12 Å"


def test_a_table_without_atoms_is_an_error(ball):
    with pytest.raises(ValueError, match=r"^no atoms to make crops of$"):
        make_sampler(ball[:0])


def test_coordinates_that_are_not_finite_are_an_error(ball):
    atoms = ball.copy()
    atoms.loc[[3, 5], "y"] = [np.nan, np.inf]
    with pytest.raises(ValueError, match=r"^structure ball: 2 atoms without finite coordinates$"):
        make_sampler(atoms)


def test_coordinates_far_away_cost_no_memory(ball):
    atoms = ball.copy()
    atoms.loc[0, ["x", "y", "z"]] = 1e7
    assert len(make_sampler(atoms).sample(0, 0).coords_A) > 0


def test_what_crops_cannot_be_made_of(ball):
    message = "a list; concatenate_atoms makes one table of several"
    with pytest.raises(ValueError, match=message):
        check_atoms([ball])  # under pytest, annotations would refuse it first
    with pytest.raises(ValueError, match="atoms: no column structure, z; there: x, y, element"):
        make_sampler(ball[["x", "y", "element"]])
