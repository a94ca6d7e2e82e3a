"""Databases of macromol_gym_unsupervised: structures in SQLite, with zones to make crops in.

A zone is a cube in a structure; crops are centred anywhere in a zone. The database defines the
zones, and the split of each structure. It may be larger than the memory: a structure is read when a
crop of it is needed.

source: macromol_gym_unsupervised 0.3 (database_io.py)
"""

from __future__ import annotations

import io
import json
import sqlite3
from pathlib import Path
from urllib.request import pathname2url

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from atompaint_vae.data.structures.chains import classify_names
from atompaint_vae.data.structures.formats import StructureError, describe_error

MAGIC = b"SQLite format 3\x00"
# The names of splits in databases, by our names.
SPLIT_NAMES = {
    "train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",),
}  # fmt: skip
NUM_CACHED = 64  # structures per process; with 5,000 atoms each, about 10 MB
COLUMNS = ("element", "x", "y", "z")


class EmptySplitError(StructureError):
    """A database that has no zones in a split."""


def is_database(path: Path) -> bool:
    """Return whether a file exists and is an SQLite database."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class ZoneDatabase:
    """Zones of one split, sorted by id.

    raises: StructureError if the file isn't such a database; EmptySplitError if it has no zones in
            that split
    """

    def __init__(self, path: Path, split: str):
        self.path, self.split = Path(path), split
        names = SPLIT_NAMES[split]
        marks = ", ".join("?" * len(names))
        rows = self._select(
            f"""SELECT zone.id, zone.assembly_id, zone.center_A, structure.pdb_id
                FROM zone
                JOIN assembly ON assembly.id = zone.assembly_id
                JOIN structure ON structure.id = assembly.struct_id
                JOIN split ON split.id = structure.split_id
                WHERE split.name IN ({marks}) ORDER BY zone.id""",
            names,
        )
        if not rows:
            raise EmptySplitError(f"{path}: no zones in split {split!r}")
        self.assembly_ids = np.array([row[1] for row in rows])
        self.centres_A = np.stack([self._decode(np.load, row[2]) for row in rows]).astype(float)
        self.structures = [row[3] for row in rows]
        self.zone_size_A = self._load_zone_size()

    def __len__(self) -> int:
        return len(self.assembly_ids)

    def __repr__(self) -> str:
        return f"{len(self)} zones of {len(set(self.structures))} structures"

    def load_atoms(self, zone: int) -> pd.DataFrame:
        """Load the atoms of a zone's structure: element, x, y, z [Å], occupancy, residue and kind.

        Where the database doesn't know them, occupancy is 1 and residue is ''. A residue's kind is
        that of its name.

        raises: StructureError if the database holds something else
        """
        assembly_id = int(self.assembly_ids[zone])
        rows = self._select("SELECT atoms FROM assembly WHERE id = ?", (assembly_id,))
        atoms = self._decode(lambda blob: pq.read_table(blob).to_pandas(), rows[0][0])
        missing = [name for name in COLUMNS if name not in atoms]
        if missing:
            raise StructureError(f"{self.path}: atoms have no column {', '.join(missing)}")
        atoms = atoms.rename(columns={"comp_id": "residue"})
        if "occupancy" not in atoms:
            atoms["occupancy"] = 1.0
        if "residue" not in atoms:
            atoms["residue"] = ""
        atoms["kind"] = classify_names(atoms.residue).kind
        return atoms.assign(structure=self.structures[zone])

    def sample_centre(self, zone: int, rng: np.random.Generator) -> Float[np.ndarray, "3"]:
        """Sample a uniform point of a zone."""
        return self.centres_A[zone] + rng.uniform(-0.5, 0.5, 3) * self.zone_size_A

    def _load_zone_size(self) -> float:
        query = "SELECT value, encoding FROM metadata WHERE key = 'zone_size_A'"
        rows = self._select(query, ())
        if not rows:
            raise StructureError(f"{self.path}: no zone_size_A in the metadata")
        value, encoding = rows[0]
        return float(json.loads(value) if encoding == "json" else value)

    def _select(self, query: str, values: tuple) -> list[tuple]:
        # A new connection each time takes less than a millisecond, and is safe in forked workers.
        uri = f"file:{pathname2url(str(self.path.absolute()))}?mode=ro"
        try:
            connection = sqlite3.connect(uri, uri=True)
            try:
                return connection.execute(query, values).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StructureError(
                f"{self.path}: not a database of macromol_gym_unsupervised: {error}"
            ) from error

    def _decode(self, load, blob: bytes):
        try:
            return load(io.BytesIO(blob))
        except (ValueError, TypeError, EOFError, OSError, pa.ArrowException) as error:
            raise StructureError(f"{self.path}: {describe_error(error)}") from error
