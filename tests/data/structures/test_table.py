"""Structure files written by hand, whose atoms are counted by hand."""

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atompaint_vae.data.structures.chains import list_chains, list_residues
from atompaint_vae.data.structures.table import (
    COLUMNS,
    StructureError,
    concatenate_atoms,
    load_all_atoms,
    load_atoms,
    read_structure,
    write_atoms,
)

ATOM = "{record:<6}{serial:>5} {name:<4}{altloc:1}{residue:>3} {chain:1}{num:>4}{icode:1}   "
ATOM += "{x:>8}{y:>8}{z:>8}{occupancy:>6.2f}{b:>6.2f}          {element:>2}"


def write_pdb(path: Path, *models: list[tuple]) -> Path:
    """Atoms as (residue, chain, num + insertion code, altloc, name, element[, x])."""
    lines = []
    for number, atoms in enumerate(models, 1):
        lines.append(f"MODEL     {number:>4}")
        for serial, (residue, chain, place, altloc, name, element, *x) in enumerate(atoms, 1):
            num, icode = (place[:-1], place[-1]) if place[-1].isalpha() else (place, " ")
            lines.append(ATOM.format(
                record="ATOM", serial=serial, name=f" {name}", altloc=altloc, residue=residue,
                chain=chain, num=num, icode=icode, x=x[0] if x else f"{serial}.125", y="0.001",
                z="-0.500", occupancy=0.5 if altloc.strip() else 1, b=20, element=element,
            ))  # fmt: skip
        lines.append("ENDMDL")
    path.write_text("\n".join([*lines, "END", ""]))
    return path


GLY_SER = [
    ("GLY", "A", "1", " ", "N", "N"),
    ("GLY", "A", "1", " ", "CA", "C"),
    ("SER", "A", "2", " ", "N", "N"),
    ("SER", "A", "2", " ", "OG", "O"),
]

MMCIF = """data_TEST
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.pdbx_PDB_ins_code
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
ATOM   1  N  N   . GLY A         1 ? 1.0004 2 3 1.0 101 heavy-chain 1
ATOM   2  C  CA  A GLY A         1 ? 1.0006 2 3 0.7 101 heavy-chain 1
ATOM   3  C  CA  B GLY A         1 ? 9      9 9 0.3 101 heavy-chain 1
ATOM   4  H  HA  . GLY A         1 ? 4      2 3 1.0 101 heavy-chain 1
ATOM   5  D  D   . GLY A         1 ? 4      2 3 1.0 101 heavy-chain 1
HETATM 6  ZN ZN  . ZN  verylongB . ? 5      2 3 0.0 201 L           1
HETATM 7  O  O   . HOH C         . ? 6      2 3 1.0 301 L           1
ATOM   8  N  N   . GLY A         1 ? 7      2 3 1.0 101 heavy-chain 2
"""


def test_an_mmcif_file_keeps_what_is_heavy_first_and_dry(tmp_path):
    path = tmp_path / "7abc.cif"
    path.write_text(MMCIF)
    atoms = read_structure(path)
    assert tuple(atoms.columns) == COLUMNS
    assert atoms.astype(object).values.tolist() == [
        ["7abc", "heavy-chain", "GLY", 101, "", "N", 1.0, 2.0, 3.0, 1.0, "protein", "G"],
        ["7abc", "heavy-chain", "GLY", 101, "", "C", np.float32(1.001), 2.0, 3.0, np.float32(0.7),
         "protein", "G"],
        ["7abc", "L", "ZN", 201, "", "Zn", 5.0, 2.0, 3.0, 0.0, "other", "X"],
    ]  # fmt: skip
    assert {str(dtype) for dtype in atoms.dtypes} == {"category", "int32", "float32"}


@pytest.mark.parametrize("name", ["1xyz.pdb.gz", "1xyz.ent", "1XYZ.PDB"])
def test_formats_and_compression_are_told_by_the_name(tmp_path, name):
    plain = write_pdb(tmp_path / "plain.pdb", GLY_SER).read_bytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(plain) if name.endswith("gz") else plain)
    atoms = read_structure(path)
    assert atoms.structure.unique().tolist() == [name.split(".")[0]]
    assert atoms.x.tolist() == [1.125, 2.125, 3.125, 4.125]
    assert read_structure(path, structure="mine").structure.unique().tolist() == ["mine"]


def test_only_the_first_model_is_read(tmp_path):
    path = write_pdb(tmp_path / "nmr.pdb", GLY_SER[:1], GLY_SER, GLY_SER)
    assert len(read_structure(path)) == 1


@pytest.mark.parametrize(
    "unwanted",
    [
        ("HOH", "A", "9", " ", "O", "O"),
        ("DOD", "A", "9", " ", "O", "O"),
        ("DUM", "A", "9", " ", "N", "N"),
        ("GLY", "A", "1", " ", "HA", "H"),
        ("GLY", "A", "1", " ", "D", "D"),
        ("UNX", "A", "9", " ", "UNK", "X"),
    ],
    ids=lambda atom: f"{atom[0]}-{atom[4]}",
)
def test_water_dummies_and_hydrogens_are_left_out(tmp_path, unwanted):
    path = write_pdb(tmp_path / "wet.pdb", [*GLY_SER, unwanted])
    assert len(read_structure(path)) == len(GLY_SER)


