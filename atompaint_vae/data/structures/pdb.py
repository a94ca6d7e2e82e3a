"""The PDB format -> the atoms of a file as they stand there.

Columns are counted from 0 in the code, and from 1 in messages, as the format does.

source: wwpdb.org/documentation/file-format, version 3.3

n: atoms
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8
from scipy.spatial import KDTree

from atompaint_vae.data.structures.lines import AtomLines, Atoms, StructureError, Texts

WIDTH = 80
# Where a number of three decimals that fills its eight columns has its point.
POINT = 4
IN_COORDINATES = np.isin(np.arange(256), list(b" 0123456789.+-eE"))
LONG_SYMBOLS = {symbol for n in range(1, 119) if len(symbol := gemmi.Element(n).name.upper()) == 2}
HEADER = (b"REMARK", b"EXPDTA")

# Names of four letters that begin with another residue's name of three. Another letter there is
# the first of a chain's name.
LONG_NAMES = frozenset({
    "ALAD", "ARGN", "ASPH", "ASPP", "CHL1", "CYS1", "CYS2", "CYSH", "CYSM", "CYSX", "GLUH", "GLUP",
    "HEME", "HIS1", "HIS2", "HISA", "HISB", "HISD", "HISE", "HISH", "HISP", "LYSH", "LYSN",
})  # fmt: skip

# Models whose atoms lie this near to those of others are conformers, not copies.
CLASH_A = 1.0
MAX_CLASHES = 0.05
# A piece after an END that repeats more of the atoms is a frame of a trajectory.
MAX_REPEATED = 0.5


class _Places(NamedTuple):
    """Where the atoms are: their rows, and the block and the part that each is in."""

    rows: list[int]
    blocks: list[int]
    parts: list[int]
    num_models: int


def read_pdb(content: bytes, *, is_assembly: bool = False) -> AtomLines:
    """Read the first model of a PDB file, and what stands after an END and belongs to it.

    is_assembly: the models are copies that make an assembly, unless they overlap; all are read
    raises:      StructureError, without the path, if there are no atoms, or a line's columns of
                 coordinates hold anything else
    """
    lines = content.split(b"\n")
    places = _find_atoms(lines, is_assembly)
    if not places.rows:
        raise StructureError("no atoms: no line begins with ATOM or HETATM")
    text = b"".join([lines[row][:WIDTH].ljust(WIDTH) for row in places.rows])
    columns = np.frombuffer(text, dtype=np.uint8).reshape(-1, WIDTH)
    positions_A = _read_coordinates(columns, places.rows, lines)
    residues, chains = _read_residues(columns)
    numbers, letters = _read_numbers(columns)
    atoms = Atoms({
        "line": np.array(places.rows) + 1,
        "part": np.array(places.parts),
        "label": chains,
        "chain": _add_segments(chains, columns),
        "residue": residues,
        "name": _read_texts(columns[:, 12:16], strip=False),
        "altloc": _read_texts(columns[:, 16:17]),
        "insertion_code": letters,
        "symbol": _read_texts(columns[:, 76:78]),
        "number": numbers,
        "position_A": positions_A,
        "occupancy": _read_occupancies(columns[:, 54:60]),
    })  # fmt: skip
    is_read, num_models, num_models_read, num_pieces = _choose_blocks(atoms, places, is_assembly)
    if not is_read.all():
        atoms = atoms.select(is_read)
    header = b"\n".join([line for line in lines if line.startswith(HEADER)])
    return AtomLines(
        atoms, gemmi.read_pdb_string(header) if header else gemmi.Structure(),
        num_models, num_models_read, "line", is_aligned(atoms["name"].distinct),
        num_pieces=num_pieces,
    )  # fmt: skip


def _find_atoms(lines: list[bytes], is_assembly: bool) -> _Places:
    rows, blocks, parts = [], [], []
    block = part = num_models = 0
    is_left = is_new = False
    for row, line in enumerate(lines):
        if line[:1].islower():  # some programs write all names in lower case
            line = line[:6].upper() + line[6:]
        if line.startswith((b"ATOM  ", b"HETATM")) or re.match(rb"ATOM[ \d]\d", line):
            num_models += is_new
            is_left, is_new = is_left or (is_new and bool(rows) and not is_assembly), False
            if not is_left:
                rows.append(row)
                blocks.append(block)
                parts.append(part)
        elif line.startswith(b"TER"):
            part += 1
        elif line.startswith((b"MODEL", b"ENDMDL")) or line[:6].rstrip() == b"END":
            block, part = block + 1, part + 1
            is_left, is_new = False, line.startswith(b"MODEL")
    return _Places(rows, blocks, parts, max(num_models, 1))


def _read_texts(field: UInt8[np.ndarray, "n width"], *, strip: bool = True) -> Texts:
    """Read up to eight columns."""
    padded = np.zeros((len(field), 8), dtype=np.uint8)
    padded[:, : field.shape[1]] = field
    codes, unique = pd.factorize(padded.view(np.uint64).ravel())
    texts = [text.decode("latin-1") for text in unique.view("S8").tolist()]
    texts = Texts(codes, texts)
    return texts.map(str.strip) if strip else texts


def _read_residues(columns: UInt8[np.ndarray, "n 80"]) -> tuple[Texts, Texts]:
    """Read the names of residues and chains. Between them is a column that either may use."""
    names = _read_texts(columns[:, 17:21], strip=False)
    chains = _read_texts(columns[:, 20:22])
    longer = [x for x in names.distinct if x[3] != " "]
    if not longer:
        return names.map(str.strip), chains
    known = {x for x in longer if gemmi.find_tabulated_residue(x[:3].strip()).found()}
    letters_of_chains = {x[3] for x in known if x not in LONG_NAMES}
    long_names = {x for x in longer if x[3] not in letters_of_chains}
    chains = _read_texts(columns[:, 21:22]).where(names.isin(long_names), chains)
    return names.map(lambda x: x.strip() if x in long_names else x[:3].strip()), chains


def _add_segments(chains: Texts, columns: UInt8[np.ndarray, "n 80"]) -> Texts:
    """Name chains without a letter by their segment's name, columns 73 to 76."""
    if "" not in chains.distinct:
        return chains
    ends = _read_texts(columns[:, 72:80], strip=False)
    return ends.map(_find_segment).where(chains.isin({""}), chains)


