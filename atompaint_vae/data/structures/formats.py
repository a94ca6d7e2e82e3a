"""Structure file -> its atoms as they stand there: mmCIF, PDB and BinaryCIF, compressed or not."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import re
import zlib
from pathlib import Path

import gemmi
import pyarrow as pa

from atompaint_vae.data.structures.binary_cif import read_binary_cif
from atompaint_vae.data.structures.elements import find_elements
from atompaint_vae.data.structures.lines import AtomLines, StructureError
from atompaint_vae.data.structures.mmcif import find_block, read_mmcif
from atompaint_vae.data.structures.pdb import read_pdb, write_pdb

MMCIF_SUFFIXES = (".cif", ".mmcif", ".mcif")
# .pdb1, .pdb2 and so on are assemblies of the PDB, whose models are the copies.
ASSEMBLY_SUFFIX = ".pdb1"
PDB_SUFFIXES = (".pdb", ".ent", ASSEMBLY_SUFFIX)
BINARY_SUFFIXES = (".bcif",)
SUFFIXES = (*MMCIF_SUFFIXES, *PDB_SUFFIXES, *BINARY_SUFFIXES)
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
# Those that gemmi needs.
COLUMNS = tuple(
    f"_atom_site.{name}"
    for name in ("id", "type_symbol", "label_atom_id", "label_comp_id", "label_asym_id")
)
EXPECTED = f"expected a name in {', '.join(SUFFIXES)} (or + {', '.join(COMPRESSED_SUFFIXES)})"


def read_lines(path: Path) -> AtomLines:
    """Read the atoms of a structure file's first model, as they stand there.

    raises: StructureError if the file can't be read or has no atoms
    """
    content = read_content(path)
    try:
        return _read_lines(path, content)
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error


def parse_structure(path: Path) -> gemmi.Structure:
    """Parse the first model of a structure file with all that it holds, hydrogens and water too.

    raises: StructureError as `read_lines`, or if an mmCIF file lacks one of COLUMNS
    """
    content = read_content(path)
    try:
        lines = _read_lines(path, content)
        if _is_pdb(path, content):
            symbols = find_elements(lines.atoms, lines.is_aligned).symbols.decode()
            numbers = lines.atoms["line"].tolist()
            structure = gemmi.read_pdb_string(write_pdb(_decode(content), numbers, symbols))
        else:
            block = find_block(_read_document(path, content))
            missing = [x for x in COLUMNS if not len(block.find_values(x))]
            if missing:
                raise StructureError(f"no column {', '.join(missing)}")
            structure = gemmi.make_structure_from_block(block)
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error
    while len(structure) > 1:
        del structure[1]
    return structure


def read_content(path: Path) -> bytes:
    """Read a file, and decompress it if its content is compressed, whatever its name is.

    raises: StructureError if it can't be read, is truncated or empty
    """
    try:
        # gemmi reads a truncated gzip file as a short one; this raises.
        content = _decompress(path.read_bytes())
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        raise StructureError(f"{path}: {describe_error(error)}") from error
    if not content.strip():
        raise StructureError(f"{path}: empty file")
    return content


def find_suffix(path: Path) -> str:
    """Return the suffix that shows the format, without that of a compression: .pdb1 for .pdb2."""
    suffix = Path(_strip_compression(path)).suffix.lower()
    return ASSEMBLY_SUFFIX if re.fullmatch(r"\.pdb\d+", suffix) else suffix


def name_structure(path: Path) -> str:
    """Return the file's name without its suffixes."""
    return Path(_strip_compression(path)).stem


def describe_error(error: Exception) -> str:
    """Describe an error in one line."""
    if isinstance(error, StructureError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    text = " ".join(str(error).split()) or type(error).__name__
    # gemmi calls what it reads "data" or "string".
    text = re.sub(r"^(data|string):(\d+):(\d+)(\(\d+\))?:", r"line \2, column \3:", text)
    text = re.sub(r"^(data|string):(\d+)\b", r"line \2", text)
    return re.sub(r"^(data|string): |: (data|string)$", "", text)


def _strip_compression(path: Path) -> str:
    is_compressed = path.suffix.lower() in COMPRESSED_SUFFIXES
    return path.name[: -len(path.suffix)] if is_compressed else path.name


def _decompress(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"BZh"):
        return bz2.decompress(content)
    if content.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()
    return content


def _decode(content: bytes) -> bytes:
    """Return text in an 8-bit encoding, without a byte-order mark, with lines that end in \\n."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace").encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content


def _is_pdb(path: Path, content: bytes) -> bool:
    """Return whether a file is a PDB file; some have the names of the other format."""
    suffix, start = find_suffix(path), _decode(content[:4096]).lstrip()
    if suffix in PDB_SUFFIXES:
        return not re.search(rb"(?m)^data_", start)
    return suffix in MMCIF_SUFFIXES and start.startswith((b"HEADER", b"ATOM  ", b"CRYST1"))


def _read_lines(path: Path, content: bytes) -> AtomLines:
    suffix = find_suffix(path)
    if _is_pdb(path, content):
        return read_pdb(_decode(content), is_assembly=suffix == ASSEMBLY_SUFFIX)
    return read_mmcif(_read_document(path, content), _decode(content))


def _read_document(path: Path, content: bytes) -> gemmi.cif.Document:
    suffix = find_suffix(path)
    if suffix in (*MMCIF_SUFFIXES, *PDB_SUFFIXES):
        return gemmi.cif.read_string(_decode(content))
    if suffix in BINARY_SUFFIXES:
        return read_binary_cif(content)
    raise StructureError(f"unknown format; {EXPECTED}")