def test_the_first_alternate_location_of_each_residue_is_kept(tmp_path):
    path = write_pdb(tmp_path / "alt.pdb", [
        ("SER", "A", "1", " ", "N", "N"),
        ("SER", "A", "1", "A", "OG", "O"),   # kept
        ("SER", "A", "1", "B", "OG", "O"),
        ("SER", "A", "1", "B", "CB", "C"),   # another conformer's, even though A has none
        ("THR", "A", "2", "C", "N", "N"),    # kept: the first here is C
        ("THR", "A", "2", "A", "N", "N"),
        ("PRO", "A", "3", "A", "N", "N"),    # kept: the first of two residues at one place
        ("SER", "A", "3", "B", "N", "N"),
        ("SER", "A", "3", "A", "CA", "C"),
    ])  # fmt: skip
    atoms = read_structure(path)
    assert atoms.x.tolist() == [1.125, 2.125, 5.125, 7.125]


def test_of_conformers_without_letters_the_first_is_kept(tmp_path):
    path = write_pdb(tmp_path / "unlettered.pdb", [
        ("SER", "A", "1", " ", "N", "N"),
        ("SER", "A", "1", " ", "OG", "O"),   # kept
        ("SER", "A", "1", " ", "OG", "O"),
        ("LIG", "A", "2", " ", "C", "C"),    # kept, both: ligands' atoms may have one name
        ("LIG", "A", "2", " ", "C", "C"),
        ("SER", "B", "1", " ", "N", "N"),
    ])  # fmt: skip
    assert read_structure(path).x.tolist() == [1.125, 2.125, 4.125, 5.125, 6.125]


def test_chains_without_letters_keep_all_their_residues(tmp_path):
    chain = [
        ("SER", " ", str(num), " ", name, name[0]) for num in range(1, 81) for name in ("N", "CA")
    ]
    path = write_pdb(tmp_path / "dimer.pdb", [*chain, *chain])
    assert len(read_structure(path)) == 2 * len(chain)


def test_insertion_codes_tell_residues_apart(tmp_path):
    path = write_pdb(tmp_path / "ins.pdb", [
        ("GLY", "H", "100", " ", "N", "N"),
        ("GLY", "H", "100", " ", "CA", "C"),
        ("GLY", "H", "100A", " ", "N", "N"),
        ("TRP", "H", "100B", " ", "N", "N"),
        ("GLY", "L", "100B", " ", "N", "N"),
    ])  # fmt: skip
    atoms = read_structure(path)
    assert atoms.insertion_code.tolist() == ["", "", "A", "B", "B"]
    assert atoms.residue_num.tolist() == [100] * 5
    assert list_residues(atoms).num_atoms.tolist() == [2, 1, 1, 1]
    chains = list_chains(atoms)
    assert dict(zip(chains.chain, chains.sequence, strict=True)) == {"H": "GGW", "L": "G"}


def test_chains_are_told_by_kind(tmp_path):
    path = write_pdb(tmp_path / "mix.pdb", [
        ("MSE", "A", "1", " ", "N", "N"),
        ("UNK", "A", "2", " ", "CA", "C"),
        ("DA", "A", "3", " ", "P", "P"),
        ("U", "A", "4", " ", "P", "P"),
        ("HEM", "A", "5", " ", "FE", "FE"),
        ("ALA", "A", "6", " ", "N", "N"),
    ])  # fmt: skip
    chains = list_chains(read_structure(path))
    assert chains[["kind", "sequence", "num_residues"]].values.tolist() == [
        ["protein", "MXA", 3], ["nucleic", "AU", 2], ["other", "", 1],
    ]  # fmt: skip


def _drop_unused(atoms):
    return atoms.apply(lambda x: x.cat.remove_unused_categories() if x.dtype == "category" else x)


def test_a_table_written_and_loaded_is_the_same(tmp_path):
    one = read_structure(write_pdb(tmp_path / "b.pdb", GLY_SER))
    (tmp_path / "a.cif").write_text(MMCIF)
    atoms = concatenate_atoms([one, read_structure(tmp_path / "a.cif")])
    assert atoms.structure.tolist() == ["b"] * 4 + ["a"] * 3
    assert atoms.structure.cat.categories.tolist() == ["a", "b"]
    write_atoms(atoms, tmp_path / "atoms.parquet")
    pd.testing.assert_frame_equal(load_atoms(tmp_path / "atoms.parquet"), atoms)
    for name in ("a", "b"):
        write_atoms(atoms[atoms.structure == name].pipe(_drop_unused), tmp_path / f"{name}.parquet")
    both = load_all_atoms([tmp_path / "b.parquet", tmp_path / "a.parquet"])
    pd.testing.assert_frame_equal(both, atoms)
    # Whoever has no gemmi at hand gets the same numbers.
    plain = pd.read_parquet(tmp_path / "atoms.parquet")
    assert plain.x.tolist() == atoms.x.tolist()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-9_999_999, 9_999_999), min_size=3, max_size=3))