def _find_segment(end: str) -> str:
    """Return the segment in columns 73 to 80; before 1996, an entry's name was there."""
    segment = end[:4].strip()
    is_segment = re.fullmatch(r"[\w+-]+", segment) and not _is_old_end(end)
    return segment if is_segment else ""


def _is_old_end(end: str) -> bool:
    return re.fullmatch(r"[0-9][0-9A-Za-z]{3}[ 0-9]{3}[0-9]", end) is not None


def _read_numbers(columns: UInt8[np.ndarray, "n 80"]) -> tuple[Texts, Texts]:
    """Read the numbers of residues and the insertion codes. A fifth digit is no insertion code."""
    both = _read_texts(columns[:, 22:27], strip=False)
    is_longer = re.compile(r"[0-9]{5}").fullmatch
    return (
        both.map(lambda x: x if is_longer(x) else x[:4].strip()),
        both.map(lambda x: "" if is_longer(x) else x[4].strip()),
    )


def _read_occupancies(field: UInt8[np.ndarray, "n 6"]) -> Float[np.ndarray, "n"]:
    texts = _read_texts(field)
    return texts.look_up([_parse_float(x) for x in texts.distinct])


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _read_coordinates(
    columns: UInt8[np.ndarray, "n 80"], rows: list[int], lines: list[bytes]
) -> Float[np.ndarray, "n 3"]:
    text = columns[:, 30:54]
    fields = np.ascontiguousarray(text).reshape(-1, 3, 8)
    is_blank = text == ord(" ")
    # A number may touch the next one, or the occupancy, only if it has three decimals.
    is_standard = fields[:, :, POINT] == ord(".")
    touches = (columns[:, [37, 45, 53]] != ord(" ")) & (columns[:, [38, 46, 54]] != ord(" "))
    is_bad = (
        (columns[:, 27:30] != ord(" ")).any(axis=1)
        | ~IN_COORDINATES[text].all(axis=1)
        | is_blank.reshape(-1, 3, 8).all(axis=2).any(axis=1)
        | (touches & ~is_standard).any(axis=1)
    )
    texts = fields.view("S8").reshape(-1, 3)
    try:
        positions_A = np.where(is_bad[:, None], b"0", texts).astype(np.float64)
    except ValueError:
        numbers = [_parse_float(x.decode("latin-1")) for x in texts.ravel().tolist()]
        positions_A = np.array(numbers).reshape(-1, 3)
        is_bad |= np.isnan(positions_A).any(axis=1)
    if is_bad.any():
        row = rows[int(np.flatnonzero(is_bad)[0])]
        found = lines[row][26:56].decode("latin-1")
        if len(lines[row].rstrip()) < 54:
            raise StructureError(f"line {row + 1}: the line is too short: coordinates end in "
                                 f"column 54, it ends in {len(lines[row].rstrip())}")
        raise StructureError(
            f"line {row + 1}: expected three coordinates in columns 31-38, 39-46 and 47-54, "
            f"found {found!r} in columns 27-56"
        )
    return positions_A


