"""Truth: balls and slabs of atoms, whose borders and shares are known."""

import numpy as np
import pandas as pd
import pytest
from torch.utils.data import DataLoader

from atompaint_vae.data.crops import filters
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops
from atompaint_vae.data.crops.filters import (
    CropFilters,
    calc_border_distances,
)
from atompaint_vae.data.crops.sampler import CropSampler


def make_lattice(half_A: float, spacing_A: float = 2.5) -> np.ndarray:
    axis = np.arange(-half_A, half_A + 0.1, spacing_A)
    return np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3).astype(np.float32)


def make_table(coords_A, structure="1ABC", kind="protein", element="C", occupancy=1.0):
    table = pd.DataFrame(coords_A, columns=["x", "y", "z"])
    return table.assign(structure=structure, kind=kind, element=element, occupancy=occupancy)


def make_sampler(atoms, **filters):
    return CropSampler(
        atoms, length_A=10.0, radius_A=1.0, min_density_atoms_nm3=0.0,
        filters=CropFilters(**filters),
    )  # fmt: skip


def test_the_border_of_a_ball_is_its_surface():
    lattice = make_lattice(30)
    radius_A = np.linalg.norm(lattice, axis=1)
    ball = lattice[radius_A <= 30]
    expected = 30 - radius_A[radius_A <= 30]
    # A cell is 4 Å, a diagonal of half a cell 3.5 Å; and the ball's surface is made of cells.
    assert np.abs(calc_border_distances(ball) - expected).max() < 6


def test_a_cavity_has_no_border():
    lattice = make_lattice(30)
    shell = lattice[np.linalg.norm(lattice, axis=1) >= 12]
    wall = shell[np.abs(shell).max(axis=1) <= 15]
    distances = calc_border_distances(shell)
    is_wall = (np.abs(shell) <= 15).all(axis=1)
    assert len(wall) > 100
    assert distances[is_wall].min() > 10


def test_far_atoms_cost_no_memory(monkeypatch):
    monkeypatch.setattr(filters, "MAX_BORDER_CELLS", 100_000)  # of 1e11 that 4 Å would need
    two = np.array([[-9999, -9999, -9999], [9999, 9999, 9999]], dtype=np.float32)
    assert (calc_border_distances(two) > 0).all()


def test_crops_keep_their_distance_from_the_border():
    atoms = make_table(make_lattice(30))
    samplers = make_sampler(atoms, min_border_distance_A=15.0), make_sampler(atoms)
    centres_A, free = (np.array([x.sample(0, i).centre_A for i in range(200)]) for x in samplers)
    # Centres are displaced by 2 Å from an atom that is 15 Å from the border, to a cell of 4 Å.
    assert np.abs(centres_A).max() < 30 - 15 + 4 + 4 * 2
    assert np.abs(free).max() > 28


def test_a_structure_without_an_inside_is_passed_over():
    large = make_table(make_lattice(20), structure="BALL")
    small = make_table(make_lattice(5), structure="SPECK")
    sampler = make_sampler(pd.concat([large, small]), min_border_distance_A=12.0)
    assert sampler.structures == ["BALL"]
    with pytest.raises(ValueError, match="none of 1 structures has an atom and 12 Å to the border"):
        make_sampler(small, min_border_distance_A=12.0)


def test_the_share_of_nucleic_acid_is_that_of_the_inscribed_sphere():
    lattice = make_lattice(30)
    atoms = make_table(lattice, kind=np.where(lattice[:, 0] > 0, "nucleic", "protein"))
    for low, high in [(0.9, 1.0), (0.0, 0.1), (0.4, 0.6)]:
        sampler = make_sampler(atoms, min_nucleic_share=low, max_nucleic_share=high)
        for index in range(50):
            centre_A = sampler.sample(1, index).centre_A
            inside = np.linalg.norm(lattice - centre_A, axis=1) <= 5
            assert low <= (lattice[inside, 0] > 0).mean() <= high


def test_structures_without_nucleic_acid_are_passed_over_where_some_is_asked_for():
    atoms = pd.concat([
        make_table(make_lattice(10), structure="DNA", kind="nucleic"),
        make_table(make_lattice(10), structure="PROT"),
    ])  # fmt: skip
    assert make_sampler(atoms, min_nucleic_share=0.5).structures == ["DNA"]
    none = {make_sampler(atoms, max_nucleic_share=0.0).sample(0, i).structure for i in range(20)}
    assert none == {"PROT"}


def test_atoms_of_low_occupancy_or_other_elements_are_left_out():
    atoms = make_table(make_lattice(5)).assign(
        element=lambda t: np.resize(["C", "Zn", "N"], len(t)),
        occupancy=lambda t: np.resize([1.0, 0.4], len(t)),
    )
    kept = CropFilters(min_occupancy=0.5, elements=("C", "ZN")).select_atoms(atoms)
    expected = (atoms.occupancy == 1) & atoms.element.isin(["C", "Zn"])
    assert kept.index.tolist() == atoms.index[expected].tolist()
    # An atom of the least occupancy is kept.
    assert len(CropFilters(min_occupancy=1.0).select_atoms(atoms)) == (atoms.occupancy == 1).sum()


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"elements": ("P",)}, "^none of 8 atoms has an element of P$"),
        ({"min_occupancy": 0.9, "elements": ("C",)},
         r"^none of 8 atoms has an occupancy of at least 0\.9 and an element of C$"),
        ({"min_nucleic_share": 0.2}, r"^none of 1 structures has an atom and a share of nucleic "
         r"acid from 0\.2 to 1$"),
    ],
)  # fmt: skip
def test_filters_that_leave_nothing_are_an_error(filters, problem):
    atoms = make_table(make_lattice(1.25), occupancy=0.5)
    with pytest.raises(ValueError, match=problem):
        make_sampler(atoms, **filters)


def test_a_minimum_above_the_maximum_is_an_error():
    with pytest.raises(ValueError, match=r"^min_nucleic_share 0\.5 is above max_nucleic_share 0"):
        CropFilters(min_nucleic_share=0.5, max_nucleic_share=0.4)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_filtered_samples_are_the_same_in_any_number_of_workers():
    lattice = make_lattice(15)
    atoms = make_table(lattice, kind=np.where(lattice[:, 0] > 0, "nucleic", "protein"))
    dataset = CropDataset(
        atoms, num_samples=12, seed=2, size_voxels=9, density="gaussian",
        filters=CropFilters(min_nucleic_share=0.3, min_border_distance_A=4.0),
    )  # fmt: skip
    one, four = (
        list(DataLoader(dataset, batch_size=3, num_workers=n, collate_fn=collate_crops))
        for n in (1, 4)
    )
    for mine, theirs in zip(one, four, strict=True):
        assert all((a == b).all() for a, b in zip(mine, theirs, strict=True))