def test_coordinates_survive_to_a_thousandth(tmp_path_factory, thousandths):
    folder = tmp_path_factory.mktemp("exact")
    line = " ".join(f"{value / 1000:.3f}" for value in thousandths)
    (folder / "a.cif").write_text(MMCIF.replace("5      2 3 0.0 201", f"{line} 0.0 201"))
    atoms = read_structure(folder / "a.cif")
    write_atoms(atoms, folder / "a.parquet")
    last = load_atoms(folder / "a.parquet")[["x", "y", "z"]].iloc[-1]
    assert [round(float(value) * 1000) for value in last] == thousandths


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    atoms = read_structure(write_pdb(tmp_path / "a.pdb", GLY_SER))
    path = tmp_path / "atoms.parquet"
    write_atoms(atoms, path)
    before = path.read_bytes()

    def fail(table, where, **options):
        where.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("pyarrow.parquet.write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atoms(atoms, path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.pdb", "atoms.parquet"]


def gzip_half(path: Path) -> None:
    # Random digits, since what compresses well is over before half of the file.
    digits = "".join(np.random.default_rng(0).choice(list("0123456789"), 20_000))
    content = gzip.compress((MMCIF + "# " + digits).encode())
    path.write_bytes(content[: len(content) // 2])


BROKEN = {
    "empty.cif": ("", "empty file"),
    "blank.pdb": (" \n\n", "empty file"),
    "prose.pdb": ("hello\n", "no atoms"),
    "prose.cif": ("hello\n", r"line 1, column 0: expected block header \(data_\)"),
    "block.cif": ("data_TEST\n", "no atoms"),
    "cut.cif": (MMCIF[:-40], "line 2, column 0: Wrong number of values in loop"),
    "short.pdb": ("ATOM      1  CA  GLY A   1       1\n", "line is too short"),
    "atoms.xyz": (
        "1\n", r"unknown format; expected a name in .cif, .mmcif, .mcif, .pdb, .ent, .pdb1, "
        r"\.bcif \(or \+ \.gz, \.bz2, \.xz, \.zst\)",
    ),
    "half.cif.gz": (gzip_half, "ended before the end-of-stream marker"),
    "missing.cif": (None, "no such file or directory"),
    "folder.cif": (Path.mkdir, "is a directory"),
    "nan.cif": (
        MMCIF.replace("1.0004", "nan"), r"line 19: _atom_site.Cartn_x is 'nan', expected a number",
    ),
    "unknown.cif": (MMCIF.replace("2 3 0.0", "? 3 0.0"), r"line 24: _atom_site.Cartn_y is '\?'"),
    "far.cif": (MMCIF.replace("1.0004", "1e7"), r"are beyond ±9999.999 Å: 1e\+07, 2, 3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_in_one_line(tmp_path, name):
    content, problem = BROKEN[name]
    path = tmp_path / name
    if callable(content):
        content(path)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(StructureError, match=problem) as error:
        read_structure(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    assert "\n" not in message


def test_a_file_of_water_and_hydrogen_is_refused(tmp_path):
    path = write_pdb(tmp_path / "wet.pdb", [("HOH", "A", "1", " ", "O", "O")])
    with pytest.raises(StructureError, match=r"wet\.pdb: no heavy atoms remain; left out: water 1"):
        read_structure(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path):
    path = write_pdb(tmp_path / "mine.pdb", GLY_SER)
    path.chmod(0)
    with pytest.raises(StructureError, match=r"mine\.pdb: permission denied"):
        read_structure(path)


@settings(deadline=None, max_examples=30)
@given(content=st.binary(max_size=400), suffix=st.sampled_from([".cif", ".pdb", ".cif.gz"]))
def test_any_bytes_give_atoms_or_a_structure_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(content)
    try:
        read_structure(path)
    except StructureError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, len(MMCIF)), st.binary(max_size=8))
def test_a_damaged_file_gives_atoms_or_a_structure_error(tmp_path_factory, start, damage):
    path = tmp_path_factory.getbasetemp() / "damaged.cif"
    content = MMCIF.encode()
    path.write_bytes(content[:start] + damage + content[start + len(damage) :])
    try:
        read_structure(path)
    except StructureError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "no such file or directory"), (b"hello", "not a Parquet file: .*[Pp]arquet")],
)
def test_what_is_not_parquet_is_named(tmp_path, content, problem):
    path = tmp_path / "atoms.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StructureError, match=rf"atoms\.parquet: {problem}"):
        load_atoms(path)


def test_atoms_that_lack_columns_are_neither_written_nor_loaded(tmp_path):
    atoms = read_structure(write_pdb(tmp_path / "a.pdb", GLY_SER)).drop(columns=["z", "element"])
    problem = r"atoms\.parquet: no column element, z; atoms have structure, chain"
    with pytest.raises(StructureError, match=problem):
        write_atoms(atoms, tmp_path / "atoms.parquet")
    atoms.to_parquet(tmp_path / "atoms.parquet")
    with pytest.raises(StructureError, match=problem):
        load_atoms(tmp_path / "atoms.parquet")
