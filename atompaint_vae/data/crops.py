"""Structures to crops: the atoms of a randomly placed and rotated cube, in the cube's own frame.

Crop i is a pure function of (structures, seed, i). A generator seeded by (seed, i) chooses:

structure  with probability proportional to the root of its number of atoms. In proportion to the
           atoms themselves one ribosome would be a third of the starter set's training, and so
           it is a tenth; with equal chances its crops would be as rare as a peptide's.
centre     a random atom, displaced by 2 Å (standard deviation, each axis): more than a bond, so
           that the middle voxel isn't always filled. Accepted where the sphere inscribed in the
           cube holds enough atoms per nm³, so that images are filled with structure rather than
           with solvent; after 20 proposals the densest is taken.
rotation   uniform over SO(3).

n: atoms, m: atoms of a structure
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int64

from atompaint_vae.data.voxelize import find_channels

STRUCTURE_WEIGHT_POWER = 0.5
CENTRE_JITTER_A = 2.0
MAX_PROPOSALS = 20
# Cells of the grid in which atoms are looked up; crops of 21 to 35 Å take as long with 5 to 20 Å.
CELL_A = 10.0


class Crop(NamedTuple):
    """Atoms that may touch a cube: coords_i = rotation_ia (coords_a - centre_a)."""

    coords_A: Float32[np.ndarray, "n 3"]
    channels: Int64[np.ndarray, "n"]
    structure: str
    centre_A: Float[np.ndarray, "3"]
    rotation_ia: Float[np.ndarray, "3 3"]


class AtomGrid:
    """Atoms of one structure, sorted by the cell of a cubic grid that they lie in."""

    def __init__(self, coords_A: Float32[np.ndarray, "m 3"], channels: Int64[np.ndarray, "m"]):
        self.origin_A = coords_A.min(axis=0)
        cells = self._find_cells(coords_A)
        self.num_cells = cells.max(axis=0) + 1
        keys = self._calc_keys(*cells.T)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self.coords_A = np.ascontiguousarray(coords_A[order])
        self.channels = channels[order]

    def find_near(
        self, centre_A: Float[np.ndarray, "3"], reach_A: float | Float[np.ndarray, "3"]
    ) -> Int64[np.ndarray, "n"]:
        """Indices of the atoms of every cell that the box centre ± reach touches."""
        low = np.maximum(self._find_cells(centre_A - reach_A), 0)
        high = np.minimum(self._find_cells(centre_A + reach_A), self.num_cells - 1)
        if (low > high).any():
            return np.empty(0, dtype=np.int64)
        x, y = np.ogrid[low[0] : high[0] + 1, low[1] : high[1] + 1]
        # Cells along z, and so their atoms, follow each other.
        starts = self._keys.searchsorted(self._calc_keys(x, y, low[2]).ravel(), side="left")
        ends = self._keys.searchsorted(self._calc_keys(x, y, high[2]).ravel(), side="right")
        lengths = ends - starts
        num_before = lengths.cumsum() - lengths
        return np.arange(lengths.sum()) + np.repeat(starts - num_before, lengths)

    def _find_cells(self, coords_A: np.ndarray) -> np.ndarray:
        return np.floor((coords_A - self.origin_A) / CELL_A).astype(np.int64)

    def _calc_keys(self, x: np.ndarray, y: np.ndarray, z: np.ndarray | np.int64) -> np.ndarray:
        return (x * self.num_cells[1] + y) * self.num_cells[2] + z


class CropSampler:
    """Random crops of structures, reproducible one by one.

    atoms:       columns structure, element, x, y, z [Å]
    length_A:    side of the cube
    radius_A:    radius of the atoms: those that reach into the cube from outside are kept
    min_density_atoms_nm3: of the inscribed sphere, without hydrogen; of the starter set, 25 is
                 found nowhere in 6 % of the crops of 35 Å, and everywhere in those of 21 Å
    raises:      ValueError for a table without atoms, or with coordinates that aren't finite
    """

    def __init__(
        self,
        atoms: pd.DataFrame,
        *,
        length_A: float,
        radius_A: float,
        min_density_atoms_nm3: float,
    ):
        if not len(atoms):
            raise ValueError("no atoms to make crops of")
        self.length_A = length_A
        self.radius_A = radius_A
        self.min_density_atoms_nm3 = min_density_atoms_nm3

        coords_A = atoms[["x", "y", "z"]].to_numpy(dtype=np.float32)
        is_finite = np.isfinite(coords_A).all(axis=1)
        if not is_finite.all():
            structure = atoms["structure"].iloc[int(np.argmin(is_finite))]
            num_atoms = np.count_nonzero(~is_finite)
            raise ValueError(f"structure {structure}: {num_atoms} atoms without finite coordinates")
        channels = find_channels(atoms["element"])
        # Sorted by name, so that a sample doesn't depend on the order of the structures in a file.
        rows = atoms.groupby("structure", observed=True, sort=True).indices
        self.structures = sorted(rows)
        self._grids = [AtomGrid(coords_A[rows[s]], channels[rows[s]]) for s in self.structures]
        weights = np.array([len(rows[s]) for s in self.structures]) ** STRUCTURE_WEIGHT_POWER
        self._cumulative_weights = weights.cumsum() / weights.sum()

    def __repr__(self) -> str:
        return f"{len(self.structures)} structures -> crops of {self.length_A:g} Å"

    def sample(self, seed: int, index: int) -> Crop:
        """Crop number `index`, >= 0, of the endless sequence that the seed names."""
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        choice = np.searchsorted(self._cumulative_weights, rng.random(), side="right")
        grid = self._grids[choice]
        centre_A = self._sample_centre(grid, rng)
        rotation_ia = sample_rotation(rng)
        coords_A, channels = self._cut(grid, centre_A, rotation_ia)
        return Crop(coords_A, channels, self.structures[choice], centre_A, rotation_ia)

    def calc_density(self, grid: AtomGrid, centre_A: Float[np.ndarray, "3"]) -> float:
        """Atoms per nm³ of the sphere inscribed in a cube about the centre."""
        radius_A = self.length_A / 2
        near = grid.coords_A[grid.find_near(centre_A, radius_A)] - centre_A.astype(np.float32)
        num_atoms = np.count_nonzero(np.einsum("ni,ni->n", near, near) <= radius_A**2)
        return num_atoms / (4 / 3 * np.pi * (radius_A / 10) ** 3)

    def _sample_centre(self, grid: AtomGrid, rng: np.random.Generator) -> Float[np.ndarray, "3"]:
        best_A, best_density = None, -1.0
        for _ in range(MAX_PROPOSALS):
            atom_A = grid.coords_A[rng.integers(len(grid.coords_A))]
            centre_A = atom_A + rng.normal(scale=CENTRE_JITTER_A, size=3)
            density = self.calc_density(grid, centre_A)
            if density > best_density:
                best_A, best_density = centre_A, density
            if density >= self.min_density_atoms_nm3:
                break
        return best_A

    def _cut(
        self,
        grid: AtomGrid,
        centre_A: Float[np.ndarray, "3"],
        rotation_ia: Float[np.ndarray, "3 3"],
    ) -> tuple[Float32[np.ndarray, "n 3"], Int64[np.ndarray, "n"]]:
        reach_A = self.length_A / 2 + self.radius_A
        # The rotated cube's extent along the axes of the structure.
        extent_A = reach_A * np.abs(rotation_ia).sum(axis=0)
        near = grid.find_near(centre_A, extent_A)
        offsets_A = grid.coords_A[near] - centre_A.astype(np.float32)
        coords_A = offsets_A @ rotation_ia.T.astype(np.float32)
        touches = (np.abs(coords_A) < reach_A).all(axis=1)
        return coords_A[touches], grid.channels[near[touches]]


def sample_rotation(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Rotation matrix, uniform over SO(3).

    source: Shoemake 1992 (a uniform point of the unit sphere in 4D is a uniform rotation)
    """
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
