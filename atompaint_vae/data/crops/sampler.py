"""Structures to crops: the atoms in a randomly placed and rotated cube, in the cube's frame.

Crop i is a pure function of (structures, seed, i). A generator seeded by (seed, i) chooses:

structure  with probability proportional to the square root of its number of atoms. One ribosome
           makes up a tenth of the starter set's training crops; in proportion to the atoms it
           would be a third, and with equal probabilities as rare as a peptide.
centre     a random atom, displaced by 2 Å (standard deviation, each axis): more than a bond, so
           that the middle voxel isn't always filled. A centre is accepted if the sphere inscribed
           in the cube holds enough atoms per nm³, so that images show structure rather than
           solvent; after 20 proposals the densest is taken. In a database of zones, the centre is
           a uniform point of a uniformly chosen zone.
rotation   uniform over SO(3).

n: atoms, m: atoms of a structure
"""

from collections import OrderedDict
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int64
from scipy.spatial.transform import Rotation

from atompaint_vae.data.crops.filters import CropFilters, FilterError
from atompaint_vae.data.crops.voxelize import find_channels
from atompaint_vae.data.sets.macromol_db import NUM_CACHED, ZoneDatabase

ATOM_COLUMNS = ("structure", "element", "x", "y", "z")
STRUCTURE_WEIGHT_POWER = 0.5
CENTRE_JITTER_A = 2.0
MAX_PROPOSALS = 20
MAX_STRUCTURES = 100  # to try for one crop, where the filters leave few places
# Side of the cells in which atoms are looked up; for crops of 21 to 35 Å, 5 to 20 Å are as fast.
CELL_A = 10.0


class Crop(NamedTuple):
    """Atoms that may touch a cube: coords_i = rotation_ia (coords_a - centre_a)."""

    coords_A: Float32[np.ndarray, "n 3"]
    channels: Int64[np.ndarray, "n"]
    structure: str
    centre_A: Float[np.ndarray, "3"]
    rotation_ia: Float[np.ndarray, "3 3"]


