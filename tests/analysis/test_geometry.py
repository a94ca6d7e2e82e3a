import numpy as np
import pytest
from scipy.spatial.distance import cdist

from atompaint_vae.analysis.geometry import (
    PAIRS,
    calc_geometry,
    find_interior,
    pool_geometries,
)
from atompaint_vae.data.crops.dataset import CropDataset, load_split
from atompaint_vae.data.crops.voxelize import CHANNELS

C, N, O, S = (CHANNELS.index(x) for x in "CNOS")


def place(*atoms):
    """Atoms on the x axis: (position, channel)."""
    coords_A = np.array([[x, 0.0, 0.0] for x, _ in atoms]).reshape(-1, 3)
    return coords_A, np.array([channel for _, channel in atoms], dtype=np.int64)


def calc(*atoms, counted=None):
    coords_A, channels = place(*atoms)
    is_counted = np.ones(len(channels), bool) if counted is None else np.array(counted)
    return calc_geometry(coords_A, channels, is_counted)


def get_bonds(geometry):
    return {k: v.round(6).tolist() for k, v in geometry.bond_lengths_A.items() if len(v)}


def test_a_row_of_atoms_has_the_geometry_read_off_it():
    # N-C-C, an S 1.8 Å from the last; an O 3 Å away from all; two C 0.5 Å apart.
    geometry = calc((0, N), (1.4, C), (2.9, C), (4.7, S), (8, O), (20, C), (20.5, C))
    assert geometry.nearest_A == pytest.approx([1.4, 1.4, 1.5, 1.8, 3.3, 0.5, 0.5])
    assert geometry.coordination.tolist() == [1, 2, 1, 0, 0, 1, 1]
    assert get_bonds(geometry) == {("C", "N"): [1.4], ("C", "C"): [1.5], ("C", "S"): [1.8]}
    assert geometry.num_atoms == 7
    assert (geometry.num_bonded, geometry.num_clashing, geometry.num_isolated) == (3, 2, 2)
    assert (geometry.bonded, geometry.clashing, geometry.isolated) == (3 / 7, 2 / 7, 2 / 7)
    assert geometry.median_nearest_A == pytest.approx(1.4)
    assert geometry.mean_coordination == pytest.approx(6 / 7)


def test_atoms_at_one_place_clash():
    geometry = calc((0, C), (0, C), (0, N))
    assert geometry.nearest_A.tolist() == [0, 0, 0]
    assert (geometry.clashing, get_bonds(geometry)) == (1, {})


def test_atoms_that_do_not_count_are_neighbours_all_the_same():
    geometry = calc((0, C), (1.5, O), (2.9, N), counted=[True, False, False])
    assert geometry.nearest_A.tolist() == [1.5]
    assert geometry.coordination.tolist() == [1]
    assert get_bonds(geometry) == {("C", "O"): [1.5]}


def test_an_atom_alone_is_isolated_and_no_atoms_have_no_shares():
    assert calc((0, C)).isolated == 1
    nothing = calc()
    assert nothing.num_atoms == 0
    averages = "bonded", "clashing", "isolated", "median_nearest_A", "mean_coordination"
    assert np.isnan([getattr(nothing, x) for x in averages]).all()


def test_pooled_images_are_as_one_image_of_atoms_far_apart():
    rng = np.random.default_rng(0)
    coords_A = rng.uniform(0, 6, size=(2, 80, 3))
    channels = rng.integers(len(CHANNELS), size=(2, 80))
    is_counted = rng.random((2, 80)) < 0.5
    pooled = pool_geometries(map(calc_geometry, coords_A, channels, is_counted))
    coords_A[1] += 100
    whole = calc_geometry(coords_A.reshape(-1, 3), channels.ravel(), is_counted.ravel())
    assert pooled.nearest_A == pytest.approx(whole.nearest_A)
    assert pooled.coordination.tolist() == whole.coordination.tolist()
    for pair in PAIRS:
        expected = np.sort(whole.bond_lengths_A[pair])
        assert np.sort(pooled.bond_lengths_A[pair]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no geometries to pool"):
        pool_geometries([])


def test_distances_are_those_of_the_whole_distance_matrix():
    rng = np.random.default_rng(1)
    coords_A = rng.uniform(0, 5, size=(60, 3))
    geometry = calc_geometry(coords_A, np.full(60, C), np.ones(60, bool))
    distances_A = cdist(coords_A, coords_A) + np.diag(np.full(60, np.inf))
    assert geometry.nearest_A == pytest.approx(distances_A.min(axis=0))
    assert geometry.coordination.tolist() == (distances_A <= 1.75).sum(axis=0).tolist()
    upper = distances_A[np.triu_indices(60, 1)]
    expected = np.sort(upper[(upper >= 1.15) & (upper <= 2.1)])
    assert np.sort(geometry.bond_lengths_A["C", "C"]) == pytest.approx(expected)


def test_longer_bonds_score_by_how_much_longer_they_are():
    def make_bonds(length_A, num, element=C):
        return pool_geometries([calc((0, C), (length_A, element))] * num)

    # The distance between two unlike lengths is their difference, whatever their numbers.
    rare = make_bonds(1.3, 29, O)
    reference = pool_geometries([make_bonds(1.5, 40), make_bonds(1.4, 40, N), rare])
    image = pool_geometries([make_bonds(1.65, 30), make_bonds(1.35, 30, N), rare])
    scores = image.score_against(reference)
    assert scores == {("C", "C"): pytest.approx(0.15), ("C", "N"): pytest.approx(0.05)}
    assert reference.score_against(reference) == {("C", "C"): 0, ("C", "N"): 0}


def test_the_interior_is_a_margin_away_from_all_faces():
    coords_A = np.array([[0, 0, 0], [8.4, -8.4, 8.4], [0, 8.6, 0], [0, 0, -8.6]])
    assert find_interior(coords_A, 21.0).tolist() == [True, True, False, False]
    assert find_interior(coords_A, 21.0, margin_A=1.0).all()


def test_real_atoms_are_bonded_until_they_are_displaced():
    dataset = CropDataset(load_split("starter", "test"), num_samples=40, seed=0, size_voxels=21)
    crops = [dataset[i][1] for i in range(40)]
    rng = np.random.default_rng(0)

    def displace(std_A):
        for crop in crops:
            coords_A = crop.coords_A + rng.normal(scale=std_A, size=crop.coords_A.shape)
            yield calc_geometry(coords_A, crop.channels, find_interior(crop.coords_A, 21.0))

    real, displaced = pool_geometries(displace(0.0)), pool_geometries(displace(0.3))
    assert real.num_atoms == displaced.num_atoms > 1000
    assert 0.97 < real.bonded < 1
    assert real.clashing < 0.001
    assert real.coordination.max() <= 4
    assert 1.9 < real.mean_coordination < 2.3
    assert displaced.bonded < 0.7
    assert min(displaced.score_against(real)[pair] for pair in PAIRS[:3]) > 0.05
