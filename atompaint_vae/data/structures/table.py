"""Structure file -> atoms: a table of heavy atoms, and the compact Parquet file that holds it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from atompaint_vae.data.structures.chains import classify_names, classify_residues
from atompaint_vae.data.structures.formats import (
    StructureError,
    describe_error,
    name_structure,
    parse_structure,
)
from atompaint_vae.text.files import write_atomic

CATEGORIES = ("structure", "chain", "residue", "insertion_code", "element", "kind", "code")
COORDINATES = ("x", "y", "z")
COLUMNS = (
    "structure", "chain", "residue", "residue_num", "insertion_code", "element",
    "x", "y", "z", "occupancy", "kind", "code",
)  # fmt: skip
# Files that were written before these columns existed are read by the residues' names.
ADDED_COLUMNS = ("kind", "code")

COMPRESSION_LEVEL = 19
"""Of zstd: slow to write, as small as it gets."""

# The limit of the PDB format; much further out, float32 can't resolve 0.001 Å.
MAX_COORDINATE_A = 9999.999

# The waters that gemmi knows, and those of simulation packages.
WATERS = frozenset({"HOH", "DOD", "WAT", "H2O", "OH2", "SOL", "TIP", "TIP3", "TP3", "SPC"})
# Membrane planes of the OPM database, whose points are called N and O, but are not atoms.
DUMMY_RESIDUES = frozenset({"DUM"})
# gemmi calls an element X if it is unknown, missing or a pseudo-atom.
NOT_HEAVY_ELEMENTS = frozenset({"H", "D", "X"})

# A nucleotide has 35 atoms with its hydrogens; several conformers have a few times as many.
MAX_RESIDUE_LINES = 150


class Entry(NamedTuple):
    """Atoms of a structure file, and its metadata."""

    atoms: pd.DataFrame
    resolution_A: float | None
    method: str  # as in the file, '' if missing
    num_models: int
    assembly: str  # '' for the asymmetric unit


def read_structure(
    path: str | os.PathLike, *, structure: str | None = None, assembly: str = "asymmetric"
) -> pd.DataFrame:
    """Read the heavy atoms of a structure file, in the file's order, one row each.

    Only the first model is read, without hydrogen, deuterium, water and dummy atoms. If a residue
    has alternate locations, the first in the file is kept, and therefore the first residue name
    where the residue is heterogeneous. If several atoms of a polymer's residue have the same name,
    the first is kept, since files may leave out the letters of alternate locations. Atoms of zero
    occupancy are kept. An element that the file leaves out is inferred from the atom's name; atoms
    whose element stays unknown (X) are left out.

    path:      mmCIF, PDB or BinaryCIF, gzipped or not
    structure: value of the column structure; by default, the file's name without suffixes
    assembly:  'asymmetric' for the atoms in the file, 'biological' for its first assembly
    returns:   structure, chain (the author's), residue (its name), insertion_code ('' if none),
               element, kind and code (of the residue, see `chains`) [category];
               residue_num [int32]; x, y, z [Å, float32, rounded to 0.001]; occupancy [float32]
    raises:    StructureError if the file is missing, empty or broken, has no heavy atoms, has an
               unknown element, or has coordinates that are not numbers or beyond ±9999.999 Å
    """
    return read_entry(path, structure=structure, assembly=assembly).atoms


def read_entry(
    path: str | os.PathLike, *, structure: str | None = None, assembly: str = "asymmetric"
) -> Entry:
    """Read atoms as `read_structure`, with the resolution [Å, None if missing] and more."""
    path = Path(path)
    parsed = parse_structure(path, assembly=assembly)
    try:
        chains, flat = _flatten(parsed.model)
    except (RuntimeError, ValueError) as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error
    atoms = pd.DataFrame({
        "chain": chains,
        "residue": _decode_names(flat.residue_names),
        "residue_num": flat.resnums,
        "insertion_code": _decode_letters(flat.icodes),
        "altloc": _decode_letters(flat.altlocs),
        "element": _decode_unique(np.asarray(flat.element_names), "ascii"),
        "name": _decode_names(flat.atom_names),
        "serial": np.array(flat.serials),
        "occupancy": flat.occ,
    })  # fmt: skip
    positions_A = np.array(flat.pos, dtype=np.float64).reshape(-1, 3)

    is_kept = ~(
        atoms.element.isin(NOT_HEAVY_ELEMENTS) | atoms.residue.isin(WATERS | DUMMY_RESIDUES)
    )
    atoms, positions_A = atoms[is_kept], positions_A[is_kept.to_numpy()]
    is_first = _find_first_altlocs(atoms)
    atoms, positions_A = atoms[is_first].copy(), positions_A[is_first]
    columns = ("chain", "residue", "residue_num", "insertion_code", "name")
    kinds, codes = classify_residues({x: atoms[x].to_numpy() for x in columns}, positions_A)
    atoms = atoms.assign(kind=pd.Categorical(kinds), code=pd.Categorical(codes))
    is_first = _find_first_names(atoms)
    atoms, positions_A = atoms[is_first].copy(), positions_A[is_first]
    if len(atoms) == 0:
        raise StructureError(f"{path}: no heavy atoms other than water and dummy atoms")
    _check_positions(path, atoms, positions_A)

    atoms["structure"] = name_structure(path) if structure is None else structure
    # Adding zero turns -0.0 into 0.0, so that equal atoms are equal bytes.
    atoms[list(COORDINATES)] = (positions_A.round(3) + 0.0).astype(np.float32)
    return Entry(_set_types(atoms), *parsed[1:])


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
    try:
        # Opened in Python, so that provenance can record what a plotting script read.
        with path.open("rb") as opened:
            file = pq.ParquetFile(opened, page_checksum_verification=True)
            atoms = file.read().to_pandas(ignore_metadata=True)
    except OSError as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error
    except pa.ArrowException as error:
        raise StructureError(f"{path}: not a Parquet file: {describe_error(error)}") from error
    except (ValueError, MemoryError, OverflowError) as error:  # damaged, but parsed
        raise StructureError(f"{path}: damaged: {describe_error(error)}") from error
    _check_columns(path, atoms.columns.union(ADDED_COLUMNS))
    try:
        if not {*ADDED_COLUMNS} <= {*atoms}:
            atoms[[*ADDED_COLUMNS]] = classify_names(atoms.residue)
        return _set_types(atoms)
    except (ValueError, TypeError) as error:
        raise StructureError(f"{path}: damaged: {describe_error(error)}") from error


def _flatten(parsed: gemmi.Structure) -> tuple[np.ndarray, gemmi.FlatStructure]:
    """Return chain names [N] and everything else of a model's atoms, with hydrogens."""
    # A flat structure cuts names off after 7 letters; a chain's two names may be longer.
    names = [chain.name for chain in parsed[0]]
    for index, chain in enumerate(parsed[0]):
        chain.name = str(index)
        for residue in chain:
            residue.subchain = ""
    flat = gemmi.FlatStructure(parsed)
    return np.array(names)[_decode_names(flat.chain_ids).astype(int)], flat


def _decode_names(codes: np.ndarray) -> np.ndarray:
    """Decode null-padded characters [N, 8] to strings [N]."""
    codes = np.ascontiguousarray(codes).astype(np.uint8)
    return _decode_unique(codes.view(f"S{codes.shape[1]}").ravel(), "utf-8")


def _decode_letters(codes: np.ndarray) -> np.ndarray:
    """Decode characters [N] to strings [N], '' for a blank or a null."""
    letters = np.ascontiguousarray(codes).astype(np.uint8).view("S1")
    return np.char.strip(_decode_unique(letters, "latin-1"))


def _decode_unique(texts: np.ndarray, encoding: str) -> np.ndarray:
    """Decode bytes [N] to strings [N], each distinct one once, since there are few."""
    codes, unique = pd.factorize(texts)
    return np.char.decode(unique.astype(texts.dtype), encoding, "replace")[codes]


def _find_first_altlocs(atoms: pd.DataFrame) -> np.ndarray:
    """Mark [N] atoms without an alternate location, and those of their residue's first one."""
    is_alternate = (atoms.altloc != "").to_numpy()
    if not is_alternate.any():
        return ~is_alternate
    alternates = atoms[is_alternate]
    place = alternates.groupby(["chain", "residue_num", "insertion_code"], sort=False)
    is_first = ~is_alternate
    is_first[is_alternate] = (
        (alternates.altloc == place.altloc.transform("first"))
        & (alternates.residue == place.residue.transform("first"))
    )  # fmt: skip
    return is_first


def _find_first_names(atoms: pd.DataFrame) -> np.ndarray:
    """Mark [N] atoms whose name no earlier atom of the same residue has, and all atoms outside
    polymers, since some programs call every carbon of a ligand C.

    In files without chain letters, residue numbers may start again with each chain. A residue with
    the name and number of an earlier one is therefore another if it comes much later in the file.
    """
    residue = atoms[["chain", "residue_num", "insertion_code", "residue"]]
    is_far = atoms.serial.diff().abs() > MAX_RESIDUE_LINES
    run = ((residue != residue.shift()).any(axis=1) | is_far).cumsum()
    is_repeated = pd.DataFrame({"run": run, "name": atoms["name"]}).duplicated()
    return ((atoms.kind == "other") | ~is_repeated).to_numpy()


def _check_positions(path: Path, atoms: pd.DataFrame, positions_A: np.ndarray) -> None:
    for is_bad, problem in [
        (~np.isfinite(positions_A), "not a number"),
        (np.abs(positions_A) > MAX_COORDINATE_A, f"beyond ±{MAX_COORDINATE_A} Å"),
    ]:
        if is_bad.any():
            row = int(np.flatnonzero(is_bad.any(axis=1))[0])
            at = atoms.iloc[row]
            raise StructureError(
                f"{path}: coordinates of chain {at.chain} residue {at.residue} "
                f"{at.residue_num}{at.insertion_code} are {problem}: "
                + ", ".join(f"{value:g}" for value in positions_A[row])
            )


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
