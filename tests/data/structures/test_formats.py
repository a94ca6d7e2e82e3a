"""Truth: files written by hand, and by biotite (small.bcif), whose atoms are counted by hand."""

import gzip
from pathlib import Path

import msgpack
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atompaint_vae.data.structures.binary_cif import (
    BinaryCifError,
    decode_column,
    read_binary_cif,
)
from atompaint_vae.data.structures.table import (
    StructureError,
    read_entry,
    read_structure,
)

FILES = Path(__file__).parent / "files"
CIF, BCIF = FILES / "small.cif", FILES / "small.bcif"

PDB_ATOM = "ATOM  {serial:>5} {name:<4} {residue:>3} A{num:>4}    {x:8.3f}   2.000   3.000"
PDB_ATOM += "  1.00  0.00          {element:>2}\n"


def write_pdb(path: Path, *atoms: dict) -> Path:
    default = {"serial": 1, "name": " CA", "residue": "GLY", "num": 1, "x": 1.0, "element": "C"}
    path.write_text("".join(PDB_ATOM.format(**(default | atom)) for atom in atoms) + "END\n")
    return path


@pytest.mark.parametrize("assembly", ["asymmetric", "biological"])
def test_binary_cif_is_read_as_the_mmcif_that_it_was_made_from(assembly):
    text, binary = (read_entry(path, assembly=assembly) for path in (CIF, BCIF))
    pd.testing.assert_frame_equal(binary.atoms, text.atoms)
    assert binary[1:5] == text[1:5] == (1.85, "X-RAY DIFFRACTION", 2, "1" * (assembly[0] == "b"))


def test_a_gzipped_binary_cif_is_read(tmp_path):
    (tmp_path / "a.bcif.gz").write_bytes(gzip.compress(BCIF.read_bytes()))
    assert len(read_structure(tmp_path / "a.bcif.gz")) == 7


def test_the_first_assembly_is_the_copies_that_its_operators_make():
    one, two = read_structure(CIF), read_structure(CIF, assembly="biological")
    assert two.chain.unique().tolist() == ["H1", "L1", "H2", "L2"]
    assert len(two) == 2 * len(one)
    # Operator 2: x -> 100 - x, y -> -y, z -> z + 0.5
    expected = one[["x", "y", "z"]].to_numpy(float) * [-1, -1, 1] + [100, 0, 0.5]
    np.testing.assert_allclose(two[["x", "y", "z"]][len(one) :], expected, atol=1e-3)


def test_a_file_without_assemblies_is_its_own(tmp_path):
    entry = read_entry(write_pdb(tmp_path / "a.pdb", {}), assembly="biological")
    assert (len(entry.atoms), entry.assembly) == (1, "")


def test_an_assembly_of_too_many_atoms_is_refused(monkeypatch):
    monkeypatch.setattr("atompaint_vae.data.structures.assembly.MAX_ASSEMBLY_ATOMS", 13)
    with pytest.raises(StructureError, match="assembly 1 is 2 copies, up to 14 atoms; the most is"):
        read_structure(CIF, assembly="biological")


def test_options_that_are_unknown_are_named():
    with pytest.raises(ValueError, match="unknown assembly 'unit': expected one of asymmetric, b"):
        read_structure(CIF, assembly="unit")
    with pytest.raises(ValueError, match="unknown altloc 'B': expected one of first, occupancy"):
        read_structure(CIF, altloc="B")


# source: the runs of the specification, github.com/molstar/BinaryCIF/blob/master/encoding.md
DECODED = {
    "fixed point": ([120, 123, 12], [{"kind": "FixedPoint", "factor": 100, "srcType": 33}],
                    [1.2, 1.23, 0.12]),
    "intervals": ([0, 0, 1, 2, 2, 1],
                  [{"kind": "IntervalQuantization", "min": 1, "max": 2, "numSteps": 3,
                    "srcType": 33}], [1, 1, 1.5, 2, 2, 1.5]),
    "runs": ([1, 3, 2, 1, 3, 2], [{"kind": "RunLength", "srcType": 3, "srcSize": 6}],
             [1, 1, 1, 2, 3, 3]),
    "deltas": ([0, 3, 2, 1], [{"kind": "Delta", "origin": 1000, "srcType": 3}],
               [1000, 1003, 1005, 1006]),
    "packed": ([1, 2, -3, 127, 1],
               [{"kind": "IntegerPacking", "byteCount": 1, "isUnsigned": False, "srcSize": 4}],
               [1, 2, -3, 128]),
    "packed, below": ([-128, -128, -1, 5],
                      [{"kind": "IntegerPacking", "byteCount": 1, "isUnsigned": False,
                        "srcSize": 2}], [-257, 5]),
    "packed, exact": ([127, 0, 3],
                      [{"kind": "IntegerPacking", "byteCount": 1, "isUnsigned": False,
                        "srcSize": 2}], [127, 3]),
}  # fmt: skip


