"""Recovered atoms, by hand; chance, in closed form."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist, pdist

from atompaint_vae.analysis import recovery
from atompaint_vae.analysis.recovery import (
    count_recovered,
    count_recovered_by_chance,
    draw_random_atoms,
    score_recovery,
)
from atompaint_vae.data.structures.regions import Atoms


def make_atoms(*rows):
    table = np.array(rows, dtype=float).reshape(-1, 4)
    return Atoms(table[:, :3], table[:, 3].astype(int))


def make_shell(num, radius_A, channel=0):
    """Atoms all around, outside a sphere."""
    directions = np.random.default_rng(0).normal(size=(num, 3))
    places_A = radius_A * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return Atoms(places_A, np.full(num, channel))


def test_counts_of_a_case_by_hand():
    hidden = make_atoms((0, 0, 0, 0), (3, 0, 0, 1), (0, 5, 0, 2))
    found = make_atoms(
        (0.5, 0, 0, 0),  # right
        (0, 0.9, 0, 0),  # near the same one, which is taken
        (3, 0.9, 0, 0),  # near another, of a wrong element
        (0, 3.9, 0, 2),  # 1.1 Å away
    )
    counts = count_recovered(found, hidden)
    assert counts == {"hidden": 3, "found": 4, "recovered": 2, "right_element": 1}
    (scores,) = score_recovery(pd.DataFrame([counts])).to_dict("records")
    assert scores == pytest.approx(
        {"recall": 2 / 3, "precision": 2 / 4, "element_recall": 1 / 3, "element_precision": 1 / 4}
    )


def test_without_found_atoms_there_is_no_precision():
    counts = count_recovered(make_atoms(), make_atoms((0, 0, 0, 0)))
    (scores,) = score_recovery(pd.DataFrame([counts])).to_dict("records")
    assert scores["recall"] == 0
    assert np.isnan(scores["precision"])


def test_random_atoms_are_where_there_is_room():
    rng = np.random.default_rng(1)
    wall = make_shell(60, 4.0)
    known = Atoms(np.vstack([wall.coords_A, [[0, 0, 2]]]), np.array([0] * 60 + [3]))
    drawn = [draw_random_atoms(rng, known, 4.0, 12) for _ in range(100)]
    places_A = np.vstack([x.coords_A for x in drawn])
    assert all(len(x.channels) == 12 for x in drawn)
    assert np.linalg.norm(places_A, axis=1).max() < 4
    assert cdist(places_A, known.coords_A).min() >= 1.15
    assert min(pdist(x.coords_A).min() for x in drawn) >= 1.15
    channels = np.concatenate([x.channels for x in drawn])
    assert (channels == 3).mean() == pytest.approx(1 / 61, abs=0.012)
    assert set(channels) == {0, 3}


def test_random_atoms_are_uniform_in_a_ball():
    rng = np.random.default_rng(2)
    far = make_shell(10, 50.0)
    places_A = np.vstack([draw_random_atoms(rng, far, 3.0, 1).coords_A for _ in range(4000)])
    # The radius to the third power is uniform.
    thirds = (np.linalg.norm(places_A, axis=1) / 3) ** 3
    assert np.histogram(thirds, bins=4, range=(0, 1))[0] == pytest.approx([1000] * 4, abs=110)
    assert places_A.mean(axis=0) == pytest.approx([0, 0, 0], abs=0.1)


def test_a_full_sphere_takes_no_more():
    assert len(draw_random_atoms(np.random.default_rng(0), make_shell(9, 0.5), 1.0, 5).channels) < 5


def test_chance_in_closed_form(monkeypatch):
    monkeypatch.setattr(recovery, "NUM_DRAWS", 2000)
    radius_A, side_A = 3.0, 12.0
    sphere_A3 = 4 / 3 * np.pi * radius_A**3
    num_known = round((side_A**3 - sphere_A3) / sphere_A3)  # one atom in each sphere's volume
    known = make_shell(num_known, 5.0, channel=1)
    known.channels[: num_known // 2] = 0
    counts = count_recovered_by_chance(
        make_atoms((0, 0, 0, 0)), known, radius_A=radius_A, side_A=side_A
    )
    assert (counts["hidden"], counts["found"]) == (1, 1)
    # The ball of 1 Å is a 27th of the sphere; half of the atoms have the right element.
    assert counts["recovered"] == pytest.approx(1 / 27, abs=0.013)
    assert counts["right_element"] == pytest.approx(1 / 27 / 2, abs=0.01)
    outside = Atoms(3 * known.coords_A, known.channels)  # of the cube
    nothing = count_recovered_by_chance(
        make_atoms((0, 0, 0, 0)), outside, radius_A=radius_A, side_A=side_A
    )
    assert nothing["found"] == 0


def test_density_is_that_outside_the_sphere():
    # 22 atoms in 9³ - 113 = 616 Å³ are 4.04 in the 113 Å³ of the sphere.
    counts = count_recovered_by_chance(
        make_atoms((0, 0, 0, 0)), make_shell(22, 4.2), radius_A=3.0, side_A=9.0
    )
    assert counts["found"] == 4
