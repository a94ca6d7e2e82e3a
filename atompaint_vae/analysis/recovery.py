"""Hidden atoms of a region found again, beside what chance finds.

The baseline knows the density and the composition of the surroundings, and where there is room.
"""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from ..data.structures.regions import Atoms
from .geometry import MIN_BOND_A
from .matching import match_atoms

NUM_DRAWS = 200
"""Of the baseline: the standard error of its recall is then a fourteenth of one draw's."""

NUM_CANDIDATES = 30
"""Points for each atom, from which those that have room are taken."""

RECOVERED = {
    "recall": ("recovered", "hidden"),
    "precision": ("recovered", "found"),
    "element_recall": ("right_element", "hidden"),
    "element_precision": ("right_element", "found"),
}
"""Ratios of the counts of `count_recovered`."""


def count_recovered(found: Atoms, hidden: Atoms) -> dict[str, float]:
    """
    Count the hidden atoms that were found; the counts of several proposals can be added.

    returns: hidden, found; recovered: pairs of a hidden and a found atom within 1 Å, no atom in two
             pairs; right_element: pairs of atoms of the same channel
    """
    blind = [np.zeros_like(x.channels) for x in (found, hidden)]
    pairs = match_atoms(found.coords_A, blind[0], hidden.coords_A, blind[1])
    alike = match_atoms(found.coords_A, found.channels, hidden.coords_A, hidden.channels)
    return {
        "hidden": float(len(hidden.channels)),
        "found": float(len(found.channels)),
        "recovered": float(len(pairs.found)),
        "right_element": float(len(alike.found)),
    }


def count_recovered_by_chance(
    hidden: Atoms, known: Atoms, *, radius_A: float, side_A: float, seed: int = 0
) -> dict[str, float]:
    """
    Return the mean counts of random atoms, as `count_recovered`.

    known:    atoms outside the sphere; those in the cube have the random atoms' density and
              composition
    radius_A: of the sphere at the origin where atoms are hidden
    side_A:   of a cube around it
    """
    rng = np.random.default_rng(seed)
    is_near = (abs(known.coords_A) < side_A / 2).all(axis=1)
    sphere_A3 = 4 / 3 * np.pi * radius_A**3
    num_atoms = round(is_near.sum() * sphere_A3 / (side_A**3 - sphere_A3))
    draws = [draw_random_atoms(rng, known, radius_A, num_atoms) for _ in range(NUM_DRAWS)]
    return pd.DataFrame([count_recovered(x, hidden) for x in draws]).mean().to_dict()


def draw_random_atoms(
    rng: np.random.Generator, known: Atoms, radius_A: float, num_atoms: int
) -> Atoms:
    """
    Return random atoms in a sphere at the origin, at least 1.15 Å from known ones and each other.

    known:   whose elements are drawn from
    returns: fewer atoms than asked for where there is no room
    """
    directions = rng.normal(size=(NUM_CANDIDATES * num_atoms, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    places_A = radius_A * rng.random((len(directions), 1)) ** (1 / 3) * directions
    if len(known.channels):
        places_A = places_A[cKDTree(known.coords_A).query(places_A)[0] >= MIN_BOND_A]
    chosen_A = np.empty((0, 3))
    for place_A in places_A:
        if len(chosen_A) == num_atoms:
            break
        if (((chosen_A - place_A) ** 2).sum(axis=1) >= MIN_BOND_A**2).all():
            chosen_A = np.vstack([chosen_A, place_A])
    channels = known.channels if len(known.channels) else np.zeros(1, dtype=np.int64)
    return Atoms(chosen_A, rng.choice(channels, len(chosen_A)))


def score_recovery(counts: pd.DataFrame) -> pd.DataFrame:
    """Return recall and precision of each row of counts; NaN where a divisor is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame({
            name: counts[recovered] / counts[of] for name, (recovered, of) in RECOVERED.items()
        })  # fmt: skip
