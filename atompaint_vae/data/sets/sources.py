"""Sources of structures, as `data.source` of the hyperparameters names them; their splits.

    starter          the set that comes with this package
    path/set.parquet a set that `atompaint-vae data build` wrote
    path/set.sqlite  a database of macromol_gym_unsupervised, recognised by its content
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import pandas as pd

from atompaint_vae.data import STARTER
from atompaint_vae.data.sets.macromol_db import ZoneDatabase, is_database
from atompaint_vae.data.structures.formats import StructureError, describe_error
from atompaint_vae.data.structures.table import load_atoms

SPLITS = ("train", "validation", "test")


class StructureCountError(ValueError):
    """A number of structures was requested that the source doesn't have."""


def find_atoms_path(source: str | Path) -> Path:
    """Return the file of atoms that a source names; "starter" is the bundled one."""
    if source == STARTER:
        return Path(str(files("atompaint_vae.data"))) / "starter" / "atoms.parquet"
    return Path(source)


def name_structures_path(atoms_path: Path) -> Path:
    """Return the path of the table of a set's structures and splits, beside its atoms."""
    return atoms_path.with_name(f"{atoms_path.stem}.structures.csv")


def find_structures_path(atoms_path: Path) -> Path:
    """Find the table of a set's structures and splits: set.structures.csv beside set.parquet, or
    structures.csv if only that exists."""
    own = name_structures_path(atoms_path)
    shared = atoms_path.with_name("structures.csv")
    return shared if shared.exists() and not own.exists() else own


def load_structures(atoms_path: Path) -> pd.DataFrame:
    """Load the table of a set's structures, with all values as text.

    raises: ValueError if it is missing or lacks the columns pdb_id and split
    """
    path = find_structures_path(atoms_path)
    try:
        # Otherwise the PDB id 1E10 would be read as a number, and NA as missing.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it lists the split of each structure") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: {describe_error(error)}") from error
    for column in ("pdb_id", "split"):
        if column not in table:
            raise ValueError(f"{path}: no column {column!r}")
    return table


def load_split(source: str | Path, split: str) -> pd.DataFrame:
    """Load the atoms of the structures of one split.

    source:  "starter", or a Parquet file of atoms with the table of its structures beside it
    split:   "train", "validation" or "test"
    raises:  ValueError if the split is unknown or empty, or the table is missing
    """
    _check_split(split)
    atoms_path = find_atoms_path(source)
    atoms = load_atoms(atoms_path)
    structures = load_structures(atoms_path)
    chosen = atoms["structure"].isin(structures.loc[structures["split"] == split, "pdb_id"])
    if not chosen.any():
        path = find_structures_path(atoms_path)
        raise ValueError(f"{path}: no structure of {atoms_path.name} in split {split!r}")
    atoms = atoms[chosen].reset_index(drop=True)
    atoms["structure"] = atoms["structure"].cat.remove_unused_categories()
    return atoms


def open_split(
    source: str | Path, split: str, *, num_structures: int | None = None
) -> pd.DataFrame | ZoneDatabase:
    """Open one split for `CropDataset`: atoms as `load_split`, or the zones of a database.

    num_structures: take only so many structures of a set; a smaller number is a subset of a larger
    raises:         ValueError as `load_split`; StructureCountError if there are too few structures,
                    or the source is a database
    """
    _check_split(split)
    path = find_atoms_path(source)
    if is_database(path):
        if num_structures:
            raise StructureCountError("structures can't be chosen from a database of zones")
        return ZoneDatabase(path, split)
    atoms = load_split(source, split)
    return choose_structures(atoms, num_structures) if num_structures else atoms


def choose_structures(atoms: pd.DataFrame, num_structures: int) -> pd.DataFrame:
    """Select the atoms of some structures, chosen by a hash of their names.

    raises: StructureCountError if there are too few
    """
    names = atoms["structure"].cat.categories
    if num_structures > len(names):
        raise StructureCountError(
            f"{num_structures} structures asked for, but there are {len(names)}"
        )
    chosen = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    atoms = atoms[atoms["structure"].isin(chosen[:num_structures])].reset_index(drop=True)
    atoms["structure"] = atoms["structure"].cat.remove_unused_categories()
    return atoms


def calc_source_hash(source: str | Path) -> str:
    """Return the sha256 of the files that determine the crops of a source."""
    path = find_atoms_path(source)
    digest = hashlib.sha256()
    paths = [path]
    if not is_database(path):
        paths.append(find_structures_path(path))
    for each in paths:
        try:
            with each.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise StructureError(f"{each}: {describe_error(error)}") from error
    return digest.hexdigest()


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
