"""Filters: the atoms that crops are made of, and the places where they are centred.

n: atoms
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import ndimage

BORDER_CELL_A = 4.0
MAX_BORDER_CELLS = 20_000_000


class FilterError(ValueError):
    """No atom, or no place for a crop, passes the filters."""


@dataclass(frozen=True)
class CropFilters:
    """Conditions for atoms and crops; with the defaults, everything passes.

    min_occupancy:         of an atom
    elements:              symbols of the atoms that are kept; all if empty
    min_nucleic_share:     fraction of nucleic-acid atoms in the sphere inscribed in a crop
    max_nucleic_share:     the same
    min_border_distance_A: from the outside of the structure to the atom that a crop is centred near
    """

    min_occupancy: float = 0.0
    elements: tuple[str, ...] = ()
    min_nucleic_share: float = 0.0
    max_nucleic_share: float = 1.0
    min_border_distance_A: float = 0.0

    def __post_init__(self):
        if self.min_nucleic_share > self.max_nucleic_share:
            raise ValueError(
                f"min_nucleic_share {self.min_nucleic_share:g} is above max_nucleic_share "
                f"{self.max_nucleic_share:g}"
            )

    @property
    def limits_nucleic_share(self) -> bool:
        return self.min_nucleic_share > 0 or self.max_nucleic_share < 1

    def select_atoms(self, atoms: pd.DataFrame) -> pd.DataFrame:
        """Return the atoms that pass.

        atoms: column element; occupancy, if min_occupancy is above 0
        """
        is_kept = np.ones(len(atoms), dtype=bool)
        if self.min_occupancy > 0:
            is_kept &= atoms["occupancy"].to_numpy() >= self.min_occupancy
        if self.elements:
            wanted = {symbol.upper() for symbol in self.elements}
            is_kept &= atoms["element"].astype(str).str.upper().isin(wanted).to_numpy()
        return atoms if is_kept.all() else atoms[is_kept]

    def find_places(
        self, coords_A: Float[np.ndarray, "n 3"], is_nucleic: Bool[np.ndarray, "n"]
    ) -> np.ndarray:
        """Return the indices of the atoms of a structure that crops may be centred near."""
        if self.min_nucleic_share > 0 and not is_nucleic.any():
            return np.empty(0, dtype=np.int64)
        if self.min_border_distance_A <= 0:
            return np.arange(len(coords_A))
        return np.flatnonzero(calc_border_distances(coords_A) >= self.min_border_distance_A)

    def accepts(self, is_nucleic: Bool[np.ndarray, "n"]) -> bool:
        """Return whether a crop of these atoms passes; one without atoms doesn't."""
        if not len(is_nucleic) or not self.limits_nucleic_share:
            return len(is_nucleic) > 0
        return bool(self.min_nucleic_share <= is_nucleic.mean() <= self.max_nucleic_share)

    def describe(self) -> str:
        """Describe the conditions for crops, for an error message."""
        parts = ["an atom"]
        if self.limits_nucleic_share:
            low, high = self.min_nucleic_share, self.max_nucleic_share
            parts.append(f"a share of nucleic acid from {low:g} to {high:g}")
        if self.min_border_distance_A > 0:
            parts.append(f"{self.min_border_distance_A:g} Å to the border of the structure")
        return " and ".join(parts)

    def describe_atoms(self) -> str:
        """Describe the conditions for atoms, for an error message."""
        parts = []
        if self.min_occupancy > 0:
            parts.append(f"an occupancy of at least {self.min_occupancy:g}")
        if self.elements:
            parts.append(f"an element of {' '.join(self.elements)}")
        return " and ".join(parts)


def calc_border_distances(coords_A: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Return the distance of each atom from the outside of its structure [Å], to about 4 Å.

    Space is divided into cells of 4 Å, and gaps of one cell between cells that hold atoms are
    closed. The outside is every cell that can be reached from far away; cavities are inside.
    """
    low_A = coords_A.min(axis=0)
    extent_A = (coords_A.max(axis=0) - low_A).astype(np.float64)
    # Atoms that are far apart would need too many cells of 4 Å for the memory.
    cell_A = max(BORDER_CELL_A, (float(np.prod(extent_A + 20)) / MAX_BORDER_CELLS) ** (1 / 3))
    cells = np.floor((coords_A - low_A) / cell_A).astype(np.int64) + 2
    is_filled = np.zeros(cells.max(axis=0) + 3, dtype=bool)
    is_filled[tuple(cells.T)] = True
    is_filled = ndimage.binary_closing(is_filled)
    labels, _ = ndimage.label(~is_filled)
    is_inside = labels != labels[0, 0, 0]
    # From the centre of the atom's cell to the face of the nearest cell outside.
    distances = (ndimage.distance_transform_edt(is_inside) - 0.5) * cell_A
    return distances[tuple(cells.T)]
