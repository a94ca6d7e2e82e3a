"""Structure file -> atoms: a table of heavy atoms, and the compact Parquet file that holds it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from atompaint_vae.data.structures.assembly import build_assembly
from atompaint_vae.data.structures.chains import classify_names
from atompaint_vae.data.structures.formats import (
    StructureError,
    describe_error,
    name_structure,
    read_lines,
)
from atompaint_vae.data.structures.lines import Atoms, Texts
from atompaint_vae.data.structures.selection import ALTLOCS, select_atoms
from atompaint_vae.text.files import write_atomic

CATEGORIES = ("structure", "chain", "residue", "insertion_code", "element", "kind", "code")
COORDINATES = ("x", "y", "z")
COLUMNS = (
    "structure", "chain", "residue", "residue_num", "insertion_code", "element",
    "x", "y", "z", "occupancy", "kind", "code",
)  # fmt: skip
# Files that were written before these columns existed are read by the residues' names.
ADDED_COLUMNS = ("kind", "code")

ASSEMBLIES = ("asymmetric", "biological")

COMPRESSION_LEVEL = 19
"""Of zstd: slow to write, as small as it gets."""

# The limit of the PDB format; much further out, float32 can't resolve 0.001 Å.
MAX_COORDINATE_A = 9999.999

class Entry(NamedTuple):
    """Atoms of a structure file, and its metadata."""

    atoms: pd.DataFrame
    resolution_A: float | None
    method: str  # as in the file, '' if missing
    num_models: int
    assembly: str  # '' for the asymmetric unit
    counts: dict[str, int]  # what was guessed or left out, by the names of COUNTS


def read_structure(
    path: str | os.PathLike, *, structure: str | None = None, assembly: str = "asymmetric",
    altloc: str = "first",
) -> pd.DataFrame:
    """Read the heavy atoms of a structure file, one row each, in the file's order.

    Only the first model is read, without hydrogen, deuterium, water, dummy atoms and atoms that
    repeat another in everything. The models of .pdb1 files are copies that make an assembly, and
    all are read unless they overlap. What follows an END is read unless it repeats the atoms.

    Of a residue's alternate locations, one is kept, and therefore one residue name where the
    residue is heterogeneous. If several atoms of a polymer's residue have the same name, the first
    is kept, since files may leave out the letters of alternate locations. Atoms of zero occupancy
    are kept. An element that the file leaves out is guessed from the names of atom and residue;
    atoms whose element stays unknown are left out. Chains and residues that the file doesn't tell
    apart are numbered; see `number_residues`.

    path:      mmCIF, PDB or BinaryCIF, compressed or not
    structure: value of the column structure; by default, the file's name without suffixes
    assembly:  'asymmetric' for the atoms in the file, 'biological' for its first assembly
    altloc:    'first' in the file, or that of the highest mean 'occupancy'
    returns:   structure, chain (the author's), residue (its name), insertion_code ('' if none),
               element, kind and code (of the residue, see `chains`) [category];
               residue_num [int32]; x, y, z [Å, float32, rounded to 0.001]; occupancy [float32]
    raises:    StructureError if the file is missing, empty or broken, has no heavy atoms, has an
               unknown element, or has coordinates that are not numbers or beyond ±9999.999 Å
    """
    return read_entry(path, structure=structure, assembly=assembly, altloc=altloc).atoms


def read_entry(
    path: str | os.PathLike, *, structure: str | None = None, assembly: str = "asymmetric",
    altloc: str = "first",
) -> Entry:
    """Read atoms as `read_structure`, with the resolution [Å, None if missing] and more."""
    for name, value, known in [("assembly", assembly, ASSEMBLIES), ("altloc", altloc, ALTLOCS)]:
        if value not in known:
            raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(known)}")
    path = Path(path)
    lines = read_lines(path)
    name = ""
    try:
        atoms, counts = select_atoms(lines, altloc)
        if assembly == "biological":
            atoms, name = build_assembly(atoms, lines.header)
        _check_positions(lines.unit, atoms)
    except (ValueError, MemoryError) as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error
    table = _make_table(atoms, name_structure(path) if structure is None else structure)
    method = dict(lines.header.info.items()).get("_exptl.method", "")
    resolution_A = round(lines.header.resolution, 3) or None
    return Entry(table, resolution_A, method, lines.num_models, name, counts)


def concatenate_atoms(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables of atoms, in order, with common categories."""
    tables = list(tables)
    for name in CATEGORIES:
        categories = sorted(set().union(*(table[name].cat.categories for table in tables)))
        dtype = pd.CategoricalDtype(categories)
        tables = [table.assign(**{name: table[name].astype(dtype)}) for table in tables]
    return pd.concat(tables, ignore_index=True)


def write_atoms(
    atoms: pd.DataFrame, path: str | os.PathLike, *, compression_level: int = COMPRESSION_LEVEL,
    sync: bool = True,
) -> None:
    """Write atoms as a compact Parquet file; if that fails, an existing file is left as it was.

    sync:   as for `write_atomic`
    raises: StructureError if columns are missing
    """
    _check_columns(Path(path), atoms.columns)
    write_atomic(Path(path), pack_atoms(atoms, compression_level), sync=sync)


def pack_atoms(atoms: pd.DataFrame, compression_level: int = COMPRESSION_LEVEL) -> memoryview:
    """Return the content of a compact Parquet file of atoms."""
    table = pa.Table.from_pandas(atoms[list(COLUMNS)], preserve_index=False)
    content = io.BytesIO()
    pq.write_table(
        table, content, compression="zstd", compression_level=compression_level,
        use_dictionary=[*CATEGORIES, "occupancy"], write_page_checksum=True,
        # The three high bytes of neighbouring atoms are similar.
        column_encoding={
            **dict.fromkeys(COORDINATES, "BYTE_STREAM_SPLIT"),
            "residue_num": "DELTA_BINARY_PACKED",
        },
    )  # fmt: skip
    return content.getbuffer()


def load_atoms(path: str | os.PathLike) -> pd.DataFrame:
    """Load atoms as `write_atoms` wrote them, with the same types and order.

    If the file has no kinds of residues, they are those of the residues' names.

    raises: StructureError if the file is missing, not Parquet, or lacks columns
    """
    path = Path(path)
    table = _read_table(path)
    try:
        atoms = table.to_pandas(ignore_metadata=True)
    except (ValueError, MemoryError, OverflowError, pa.ArrowException) as error:
        raise StructureError(f"{path}: damaged: {describe_error(error)}") from error
    _check_columns(path, atoms.columns.union(ADDED_COLUMNS))
    try:
        if not {*ADDED_COLUMNS} <= {*atoms}:
            atoms[[*ADDED_COLUMNS]] = classify_names(atoms.residue)
        return _set_types(atoms)
    except (ValueError, TypeError) as error:
        raise StructureError(f"{path}: damaged: {describe_error(error)}") from error


def load_all_atoms(paths: list[Path]) -> pd.DataFrame:
    """Load the atoms of several files of `write_atoms`, in order, with common categories.

    raises: StructureError as `load_atoms`
    """
    tables = [_read_table(path, use_threads=False) for path in paths]
    atoms = pa.concat_tables(tables).to_pandas(ignore_metadata=True)
    for name in CATEGORIES:
        atoms[name] = atoms[name].cat.set_categories(sorted(atoms[name].cat.categories))
    return _set_types(atoms)


def _read_table(path: Path, *, use_threads: bool = True) -> pa.Table:
    try:
        # Opened in Python, so that provenance can record what a plotting script read.
        with path.open("rb") as opened:
            file = pq.ParquetFile(opened, page_checksum_verification=True)
            return file.read(use_threads=use_threads)
    except OSError as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error
    except pa.ArrowException as error:
        raise StructureError(f"{path}: not a Parquet file: {describe_error(error)}") from error
    except (ValueError, MemoryError, OverflowError) as error:  # damaged, but parsed
        raise StructureError(f"{path}: damaged: {describe_error(error)}") from error


def _check_positions(unit: str, atoms: Atoms) -> None:
    is_far = ~(np.abs(atoms["position_A"]) <= MAX_COORDINATE_A).all(axis=1)
    if is_far.any():
        at = atoms.select(np.flatnonzero(is_far)[:1])
        chain, residue, code = (at[x].decode()[0] for x in ("chain", "residue", "insertion_code"))
        raise StructureError(
            f"{unit} {at['line'][0]}: coordinates of chain {chain} residue {residue} "
            f"{at['residue_num'][0]}{code} are beyond ±{MAX_COORDINATE_A} Å: "
            + ", ".join(f"{value:g}" for value in at["position_A"][0])
        )


def _make_table(atoms: Atoms, structure: str) -> pd.DataFrame:
    # Adding zero turns -0.0 into 0.0, so that equal atoms are equal bytes.
    positions_A = (atoms["position_A"].round(3) + 0.0).astype(np.float32)
    atoms = atoms | {
        **dict(zip(COORDINATES, positions_A.T, strict=True)),
        "structure": Texts(np.zeros(len(positions_A), dtype=np.int64), [structure]),
        "residue_num": atoms["residue_num"].astype(np.int32),
        "occupancy": atoms["occupancy"].astype(np.float32),
    }
    return pd.DataFrame({
        name: _make_category(atoms[name]) if name in CATEGORIES else atoms[name]
        for name in COLUMNS
    })  # fmt: skip


def _make_category(texts: Texts) -> pd.Categorical:
    used = np.unique(texts.codes).tolist()
    used.sort(key=texts.distinct.__getitem__)
    codes = np.zeros(len(texts.distinct), dtype=np.int64)
    codes[used] = np.arange(len(used))
    return pd.Categorical.from_codes(codes[texts.codes], [texts.distinct[x] for x in used])


def _check_columns(path: Path, columns: pd.Index) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise StructureError(
            f"{path}: no column {', '.join(missing)}; atoms have {', '.join(COLUMNS)}"
        )


def _set_types(atoms: pd.DataFrame) -> pd.DataFrame:
    types = {
        **dict.fromkeys(CATEGORIES, "category"),
        **dict.fromkeys([*COORDINATES, "occupancy"], np.float32),
        "residue_num": np.int32,
    }
    return atoms[list(COLUMNS)].astype(types).reset_index(drop=True)