@pytest.mark.parametrize("case", DECODED)
def test_columns_are_decoded_as_the_specification_says(case):
    numbers, encoding, expected = DECODED[case]
    data = np.array(numbers, dtype="i1").tobytes()
    encoding = [*encoding, {"kind": "ByteArray", "type": 1}]
    values = decode_column({"data": data, "encoding": encoding})
    np.testing.assert_allclose(values, expected)


def test_strings_are_cut_from_one_text():
    # The specification's own example: ['a', 'AB', 'a'], here with a masked value after them.
    numbers = [{"kind": "ByteArray", "type": 1}]
    encoding = [{
        "kind": "StringArray", "stringData": "aAB", "offsets": bytes([0, 1, 3]),
        "offsetEncoding": numbers, "dataEncoding": numbers,
    }]  # fmt: skip
    values = decode_column({"data": np.array([0, 1, 0, -1], "i1").tobytes(), "encoding": encoding})
    assert values.tolist() == ["a", "AB", "a", ""]


@settings(max_examples=60)
@given(start=st.integers(0, 8000), damage=st.binary(min_size=1, max_size=8))
def test_damaged_binary_cif_is_read_or_refused_in_one_line(tmp_path_factory, start, damage):
    content = BCIF.read_bytes()
    path = tmp_path_factory.getbasetemp() / "damaged.bcif"
    path.write_bytes(content[:start] + damage + content[start + len(damage) :])
    try:
        read_structure(path)
    except StructureError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)


@pytest.mark.parametrize("content", [b"hello", msgpack.packb({}), BCIF.read_bytes()[:-9]])
def test_what_is_no_binary_cif_is_said_so(content):
    with pytest.raises(BinaryCifError, match=r"^not a BinaryCIF file, or damaged: "):
        read_binary_cif(content)


def test_hybrid_36_numbers_go_on_where_decimal_digits_end(tmp_path):
    path = write_pdb(
        tmp_path / "large.pdb",
        {"serial": "99999", "num": "9999"},
        {"serial": "A0000", "num": "A000"},  # 100,000 and 10,000
        {"serial": "A000Z", "num": "A00Z"},  # Z is 35
        {"serial": "B0000", "num": "B000"},  # 36³ further
    )
    assert read_structure(path).residue_num.tolist() == [9999, 10000, 10035, 10000 + 36**3]


def test_elements_that_a_pdb_file_leaves_out_are_told_by_names(tmp_path):
    path = write_pdb(
        tmp_path / "bare.pdb",
        {"name": " CA", "element": ""},
        {"name": "CA", "residue": "CA", "element": ""},  # calcium
        {"name": "1HB", "element": ""},
        {"name": " OG", "residue": "SER", "element": ""},
        {"name": "SE", "residue": "MSE", "element": ""},
        {"name": "ZN", "residue": "ZN", "element": "X"},
        {"name": " U", "residue": "UNX", "element": "X"},  # unknown, and stays so
    )
    assert read_structure(path).element.tolist() == ["C", "Ca", "O", "Se", "Zn"]


def test_elements_that_an_mmcif_file_leaves_out_are_told_by_names(tmp_path):
    text = CIF.read_text()
    for line in ("2  C  CA ", "6  P  P  ", "8  ZN ZN "):
        assert line in text
        text = text.replace(line, f"{line[:3]}?  {line[6:]}")
    (tmp_path / "small.cif").write_text(text)
    pd.testing.assert_frame_equal(read_structure(tmp_path / "small.cif"), read_structure(CIF))


@pytest.mark.parametrize(
    ("suffix", "symbol", "place"), [(".cif", "Qq", "atom 5"), (".pdb", "QQ", "line 2")]
)
def test_an_element_unheard_of_is_named(tmp_path, suffix, symbol, place):
    path = tmp_path / f"odd{suffix}"
    if suffix == ".cif":
        path.write_text(CIF.read_text().replace("5  O  OG", f"5  {symbol} OG"))
    else:
        write_pdb(path, {}, {"element": symbol})
    with pytest.raises(StructureError, match=rf"odd{suffix}: {place}: unknown element '{symbol}'"):
        read_structure(path)


def test_lines_of_the_old_pdb_format_end_before_the_entrys_name(tmp_path):
    path = write_pdb(tmp_path / "old.pdb", {"element": ""})
    line = path.read_text().splitlines()[0][:72] + "1GDR  90\n"
    path.write_text(line)
    assert read_structure(path).element.tolist() == ["C"]


def test_a_single_atom_needs_no_loop(tmp_path):
    tags = {"id": 1, "type_symbol": "C", "label_atom_id": "CA", "label_alt_id": ".",
            "label_comp_id": "GLY", "label_asym_id": "A", "label_seq_id": 1, "auth_seq_id": 1,
            "auth_asym_id": "A", "pdbx_PDB_ins_code": "?", "pdbx_PDB_model_num": 1,
            "Cartn_x": 1, "Cartn_y": 2, "Cartn_z": 3, "occupancy": 1}  # fmt: skip
    lines = [f"_atom_site.{tag} {value}" for tag, value in tags.items()]
    (tmp_path / "one.cif").write_text("\n".join(["data_ONE", *lines, ""]))
    assert read_structure(tmp_path / "one.cif").x.tolist() == [1.0]
