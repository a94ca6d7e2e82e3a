"""Structure file -> atoms: one table of heavy atoms, and the compact Parquet file that holds it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from atompaint_vae.data.structures.chains import classify_residue
from atompaint_vae.data.structures.formats import (
    StructureError,
    describe_error,
    name_structure,
    parse_structure,
)

CATEGORIES = ("structure", "chain", "residue", "insertion_code", "element")
COORDINATES = ("x", "y", "z")
COLUMNS = (
    "structure", "chain", "residue", "residue_num", "insertion_code", "element",
    "x", "y", "z", "occupancy",
)  # fmt: skip

# The PDB format can't hold more, and float32 can't hold 0.001 Å much beyond it.
MAX_COORDINATE_A = 9999.999

# gemmi's own table of waters, and the names that simulation packages give them.
WATERS = frozenset({"HOH", "DOD", "WAT", "H2O", "OH2", "SOL", "TIP", "TIP3", "TP3", "SPC"})
# Membrane planes of the OPM database: their atoms are called N and O, but are no atoms.
DUMMY_RESIDUES = frozenset({"DUM"})
# gemmi calls an element X if it is unknown, missing or a pseudo-atom.
NOT_HEAVY_ELEMENTS = frozenset({"H", "D", "X"})


# A nucleotide has 35 atoms with its hydrogens; conformers of it are a few times that.
MAX_RESIDUE_LINES = 150


class Entry(NamedTuple):
    """Atoms of a structure file, and what the file says of them."""

    atoms: pd.DataFrame
    resolution_A: float | None
    method: str  # as the file writes it, '' if it doesn't
    num_models: int
    assembly: str  # '' for the asymmetric unit


def read_structure(
    path: str | os.PathLike, *, structure: str | None = None, assembly: str = "asymmetric"
) -> pd.DataFrame:
    """Heavy atoms of a structure file, in the file's order, one row each.

    Kept: the first model, without hydrogen, deuterium, water and dummy atoms; of the alternate
    locations of a residue the first one in the file, and so the first one of its names where it
    is heterogeneous; of the atoms of one name in a polymer's residue the first (files may
    leave out the letters of the alternate locations). Atoms of zero occupancy are kept.
    An element that the file leaves out is told by the atom's name; atoms whose element stays
    unknown (X) are left out.

    path:      mmCIF, PDB or BinaryCIF, gzipped or not
    structure: name for the column of that name; the file's stem by default
    assembly:  'asymmetric' for what the file holds, 'biological' for its first assembly
    returns:   structure, chain (the author's), residue (its name), insertion_code ('' if none),
               element [category]; residue_num [int32]; x, y, z [Å, float32, rounded to 0.001];
               occupancy [float32]
    raises:    StructureError if the file is missing, empty, broken, without heavy atoms, with an
               element that isn't one, or with coordinates that are not numbers or beyond
               ±9999.999 Å
    """
    return read_entry(path, structure=structure, assembly=assembly).atoms


def read_entry(
    path: str | os.PathLike, *, structure: str | None = None, assembly: str = "asymmetric"
) -> Entry:
    """Atoms as `read_structure`, with the resolution [Å, None if there is none] and more."""
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
    for find in (_find_first_altlocs, _find_first_names):
        is_first = find(atoms)
        atoms, positions_A = atoms[is_first].copy(), positions_A[is_first]
    if len(atoms) == 0:
        raise StructureError(f"{path}: no heavy atoms other than water and dummy atoms")
    _check_positions(path, atoms, positions_A)

    atoms["structure"] = name_structure(path) if structure is None else structure
    # Adding zero makes -0.0 plain, so that equal atoms are equal bytes.
    atoms[list(COORDINATES)] = (positions_A.round(3) + 0.0).astype(np.float32)
    return Entry(_set_types(atoms), *parsed[1:])


def concatenate_atoms(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """All atoms of several tables, in order, with common categories."""
    tables = list(tables)
    for name in CATEGORIES:
        categories = sorted(set().union(*(table[name].cat.categories for table in tables)))
        dtype = pd.CategoricalDtype(categories)
        tables = [table.assign(**{name: table[name].astype(dtype)}) for table in tables]
    return pd.concat(tables, ignore_index=True)


def write_atoms(
    atoms: pd.DataFrame, path: str | os.PathLike, *, compression_level: int = 19
) -> None:
    """Write atoms as a compact Parquet file, or leave whatever was there if that fails.

    raises: StructureError if columns are missing
    """
    path = Path(path)
    _check_columns(path, atoms.columns)
    table = pa.Table.from_pandas(atoms[list(COLUMNS)], preserve_index=False)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    os.close(descriptor)
    try:
        pq.write_table(
            table, partial, compression="zstd", compression_level=compression_level,
            use_dictionary=[*CATEGORIES, "occupancy"], write_page_checksum=True,
            # The three high bytes of neighbouring atoms are much alike.
            column_encoding={
                **dict.fromkeys(COORDINATES, "BYTE_STREAM_SPLIT"),
                "residue_num": "DELTA_BINARY_PACKED",
            },
        )  # fmt: skip
        Path(partial).chmod(0o644)  # a temporary file is private, the atoms are not
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def load_atoms(path: str | os.PathLike) -> pd.DataFrame:
    """Atoms as `write_atoms` wrote them, types and order included.

    raises: StructureError if the file is missing, not Parquet, or lacks columns
    """
    path = Path(path)
    try:
        # Opened here, so that a script that draws can tell what it read.
        with path.open("rb") as opened:
            file = pq.ParquetFile(opened, page_checksum_verification=True)
            atoms = file.read().to_pandas(ignore_metadata=True)
    except OSError as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error
    except pa.ArrowException as error:
        raise StructureError(f"{path}: not a Parquet file: {describe_error(error)}") from error
    except (ValueError, MemoryError, OverflowError) as error:  # damaged, but not beyond parsing
        raise StructureError(f"{path}: damaged: {describe_error(error)}") from error
    _check_columns(path, atoms.columns)
    try:
        return _set_types(atoms)
    except (ValueError, TypeError) as error:
        raise StructureError(f"{path}: damaged: {describe_error(error)}") from error


def _flatten(parsed: gemmi.Structure) -> tuple[np.ndarray, gemmi.FlatStructure]:
    """Chain names [N] and everything else of a model's atoms, hydrogens included."""
    # A flat structure holds names of up to 7 letters; a chain's two names may be longer.
    names = [chain.name for chain in parsed[0]]
    for index, chain in enumerate(parsed[0]):
        chain.name = str(index)
        for residue in chain:
            residue.subchain = ""
    flat = gemmi.FlatStructure(parsed)
    return np.array(names)[_decode_names(flat.chain_ids).astype(int)], flat


def _decode_names(codes: np.ndarray) -> np.ndarray:
    """Strings [N] of null-padded characters [N, 8]."""
    codes = np.ascontiguousarray(codes).astype(np.uint8)
    return _decode_unique(codes.view(f"S{codes.shape[1]}").ravel(), "utf-8")


def _decode_letters(codes: np.ndarray) -> np.ndarray:
    """Strings [N] of characters [N], '' for the blank and the null."""
    letters = np.ascontiguousarray(codes).astype(np.uint8).view("S1")
    return np.char.strip(_decode_unique(letters, "latin-1"))


def _decode_unique(texts: np.ndarray, encoding: str) -> np.ndarray:
    """Strings [N] of bytes [N]; few are different, and only those are worth decoding."""
    codes, unique = pd.factorize(texts)
    return np.char.decode(unique.astype(texts.dtype), encoding, "replace")[codes]


def _find_first_altlocs(atoms: pd.DataFrame) -> np.ndarray:
    """True [N] for atoms without an alternate location and those of their residue's first one."""
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
    """True [N] for atoms of a name that no earlier atom of the same residue has, and for all that
    belong to no polymer: some programs call every carbon of a ligand C.

    Files that leave out the letters of the chains number the residues of each anew, so that a
    residue whose name and number come again is another one if the file has it further on.
    """
    residue = atoms[["chain", "residue_num", "insertion_code", "residue"]]
    is_far = atoms.serial.diff().abs() > MAX_RESIDUE_LINES
    run = ((residue != residue.shift()).any(axis=1) | is_far).cumsum()
    others = [name for name in atoms.residue.unique() if classify_residue(name)[0] == "other"]
    is_repeated = pd.DataFrame({"run": run, "name": atoms["name"]}).duplicated()
    return (atoms.residue.isin(others) | ~is_repeated).to_numpy()


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