class AtomGrid:
    """Atoms of one structure, sorted by the cells of a cubic grid."""

    def __init__(self, coords_A: Float32[np.ndarray, "m 3"], channels: Int64[np.ndarray, "m"]):
        self.origin_A = coords_A.min(axis=0)
        cells = self._find_cells(coords_A)
        self.num_cells = cells.max(axis=0) + 1
        keys = self._calc_keys(*cells.T)
        self.order = np.argsort(keys, kind="stable")
        self._keys = keys[self.order]
        self.coords_A = np.ascontiguousarray(coords_A[self.order])
        self.channels = channels[self.order]

    def find_near(
        self, centre_A: Float[np.ndarray, "3"], reach_A: float | Float[np.ndarray, "3"]
    ) -> Int64[np.ndarray, "n"]:
        """Return the indices of the atoms in all cells that the box centre ± reach touches."""
        corners = self._find_cells(np.stack([centre_A - reach_A, centre_A + reach_A]))
        if (corners[0] >= self.num_cells).any() or (corners[1] < 0).any():
            return np.empty(0, dtype=np.int64)
        low, high = np.minimum(np.maximum(corners, 0), self.num_cells - 1)
        x, y = np.arange(low[0], high[0] + 1)[:, None], np.arange(low[1], high[1] + 1)
        # Cells along z, and therefore their atoms, are contiguous.
        z = np.array([low[2], high[2] + 1])[:, None, None]
        starts, ends = self._keys.searchsorted(self._calc_keys(x, y, z).reshape(2, -1))
        lengths = ends - starts
        num_before = lengths.cumsum() - lengths
        return np.arange(lengths.sum()) + np.repeat(starts - num_before, lengths)

    def _find_cells(self, coords_A: np.ndarray) -> np.ndarray:
        return np.floor((coords_A - self.origin_A) / CELL_A).astype(np.int64)

    def _calc_keys(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return (x * self.num_cells[1] + y) * self.num_cells[2] + z


def check_atoms(atoms: object) -> None:
    """Check that crops can be made of these; raises: ValueError if not, or without a column."""
    if isinstance(atoms, ZoneDatabase):
        return
    if not isinstance(atoms, pd.DataFrame):
        raise ValueError(
            f"atoms: expected a table or a database of zones, got a {type(atoms).__name__}; "
            "concatenate_atoms makes one table of several"
        )
    if missing := [name for name in ATOM_COLUMNS if name not in atoms]:
        raise ValueError(f"atoms: no column {', '.join(missing)}; there: {', '.join(atoms)}")


class Structure(NamedTuple):
    """A structure that crops are cut from; arrays are in the order of the grid's atoms."""

    grid: AtomGrid | None  # None without atoms
    is_nucleic: Bool[np.ndarray, "m"]
    places: Int64[np.ndarray, "k"]  # atoms that crops may be centred near


def index_atoms(atoms: pd.DataFrame, filters: CropFilters) -> Structure:
    """Prepare the atoms of one structure, those that the filters keep, to be cut.

    raises: ValueError for coordinates that aren't finite
    """
    if not len(atoms):
        return Structure(None, np.empty(0, dtype=bool), np.empty(0, dtype=np.int64))
    coords_A = atoms[["x", "y", "z"]].to_numpy(dtype=np.float32)
    is_finite = np.isfinite(coords_A).all(axis=1)
    if not is_finite.all():
        structure = atoms["structure"].iloc[int(np.argmin(is_finite))]
        num_atoms = np.count_nonzero(~is_finite)
        raise ValueError(f"structure {structure}: {num_atoms} atoms without finite coordinates")
    grid = AtomGrid(coords_A, find_channels(atoms["element"]))
    if filters.limits_nucleic_share:
        is_nucleic = (atoms["kind"] == "nucleic").to_numpy()[grid.order]
    else:
        is_nucleic = np.zeros(len(atoms), dtype=bool)
    return Structure(grid, is_nucleic, filters.find_places(grid.coords_A, is_nucleic))


class CropSource(Protocol):
    """What crops are sampled from, one choice at a time.

    structures:            name of the structure that each choice belongs to
    min_density_atoms_nm3: of the inscribed sphere; a denser centre is looked for below it
    """

    structures: list[str]
    min_density_atoms_nm3: float

    def choose(self, rng: np.random.Generator) -> int:
        """Choose what to take a crop from, a structure or a zone."""

    def load_structure(self, choice: int) -> Structure:
        """Return the structure that a choice belongs to."""

    def propose_centre(
        self, choice: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "3"]:
        """Sample a point to centre a crop at; called only for structures that have places."""


class StructureSource:
    """Structures of a table of atoms: a structure is chosen, then a point near one of its atoms.

    raises: ValueError, FilterError as `CropSampler`
    """

    def __init__(self, atoms: pd.DataFrame, filters: CropFilters, min_density_atoms_nm3: float):
        if not len(atoms):
            raise ValueError("no atoms to make crops of")
        self.min_density_atoms_nm3 = min_density_atoms_nm3
        num_atoms = len(atoms)
        atoms = filters.select_atoms(atoms)
        if not len(atoms):
            raise FilterError(f"none of {num_atoms} atoms has {filters.describe_atoms()}")
        # Sorted by name, so that a sample doesn't depend on the order of the structures in a file.
        rows = atoms.groupby("structure", observed=True, sort=True).indices
        found = {name: index_atoms(atoms.iloc[rows[name]], filters) for name in sorted(rows)}
        found = {name: structure for name, structure in found.items() if len(structure.places)}
        if not found:
            raise FilterError(f"none of {len(rows)} structures has {filters.describe()}")
        self.structures = list(found)
        self._structures = list(found.values())
        sizes = np.array([len(structure.grid.coords_A) for structure in self._structures])
        weights = sizes**STRUCTURE_WEIGHT_POWER
        self._cumulative_weights = weights.cumsum() / weights.sum()

    def __repr__(self) -> str:
        return f"{len(self.structures)} structures"

    def choose(self, rng: np.random.Generator) -> int:
        return int(np.searchsorted(self._cumulative_weights, rng.random(), side="right"))

    def load_structure(self, choice: int) -> Structure:
        return self._structures[choice]

    def propose_centre(
        self, choice: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "3"]:
        grid, _, places = self._structures[choice]
        atom_A = grid.coords_A[places[rng.integers(len(places))]]
        return atom_A + rng.normal(scale=CENTRE_JITTER_A, size=3)


class ZoneSource:
    """Zones of a database: a zone is chosen, then a point in it, whatever the density there.

    The structures that were used last stay in memory.
    """

    min_density_atoms_nm3 = 0.0

    def __init__(self, zones: ZoneDatabase, filters: CropFilters):
        self.zones = zones
        self.filters = filters
        self.structures = zones.structures
        self._cache: OrderedDict[int, Structure] = OrderedDict()

    def __repr__(self) -> str:
        return repr(self.zones)

    def choose(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.zones)))

    def load_structure(self, choice: int) -> Structure:
        key = int(self.zones.assembly_ids[choice])
        if key not in self._cache:
            while len(self._cache) >= NUM_CACHED:
                self._cache.popitem(last=False)
            atoms = self.filters.select_atoms(self.zones.load_atoms(choice))
            self._cache[key] = index_atoms(atoms, self.filters)
        self._cache.move_to_end(key)
        return self._cache[key]

    def propose_centre(
        self, choice: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "3"]:
        return self.zones.sample_centre(choice, rng)


