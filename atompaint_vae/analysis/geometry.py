"""Geometry of the atoms of images: distances between neighbours.

No atom is deleted beforehand: two atoms at one place clash.

n: atoms, m: counted atoms, k: bonds, c: channels, x: voxels along an axis
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance
from torch import Tensor

from ..data.crops.voxelize import CHANNELS
from .intervals import calc_share_interval
from .peaks import find_atoms

MIN_BOND_A = 1.15
MAX_BOND_A = 1.75
MAX_LENGTH_A = 2.1
"""Limit of measured bond lengths: longer than S-C (1.8 Å) and S-S (2.05 Å), shorter than the
distance between two neighbours of an atom (from 2.1 Å). The same for all elements, so that a C-C
bond of 1.9 Å is measured, and not left out as too long."""
MIN_BONDS = 30
MARGIN_A = 2.0
"""Atoms this far inside an image have their neighbours inside as well."""

PAIRS = tuple(combinations_with_replacement(CHANNELS, 2))


@dataclass(frozen=True, eq=False)
class Geometry:
    """Distances between neighbours, of the counted atoms of one or more images.

    nearest_A:      from each counted atom to its nearest neighbour; infinite if there is none
    coordination:   neighbours of each counted atom within 1.75 Å, clashing ones too
    bond_lengths_A: by the two elements, in the order of CHANNELS: distances of 1.15 to 2.1 Å; a
                    bond counts once, if at least one of its atoms counts
    """

    nearest_A: Float[np.ndarray, " m"]
    coordination: Int[np.ndarray, " m"]
    bond_lengths_A: Mapping[tuple[str, str], Float[np.ndarray, " k"]]

    @property
    def num_atoms(self) -> int:
        """The number of counted atoms."""
        return len(self.nearest_A)

    @property
    def num_clashing(self) -> int:
        """The number of atoms whose nearest neighbour is nearer than 1.15 Å."""
        return int((self.nearest_A < MIN_BOND_A).sum())

    @property
    def num_isolated(self) -> int:
        """The number of atoms whose nearest neighbour is farther away than 1.75 Å.

        In real structures, about 1 %: ions, metals, and atoms bonded to S alone, such as the last
        carbon of methionine.
        """
        return int((self.nearest_A > MAX_BOND_A).sum())

    @property
    def num_bonded(self) -> int:
        """The number of atoms whose nearest neighbour is 1.15 to 1.75 Å away."""
        return self.num_atoms - self.num_clashing - self.num_isolated

    @property
    def clashing(self) -> float:
        """The share of clashing atoms; NaN without atoms, as the other averages."""
        return self.num_clashing / self.num_atoms if self.num_atoms else np.nan

    @property
    def isolated(self) -> float:
        """The share of isolated atoms."""
        return self.num_isolated / self.num_atoms if self.num_atoms else np.nan

    @property
    def bonded(self) -> float:
        """The share of bonded atoms."""
        return self.num_bonded / self.num_atoms if self.num_atoms else np.nan

    @property
    def median_nearest_A(self) -> float:
        """The median distance to the nearest neighbour."""
        return float(np.median(self.nearest_A)) if self.num_atoms else np.nan

    @property
    def mean_coordination(self) -> float:
        """The mean number of neighbours within 1.75 Å."""
        return float(np.mean(self.coordination)) if self.num_atoms else np.nan

    def score_against(self, reference: "Geometry") -> dict[tuple[str, str], float]:
        """Compare bond lengths: Wasserstein-1 distance [Å] for each pair of elements.

        returns: pairs of which both have at least 30 bonds; with that few, two halves of one sample
                 of real bonds are about 0.015 Å apart
        """
        scores = {}
        for pair in PAIRS:
            lengths_A = self.bond_lengths_A[pair], reference.bond_lengths_A[pair]
            if min(map(len, lengths_A)) >= MIN_BONDS:
                scores[pair] = float(wasserstein_distance(*lengths_A))
        return scores


def calc_geometry(
    coords_A: Float[np.ndarray, "n 3"],
    channels: Int[np.ndarray, " n"],
    is_counted: Bool[np.ndarray, " n"],
) -> Geometry:
    """Calculate the geometry of the counted atoms of an image; their neighbours may be any atoms.

    channels: indices of CHANNELS
    """
    tree = cKDTree(coords_A)
    # The atom itself comes first; of atoms at one place, either does, at the same distance.
    nearest_A = tree.query(coords_A, k=[2])[0][:, 0]
    atoms = tree.query_pairs(MAX_LENGTH_A, output_type="ndarray")
    lengths_A = np.linalg.norm(coords_A[atoms[:, 0]] - coords_A[atoms[:, 1]], axis=1)

    near = atoms[lengths_A <= MAX_BOND_A]
    coordination = np.bincount(near.ravel(), minlength=len(coords_A))

    is_bond = (lengths_A >= MIN_BOND_A) & is_counted[atoms].any(axis=1)
    ends, lengths_A = np.sort(channels[atoms[is_bond]], axis=1), lengths_A[is_bond]
    bonds_A = {
        (CHANNELS[i], CHANNELS[j]): lengths_A[(ends == (i, j)).all(axis=1)]
        for i, j in combinations_with_replacement(range(len(CHANNELS)), 2)
    }
    return Geometry(nearest_A[is_counted], coordination[is_counted], bonds_A)


def find_geometry(
    image: Float[Tensor, "c x x x"], *, resolution_A: float, radius_A: float
) -> Geometry:
    """Find the atoms of an image, and calculate the geometry of those in its interior."""
    found = find_atoms(image, resolution_A=resolution_A, radius_A=radius_A)
    coords_A, channels = found.coords_A.cpu().numpy(), found.channels.cpu().numpy()
    is_counted = find_interior(coords_A, image.shape[-1] * resolution_A)
    return calc_geometry(coords_A, channels, is_counted)


def calc_bonded_interval(
    geometries: Sequence[Geometry], groups: Sequence[str]
) -> tuple[float, float]:
    """Return the 95 % interval of the share of bonded atoms, see `calc_share_interval`.

    groups: of the images
    """
    num_bonded, num_atoms = (
        np.array([getattr(x, name) for x in geometries]) for name in ("num_bonded", "num_atoms")
    )
    return calc_share_interval(num_bonded, groups, num_atoms)


def pool_geometries(geometries: Iterable[Geometry]) -> Geometry:
    """Return the geometry of all images together.

    raises: ValueError if there is no image
    """
    parts = list(geometries)
    if not parts:
        raise ValueError("no geometries to pool")
    return Geometry(
        np.concatenate([x.nearest_A for x in parts]),
        np.concatenate([x.coordination for x in parts]),
        {pair: np.concatenate([x.bond_lengths_A[pair] for x in parts]) for pair in PAIRS},
    )


def find_interior(
    coords_A: Float[np.ndarray, "n 3"], side_A: float, margin_A: float = MARGIN_A
) -> Bool[np.ndarray, " n"]:
    """Find the atoms at least a margin inside a cube, whose neighbours are then inside as well.

    coords_A: from the centre of the cube
    """
    return (np.abs(coords_A) <= side_A / 2 - margin_A).all(axis=1)
