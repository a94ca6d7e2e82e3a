"""Structure file -> parsed structure: mmCIF, PDB and BinaryCIF, gzipped or not.

gemmi reads mmCIF and PDB; BinaryCIF is converted to the document that gemmi reads from mmCIF.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import gemmi

from atompaint_vae.data.structures.binary_cif import read_binary_cif

MMCIF_SUFFIXES = (".cif", ".mmcif")
PDB_SUFFIXES = (".pdb", ".ent")
BINARY_SUFFIXES = (".bcif",)
SUFFIXES = (*MMCIF_SUFFIXES, *PDB_SUFFIXES, *BINARY_SUFFIXES)

ASSEMBLIES = ("asymmetric", "biological")
# The capsid of a virus has a few million; 20 times as many don't fit into the memory.
MAX_ASSEMBLY_ATOMS = 10_000_000

# How PDB files write an unknown element, and how mmCIF writes a missing value.
UNKNOWN_ELEMENTS = frozenset({"X", "", "?", "."})
KNOWN_ELEMENTS = frozenset(gemmi.Element(number).name.upper() for number in range(1, 119))
_ELEMENTS_OF_POLYMERS = frozenset("HCNOSP")


class StructureError(ValueError):
    """An unusable file of a structure or of atoms; the message is one line and names the file."""


class ParsedFile(NamedTuple):
    """The first model of a file, and its metadata."""

    model: gemmi.Structure
    resolution_A: float | None
    method: str
    num_models: int
    assembly: str  # the assembly's name; '' for the asymmetric unit


def parse_structure(path: Path, *, assembly: str = "asymmetric") -> ParsedFile:
    """Parse the first model of a structure file.

    assembly: 'asymmetric' for the atoms in the file; 'biological' for the first assembly that it
              defines, or the atoms in the file if it defines none
    raises:   StructureError if the file can't be read, has no atoms or has an unknown element
    """
    if assembly not in ASSEMBLIES:
        raise ValueError(f"unknown assembly {assembly!r}: expected one of {', '.join(ASSEMBLIES)}")
    content = read_content(path)
    try:
        parsed, elements = _parse(path, content)
        if len(parsed) == 0 or parsed[0].count_atom_sites() == 0:
            raise StructureError(f"{path}: no atoms")
        num_models = len(parsed)
        while len(parsed) > 1:
            del parsed[1]
        _find_missing_elements(path, parsed[0], elements)
        name = _build_assembly(path, parsed) if assembly == "biological" else ""
        method = dict(parsed.info.items()).get("_exptl.method", "")
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        if isinstance(error, StructureError):
            raise
        raise StructureError(f"{path}: {describe_error(error)}") from error
    resolution_A = round(parsed.resolution, 3) or None
    return ParsedFile(parsed, resolution_A, method, num_models, name)


def read_content(path: Path) -> bytes:
    """Read a file, and decompress it if its name ends in .gz.

    raises: StructureError if it can't be read, is truncated or empty
    """
    try:
        content = path.read_bytes()
        # gemmi reads a truncated gzip file as a short one; this raises.
        content = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error
    if not content.strip():
        raise StructureError(f"{path}: empty file")
    return content


def find_suffix(path: Path) -> str:
    """Return the suffix that shows the format, without .gz."""
    name = path.name[:-3] if path.suffix.lower() == ".gz" else path.name
    return Path(name).suffix.lower()


def name_structure(path: Path) -> str:
    """Return the file's name without its suffixes."""
    return Path(path.name[:-3] if path.suffix.lower() == ".gz" else path.name).stem


def describe_error(error: Exception) -> str:
    """Describe an error in one line."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"^data:(\d+):(\d+)(\(\d+\))?:", r"line \1, column \2:", text)


def _parse(path: Path, content: bytes) -> tuple[gemmi.Structure, Iterable[str]]:
    """Return the structure, and the elements as the file writes them."""
    suffix = find_suffix(path)
    if suffix in PDB_SUFFIXES:
        lines = content.splitlines()
        atoms = (line for line in lines if line.startswith((b"ATOM  ", b"HETATM")))
        elements = (line[76:78].decode("latin-1") for line in atoms)
        try:
            return gemmi.read_pdb_string(content), elements
        except RuntimeError as error:
            if "charge" not in str(error):
                raise
        # Before 1996, the columns of the element held the entry's id and the line's number.
        return gemmi.read_pdb_string(b"\n".join(line[:72] for line in lines)), ()
    if suffix in MMCIF_SUFFIXES:
        document = gemmi.cif.read_string(content)
    elif suffix in BINARY_SUFFIXES:
        document = read_binary_cif(content)
    else:
        raise StructureError(
            f"{path}: unknown format; expected a name in {', '.join(SUFFIXES)} (or + .gz)"
        )
    blocks = [block for block in document if len(block.find_values("_atom_site.Cartn_x"))]
    if not blocks:
        raise StructureError(f"{path}: no atoms")
    symbols = blocks[0].find_values("_atom_site.type_symbol")
    return gemmi.make_structure_from_block(blocks[0]), (gemmi.cif.as_string(s) for s in symbols)


def _find_missing_elements(path: Path, model: gemmi.Model, elements: Iterable[str]) -> None:
    """Infer elements that the file leaves out from the atoms' names, where possible.

    raises: StructureError for a symbol that isn't an element
    """
    if not model.count_atom_sites(gemmi.Selection("[X]")):
        return
    unknown = [
        (residue, atom)
        for chain in model for residue in chain for atom in residue if atom.element.name == "X"
    ]  # fmt: skip
    for symbol in elements:
        # An ion's charge may follow the symbol; gemmi knows deuterium.
        letters = symbol.strip().upper().rstrip("0123456789+-")
        if letters not in KNOWN_ELEMENTS | UNKNOWN_ELEMENTS | {"D"}:
            raise StructureError(f"{path}: unknown element {symbol.strip()!r}")
    for residue, atom in unknown:
        name = atom.name.strip("0123456789'*\" ").upper()
        info = gemmi.find_tabulated_residue(residue.name)
        if name == residue.name.upper() and name in KNOWN_ELEMENTS:
            atom.element = gemmi.Element(name)  # an ion: residue ZN, atom ZN
        elif info.is_amino_acid() or info.is_nucleic_acid():
            first = "SE" if name.startswith("SE") else name[:1]
            if first in _ELEMENTS_OF_POLYMERS | {"SE"}:
                atom.element = gemmi.Element(first)


def _build_assembly(path: Path, parsed: gemmi.Structure) -> str:
    """Replace the model by the file's first assembly; return its name, '' if there is none."""
    if not parsed.assemblies:
        return ""
    assembly = parsed.assemblies[0]
    num_copies = max((sum(len(g.operators) for g in assembly.generators)), 1)
    num_atoms = num_copies * parsed[0].count_atom_sites()
    if num_atoms > MAX_ASSEMBLY_ATOMS:
        raise StructureError(
            f"{path}: assembly {assembly.name} is {num_copies} copies, up to {num_atoms} atoms; "
            f"the most is {MAX_ASSEMBLY_ATOMS}"
        )
    parsed.transform_to_assembly(assembly.name, gemmi.HowToNameCopiedChain.AddNumber)
    if len(parsed) == 0 or parsed[0].count_atom_sites() == 0:
        raise StructureError(f"{path}: assembly {assembly.name} contains none of the chains")
    return assembly.name