class CropSampler:
    """Random crops of structures, reproducible one by one.

    atoms:       columns structure, element, x, y, z [Å]; occupancy and residue if filters ask for
                 them; or a database of zones
    length_A:    side of the cube
    radius_A:    of the atoms: those that reach into the cube from outside are included
    min_density_atoms_nm3: of the inscribed sphere, without hydrogen; in the starter set, 6 % of
                 the crops of 35 Å and none of those of 21 Å stay below 25; ignored for zones
    raises:      ValueError as `check_atoms`; for a table without atoms, or with coordinates that
                 aren't finite; FilterError if the filters leave no place for a crop
    """

    def __init__(
        self,
        atoms: pd.DataFrame | ZoneDatabase,
        *,
        length_A: float,
        radius_A: float,
        min_density_atoms_nm3: float,
        filters: CropFilters = CropFilters(),  # noqa: B008 (frozen)
    ):
        check_atoms(atoms)
        self.length_A = length_A
        self.radius_A = radius_A
        self.filters = filters
        self.source: CropSource = (
            ZoneSource(atoms, filters)
            if isinstance(atoms, ZoneDatabase)
            else StructureSource(atoms, filters, min_density_atoms_nm3)
        )
        self.structures = self.source.structures
        self.sample(0, 0)  # if it can't be sampled, fail now

    def __repr__(self) -> str:
        return f"{self.source} -> crops of {self.length_A:g} Å"

    def sample(self, seed: int, index: int) -> Crop:
        """Return crop number `index`, >= 0, of the endless sequence of a seed.

        raises: FilterError if the filters leave no place in any of many structures
        """
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        for _ in range(MAX_STRUCTURES):
            choice = self.source.choose(rng)
            structure = self.source.load_structure(choice)
            centre_A = self._sample_centre(choice, structure, rng)
            if centre_A is not None:
                break
        else:
            raise FilterError(
                f"no crop of {self.length_A:g} Å with {self.filters.describe()} was found in "
                f"{MAX_STRUCTURES} structures or zones chosen at random"
            )
        rotation_ia = sample_rotation(rng)
        coords_A, channels = self._cut(structure.grid, centre_A, rotation_ia)
        return Crop(coords_A, channels, self.structures[choice], centre_A, rotation_ia)

    def calc_density(self, grid: AtomGrid, centre_A: Float[np.ndarray, "3"]) -> float:
        """Return the atoms per nm³ of the sphere inscribed in a cube about the centre."""
        return self._convert_to_density(len(self._find_inside(grid, centre_A)))

    def _sample_centre(
        self, choice: int, structure: Structure, rng: np.random.Generator
    ) -> Float[np.ndarray, "3"] | None:
        """Sample a centre that the filters accept; None if none of the proposals is."""
        best_A, best_density = None, -1.0
        if not len(structure.places):
            return None
        for _ in range(MAX_PROPOSALS):
            centre_A = self.source.propose_centre(choice, rng)
            inside = self._find_inside(structure.grid, centre_A)
            if not self.filters.accepts(structure.is_nucleic[inside]):
                continue
            density = self._convert_to_density(len(inside))
            if density > best_density:
                best_A, best_density = centre_A, density
            if density >= self.source.min_density_atoms_nm3:
                break
        return best_A

    def _find_inside(
        self, grid: AtomGrid, centre_A: Float[np.ndarray, "3"]
    ) -> Int64[np.ndarray, "n"]:
        """Return the indices of the atoms in the sphere inscribed in a cube about the centre."""
        radius_A = self.length_A / 2
        near = grid.find_near(centre_A, radius_A)
        offsets_A = grid.coords_A.take(near, axis=0) - centre_A.astype(np.float32)
        return near[np.einsum("ni,ni->n", offsets_A, offsets_A) <= radius_A**2]

    def _convert_to_density(self, num_atoms: int) -> float:
        return num_atoms / (4 / 3 * np.pi * (self.length_A / 20) ** 3)

    def _cut(
        self,
        grid: AtomGrid,
        centre_A: Float[np.ndarray, "3"],
        rotation_ia: Float[np.ndarray, "3 3"],
    ) -> tuple[Float32[np.ndarray, "n 3"], Int64[np.ndarray, "n"]]:
        reach_A = self.length_A / 2 + self.radius_A
        # Half the rotated cube's extent along the axes of the structure.
        extent_A = reach_A * np.abs(rotation_ia).sum(axis=0)
        near = grid.find_near(centre_A, extent_A)
        offsets_A = grid.coords_A.take(near, axis=0) - centre_A.astype(np.float32)
        coords_A = offsets_A @ rotation_ia.T.astype(np.float32)
        x, y, z = (np.abs(coords_A) < reach_A).T
        touches = np.flatnonzero(x & y & z)
        return coords_A.take(touches, axis=0), grid.channels.take(near.take(touches))


def sample_rotation(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Return a rotation matrix, uniform over SO(3).

    source: Shoemake 1992 (a uniform point of the unit sphere in 4D is a uniform rotation)
    """
    return Rotation.from_quat(rng.normal(size=4), scalar_first=True).as_matrix()