def _choose_blocks(
    atoms: Atoms, places: _Places, is_assembly: bool
) -> tuple[Bool[np.ndarray, "n"], int, int, int]:
    """Mark the atoms of the first block and of those that continue it; count the models, those that
    are read, and the blocks that continue the first.

    Blocks are models, and what stands after an END: it is another model if it repeats the atoms.
    """
    starts = np.flatnonzero(np.diff(places.blocks, prepend=-1))
    num_atoms = len(places.blocks)
    is_read = np.zeros(num_atoms, dtype=bool)
    is_read[: starts[1] if len(starts) > 1 else num_atoms] = True
    num_models, num_read, num_pieces = 1, 1, 0
    if len(starts) > 1:
        ids = atoms.identify("chain", "residue", "number", "insertion_code", "name", "altloc")
        positions_A = atoms["position_A"]
        for start, end in zip(starts[1:], [*starts[2:], num_atoms], strict=True):
            is_model = bool(np.isin(ids[start:end], ids[is_read]).mean() > MAX_REPEATED)
            if is_model and is_assembly:
                near_A, _ = KDTree(positions_A[is_read]).query(positions_A[start:end])
                is_copy = (near_A < CLASH_A).mean() <= MAX_CLASHES
            is_read[start:end] = not is_model or (is_assembly and is_copy)
            num_models += is_model
            num_read += is_model and bool(is_read[start])
            num_pieces += not is_model
    return is_read, max(places.num_models, num_models), num_read, num_pieces


def is_aligned(names: Iterable[str]) -> bool:
    """Return whether elements of one letter are in the second column of all names.

    Names of four letters, and those of hydrogens, may begin in the first.
    """
    return not any(
        name[0].isalpha() and name[0] not in "HD" and name[3:] in ("", " ")
        and name[:2].upper() not in LONG_SYMBOLS
        for name in names
    )  # fmt: skip


def write_pdb(content: bytes, numbers: Iterable[int], symbols: Iterable[str]) -> bytes:
    """Return a PDB file of one model of some of the atoms, with their elements.

    numbers: of the lines that hold the atoms, from 1
    symbols: of elements
    """
    known = dict(zip(numbers, symbols, strict=True))
    lines = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if number in known:
            symbol = known[number] if len(known[number]) <= 2 else "X"
            charge = line[78:80] if re.fullmatch(rb"\d[+-]", line[78:80]) else b""
            lines.append(line[:76].ljust(76) + (symbol or "X").rjust(2).encode() + charge)
        elif not line[:6].upper().startswith((b"ATOM", b"HETATM", b"MODEL", b"END")):
            lines.append(line)
    return b"\n".join([*lines, b"END", b""])
