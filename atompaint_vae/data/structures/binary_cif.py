"""BinaryCIF -> the equivalent mmCIF document.

A column is encoded in several steps; decoding undoes them in reverse order.

source: Sehnal et al. 2020 (BinaryCIF and CIFTools); specification 0.3
"""

from __future__ import annotations

from itertools import pairwise

import gemmi
import msgpack
import numpy as np

# Only those that gemmi makes a structure from; others, such as anisotropic displacements, are slow.
CATEGORIES = (
    "_atom_site", "_cell", "_em_3d_reconstruction", "_entity", "_entity_poly", "_entry", "_exptl",
    "_pdbx_struct_assembly", "_pdbx_struct_assembly_gen", "_pdbx_struct_oper_list", "_refine",
    "_reflns", "_struct_asym", "_symmetry",
)  # fmt: skip
# The columns of the atoms that gemmi reads.
ATOM_COLUMNS = frozenset({
    "id", "group_PDB", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
    "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y",
    "Cartn_z", "occupancy", "B_iso_or_equiv", "auth_seq_id", "auth_comp_id", "auth_asym_id",
    "auth_atom_id", "pdbx_PDB_model_num",
})  # fmt: skip

_TYPES = {1: "<i1", 2: "<i2", 3: "<i4", 4: "<u1", 5: "<u2", 6: "<u4", 32: "<f4", 33: "<f8"}


class BinaryCifError(ValueError):
    """Content that is damaged, or isn't BinaryCIF."""


def read_binary_cif(content: bytes) -> gemmi.cif.Document:
    """Read the categories that a structure needs.

    raises: BinaryCifError
    """
    try:
        data = msgpack.unpackb(content, raw=False)
        document = gemmi.cif.Document()
        for block in data["dataBlocks"]:
            _add_block(document, block)
    # Damage may change any value into any other, so numpy and msgpack may raise any of these.
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, MemoryError,
            msgpack.UnpackException, RuntimeError) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BinaryCifError(f"not a BinaryCIF file, or damaged: {reason}") from error
    return document


def decode_column(data: dict) -> np.ndarray:
    """Decode an array, {'data': bytes, 'encoding': [...]}."""
    values = data["data"]
    for encoding in reversed(data["encoding"]):
        values = _DECODERS[encoding["kind"]](values, encoding)
    return values


def _add_block(document: gemmi.cif.Document, source: dict) -> None:
    block = document.add_new_block(source["header"])
    for category in source["categories"]:
        if category["name"] not in CATEGORIES or not category["rowCount"]:
            continue
        columns = [
            column for column in category["columns"]
            if category["name"] != "_atom_site" or column["name"] in ATOM_COLUMNS
        ]  # fmt: skip
        values = [_write_column(column, category["rowCount"]) for column in columns]
        loop = block.init_loop(category["name"] + ".", [column["name"] for column in columns])
        loop.set_all_values(values)


def _write_column(column: dict, num_rows: int) -> list[str]:
    """Return the values as a CIF file would write them."""
    values = decode_column(column["data"])
    if len(values) != num_rows:
        name, num = column["name"], len(values)
        raise BinaryCifError(f"column {name} has {num} values, expected {num_rows}")
    if values.dtype == np.float64:
        texts = list(map(repr, values.tolist()))
    elif values.dtype.kind in "iuf":
        texts = values.astype(str).tolist()
    else:
        quoted = {value: gemmi.cif.quote(value) for value in set(values.tolist())}
        texts = [quoted[value] for value in values.tolist()]
    if column.get("mask"):
        mask = decode_column(column["mask"])
        for row in np.flatnonzero(mask):
            texts[row] = "." if mask[row] == 1 else "?"
    return texts


def _decode_byte_array(data: bytes, encoding: dict) -> np.ndarray:
    return np.frombuffer(data, dtype=_TYPES[encoding["type"]])


def _decode_fixed_point(data: np.ndarray, encoding: dict) -> np.ndarray:
    return data.astype(np.float64) / encoding["factor"]


def _decode_intervals(data: np.ndarray, encoding: dict) -> np.ndarray:
    step = (encoding["max"] - encoding["min"]) / (encoding["numSteps"] - 1)
    return encoding["min"] + data.astype(np.float64) * step


def _decode_runs(data: np.ndarray, encoding: dict) -> np.ndarray:
    values, counts = data[::2], data[1::2]
    if counts.size and (counts.min() < 0 or counts.sum(dtype=np.int64) != encoding["srcSize"]):
        raise BinaryCifError(
            f"runs of {counts.sum(dtype=np.int64)} values in all, expected {encoding['srcSize']}"
        )
    return np.repeat(values, counts)


def _decode_deltas(data: np.ndarray, encoding: dict) -> np.ndarray:
    return (data.cumsum(dtype=np.int64) + encoding["origin"]).astype(np.int64)


def _decode_packed(data: np.ndarray, encoding: dict) -> np.ndarray:
    """Add up integers that were split into several small ones: an extreme value is continued."""
    limits = np.iinfo(data.dtype)
    is_continued = data == limits.max
    if not encoding["isUnsigned"]:
        is_continued |= data == limits.min
    sums = np.concatenate([[0], data.cumsum(dtype=np.int64)])
    ends = np.flatnonzero(~is_continued) + 1
    starts = np.concatenate([[0], ends[:-1]])
    return sums[ends] - sums[starts.astype(np.intp)] if len(ends) else sums[:0]


def _decode_strings(data: bytes, encoding: dict) -> np.ndarray:
    rows = decode_column({"data": data, "encoding": encoding["dataEncoding"]})
    ends = decode_column({"data": encoding["offsets"], "encoding": encoding["offsetEncoding"]})
    text, ends = encoding["stringData"], ends.tolist()
    strings = [text[a:b] for a, b in pairwise(ends)]
    # A masked value has the index -1.
    return np.array([*strings, ""], dtype=object)[rows]


_DECODERS = {
    "ByteArray": _decode_byte_array,
    "FixedPoint": _decode_fixed_point,
    "IntervalQuantization": _decode_intervals,
    "RunLength": _decode_runs,
    "Delta": _decode_deltas,
    "IntegerPacking": _decode_packed,
    "StringArray": _decode_strings,
}
