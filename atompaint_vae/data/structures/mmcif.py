"""mmCIF document -> the atoms of its first block as they stand there.

Where a column is missing, its twin is read: the author's for the PDB's, or the other way round.

n: atoms
"""

from __future__ import annotations

import re

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from atompaint_vae.data.structures.lines import AtomLines, Atoms, StructureError, Texts

# Of each of our columns, the mmCIF columns that hold it; the first is preferred.
SOURCES = {
    "label": ("label_asym_id", "auth_asym_id"),
    "chain": ("auth_asym_id", "label_asym_id"),
    "residue": ("label_comp_id", "auth_comp_id"),
    "name": ("label_atom_id", "auth_atom_id"),
    "altloc": ("label_alt_id",),
    "insertion_code": ("pdbx_PDB_ins_code",),
    "symbol": ("type_symbol",),
    "number": ("auth_seq_id", "label_seq_id"),
}
REQUIRED = ("residue", "name")
COORDINATES = ("Cartn_x", "Cartn_y", "Cartn_z")
MISSING = (".", "?")


def read_mmcif(document: gemmi.cif.Document, content: bytes = b"") -> AtomLines:
    """Read the first model of the first block with atoms.

    content: of the text file, for the lines of errors
    raises:  StructureError, without the path, if there are no Cartesian coordinates, or some are no
             numbers, or a column is missing that can't be inferred
    """
    block = find_block(document)
    missing = [x for x in COORDINATES if not len(block.find_values(f"_atom_site.{x}"))]
    if missing:
        raise StructureError(f"no column _atom_site.{', _atom_site.'.join(missing)}")
    columns = {}
    for name, tags in SOURCES.items():
        columns[name] = _read_column(block, tags)
        if columns[name] is None and name in REQUIRED:
            raise StructureError(f"no column _atom_site.{' or _atom_site.'.join(tags)}")
    num_atoms = len(block.find_values("_atom_site.Cartn_x"))
    empty = Texts(np.zeros(num_atoms, dtype=np.int64), [""])
    atoms = Atoms({k: empty if v is None else v for k, v in columns.items()})
    # There is no TER; each of the PDB's own chains is a part.
    atoms["part"] = atoms["label"].codes
    atoms["line"] = np.arange(1, num_atoms + 1)
    atoms["position_A"] = np.stack([_read_axis(block, content, x) for x in COORDINATES], axis=1)
    values = list(block.find_values("_atom_site.occupancy"))
    atoms["occupancy"] = _parse_numbers(values) if values else np.full(num_atoms, np.nan)
    is_read, num_models = _find_first_model(block, num_atoms)
    if num_models > 1:
        atoms = atoms.select(is_read)
    num_blocks = sum(len(x.find_values("_atom_site.Cartn_x")) > 0 for x in document)
    header = _read_header(block)
    return AtomLines(
        atoms, header, num_models, num_models_read=1, unit="atom", is_aligned=False,
        num_other_blocks=num_blocks - 1,
    )  # fmt: skip


def find_block(document: gemmi.cif.Document) -> gemmi.cif.Block:
    """Find the first block with atoms.

    raises: StructureError, without the path
    """
    for block in document:
        if len(block.find_values("_atom_site.Cartn_x")):
            return block
    raise StructureError(_explain_no_atoms(document))


def _read_column(block: gemmi.cif.Block, tags: tuple[str, ...]) -> Texts | None:
    """Read the first of the columns that exists; where it has no value, read the next."""
    column = None
    for tag in tags:
        values = list(block.find_values(f"_atom_site.{tag}"))
        if not values:
            continue
        found = Texts.find(np.array(values, dtype=object))
        found = found.map(lambda x: "" if x in MISSING else gemmi.cif.as_string(x))
        column = found if column is None else found.where(column.isin({""}), column)
        if "" not in column.distinct:
            break
    return column


def _read_axis(block: gemmi.cif.Block, content: bytes, tag: str) -> Float[np.ndarray, "n"]:
    values = list(block.find_values(f"_atom_site.{tag}"))
    numbers = _parse_numbers(values)
    if np.isnan(numbers).any():
        row = int(np.flatnonzero(np.isnan(numbers))[0])
        raise StructureError(
            f"{_name_row(block, content, row)}: _atom_site.{tag} is {values[row]!r}, "
            "expected a number"
        )
    return numbers


def _parse_numbers(values: list[str]) -> Float[np.ndarray, "n"]:
    """Parse numbers, NaN for what is none; a standard uncertainty may follow, as in 1.23(4)."""
    try:
        return np.array(list(map(float, values)))
    except ValueError:
        return np.array([gemmi.cif.as_number(value) for value in values])


def _find_first_model(block: gemmi.cif.Block, num_atoms: int) -> tuple[Bool[np.ndarray, "n"], int]:
    models, names = pd.factorize(
        np.array(list(block.find_values("_atom_site.pdbx_PDB_model_num")), dtype=object)
    )
    if not len(models):
        return np.ones(num_atoms, dtype=bool), 1
    return models == 0, len(names)


def _read_header(block: gemmi.cif.Block) -> gemmi.Structure:
    item = block.find_mmcif_category("_atom_site.")
    item.erase()
    return gemmi.make_structure_from_block(block)


def _name_row(block: gemmi.cif.Block, content: bytes, row: int) -> str:
    """Name an atom by its line, if each atom is one line."""
    lines = content.split(b"\n")
    for item in block:
        if item.loop is not None and "_atom_site.Cartn_x" in item.loop.tags:
            line = item.line_number + len(item.loop.tags) + row
            text = lines[line].decode("latin-1").split() if line < len(lines) else []
            if text == [item.loop[row, column] for column in range(item.loop.width())]:
                return f"line {line + 1}"
    return f"atom {row + 1}"


def _explain_no_atoms(document: gemmi.cif.Document) -> str:
    for block in document:
        tags = {tag.lower() for item in block for tag in _list_tags(item)}
        if any(re.match(r"_atom_site[_.]fract_x", tag) for tag in tags):
            return (
                "fractional coordinates (atom_site_fract_x), as of a small molecule's crystal; "
                "expected Cartesian ones (_atom_site.Cartn_x)"
            )
        if any(tag.startswith("_chem_comp_atom.") for tag in tags):
            return (
                "a description of a chemical component (_chem_comp_atom), not a structure; "
                "expected _atom_site"
            )
        atoms = sorted(tag for tag in tags if tag.startswith("_atom_site."))
        if atoms:
            return "no column _atom_site.Cartn_x"
    return "no atoms: no category _atom_site"


def _list_tags(item: gemmi.cif.Item) -> list[str]:
    if item.loop is not None:
        return item.loop.tags
    return [item.pair[0]] if item.pair is not None else []
