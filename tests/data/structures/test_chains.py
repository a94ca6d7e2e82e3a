"""Kinds and letters of residues: gemmi's table of names, and residues written by hand."""

import gemmi
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atompaint_vae.data.structures.chains import classify_names, classify_residues, list_chains
from atompaint_vae.data.structures.table import load_atoms, read_structure, write_atoms

PEPTIDE = "N CA C O CB"
SUGAR = "P OP1 OP2 O5' C5' C4' O4' C3' O3' C2' C1'"
ADENINE = "N9 C8 N7 C5 C6 N6 N1 C2 N3 C4"
GUANINE = "N9 C8 N7 C5 C6 O6 N1 C2 N2 N3 C4"
CYTOSINE = "N1 C2 O2 N3 C4 N4 C5 C6"
THYMINE = "N1 C2 O2 N3 C4 O4 C5 C7 C6"
# The atoms of these ligands, as the PDB's dictionary of components has them.
AMP = "P O1P O2P O3P O5' C5' C4' O4' C3' O3' C2' O2' C1' " + ADENINE
SAM = "N CA C O OXT CB CG SD CE C5' C4' O4' C3' O3' C2' O2' C1' " + ADENINE
URIDINE = "N1 C2 N3 C4 C5 C6 O2 O4 C1' C2' C3' C4' O2' O3' O4' C5' O5'"


def make_atoms(*residues: tuple[str, str], chain="A", first=1, step=1) -> pd.DataFrame:
    """Atoms of a chain's residues, each a name and the names of its atoms."""
    rows = [
        (chain, name, first + step * place, "", atom)
        for place, (name, atoms) in enumerate(residues) for atom in atoms.split()
    ]  # fmt: skip
    columns = ["chain", "residue", "residue_num", "insertion_code", "name"]
    return pd.DataFrame(rows, columns=columns)


def classify(*residues, bond_A=None, **places) -> list[tuple[str, str]]:
    """The kind and the letter of each residue; atoms are 3 Å apart, the bonded ones bond_A."""
    atoms = make_atoms(*residues, **places)
    positions_A = np.arange(len(atoms))[:, None] * [3.0, 0.0, 0.0]
    if bond_A:
        ends = [("C", "N"), ("O3'", "P")]
        for num in range(1, len(residues)):
            for tail, head in ends:
                own = np.flatnonzero((atoms["name"] == tail) & (atoms.residue_num == num))
                other = np.flatnonzero((atoms["name"] == head) & (atoms.residue_num == num + 1))
                if len(own) and len(other):
                    positions_A[other] = positions_A[own] + [0.0, bond_A, 0.0]
    columns = {name: atoms[name].to_numpy() for name in atoms}
    kinds, codes = classify_residues(columns, positions_A)
    found = pd.DataFrame({"kind": kinds, "code": codes})
    own = found.groupby(atoms.residue_num, sort=False)
    assert (own.nunique() == 1).all(axis=None)
    return [tuple(row) for row in own.first().to_numpy().tolist()]


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ("ARN ARGN", "R"), ("CYX CYM CYSH CYS2 NCYX CCYX", "C"), ("ASH ASPH ASPP CASH", "D"),
        ("GLH GLUH GLUP", "E"), ("HID HIE HIP HSD HSE HSP HISA HISB HISH NHIE CHIP", "H"),
        ("LYN LYSH LSN", "K"), ("NALA CALA", "A"), ("NGLY CGLY", "G"), ("NMET", "M"),
        ("TYM", "Y"),
    ],
)  # fmt: skip
def test_amino_acids_of_force_fields_count_as_those_they_are(names, code):
    for name in names.split():
        # In a file of the alpha carbons too, and alone.
        for atoms in (PEPTIDE, "CA"):
            assert classify((name, atoms)) == [("protein", code)], name


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ("ADE A5 A3 AN RA RA5 RA3 RAN DA5 DA3 DAN DADE RADE", "A"),
        ("CYT C5 RC RC3 DC5 DCYT", "C"), ("GUA G3 RG5 DGN DGUA", "G"),
        ("THY T DT5 DTHY", "T"), ("URA U5 RU3 RURA", "U"),
    ],
)  # fmt: skip
def test_nucleotides_of_force_fields_count_as_those_they_are(names, code):
    for name in names.split():
        for atoms in (SUGAR, SUGAR.replace("'", "*"), "P", "P C1' N1 C2 O2"):
            assert classify((name, atoms)) == [("nucleic", code)], name


def test_ligands_with_the_names_of_force_fields_stay_ligands():
    # Of the PDB: adenine, uracil, an inhibitor of neuraminidase, ruthenium.
    for name, atoms in [("ADE", ADENINE), ("URA", "N1 C2 O2 N3 C4 O4 C5 C6"),
                        ("DAN", "C1 O1A O1B C2 C3 C4 O4 C5 N5"), ("RU", "RU")]:  # fmt: skip
        assert classify((name, atoms)) == [("other", "X")], name


def test_modified_residues_belong_to_the_polymer_around_them():
    assert classify(("ALA", PEPTIDE), ("ZZ1", PEPTIDE), ("GLY", "N CA C O")) == [
        ("protein", "A"), ("protein", "X"), ("protein", "G"),
    ]  # fmt: skip
    # A ligand between them, or an acetyl group.
    assert classify(("ALA", PEPTIDE), ("ZZ1", "C1 C2 O1"), ("ACE", "C O CH3"))[1:] == [
        ("other", "X"), ("other", "X"),
    ]  # fmt: skip
    bases = [ADENINE, GUANINE, CYTOSINE, THYMINE, "N1 C2 O2", "N9 C8"]
    residues = [(f"Z{place}", f"{SUGAR} {base}") for place, base in enumerate(bases)]
    residues.append(("ZU", f"{SUGAR} O2' {THYMINE}"))
    assert classify(("DA", SUGAR), *residues, ("DA", SUGAR)) == [
        ("nucleic", letter) for letter in "AAGCTXXUA"
    ]  # fmt: skip


def test_the_ends_of_a_polymer_are_bonded_to_it():
    """Unlike S-adenosylhomocysteine, which is the residue after the last one of 3MHT."""
    for residues, kind in [
        ([("ZZ1", PEPTIDE), ("ALA", PEPTIDE), ("ZZ2", PEPTIDE)], "protein"),
        # The 5' end has no phosphate.
        ([("ZZ1", SUGAR[10:]), ("U", SUGAR), ("ZZ2", SUGAR)], "nucleic"),
    ]:
        for bond_A, expected in [(1.4, kind), (2.3, kind), (2.5, "other"), (None, "other")]:
            first, middle, last = classify(*residues, bond_A=bond_A)
            assert (first[0], middle[0], last[0]) == (expected, kind, expected)


def test_polymers_of_unknown_names_only_are_known_by_their_atoms():
    assert classify(*[(f"Z{i}", PEPTIDE) for i in range(4)]) == 4 * [("protein", "X")]
    assert classify(*[(f"Z{i}", SUGAR) for i in range(4)]) == 4 * [("nucleic", "X")]
    # As other ligands with such atoms: alone, a few, or numbered apart.
    assert classify(*3 * [("ZZ1", PEPTIDE)]) == 3 * [("other", "X")]
    assert classify(*4 * [("ZZ1", PEPTIDE)], step=2) == 4 * [("other", "X")]


def test_ligands_that_resemble_residues_stay_ligands():
    for name, atoms in [("AMP", AMP), ("SAM", SAM), ("URI", URIDINE)]:
        assert classify(("ALA", PEPTIDE), (name, atoms), step=100)[1] == ("other", "X")
        assert classify(*3 * [(name, atoms)]) == 3 * [("other", "X")]
    # Next to a polymer of the other kind.
    assert classify(("ALA", PEPTIDE), ("AMP", AMP))[1] == ("other", "X")


def test_an_unknown_residue_without_a_backbone_is_a_ligand(tmp_path):
    assert classify(("UNK", "CA"), ("UNK", PEPTIDE)) == 2 * [("protein", "X")]
    assert classify(("UNK", "C C C C C N N O O")) == [("other", "X")]
    assert classify() == []


def test_names_of_common_components_have_the_kind_that_gemmi_gives():
    names = "ALA MSE SEP DAL DGN ASX PYL DA U PSU 7MG I DU HEM NAG ZN SO4 ATP ACE"
    for name in names.split():
        info = gemmi.find_tabulated_residue(name)
        kind = (
            "protein" if info.is_amino_acid() else "nucleic" if info.is_nucleic_acid() else "other"
        )  # fmt: skip
        letter = info.one_letter_code.strip().upper() or "X"
        assert classify((name, "C1")) == [(kind, letter)]
        assert classify_names(pd.Series([name])).to_numpy().tolist() == [[kind, letter]]


def test_of_names_alone_those_of_the_pdb_are_known():
    names = ["DA", "U", None, "GLY", "UNK", "HIE", "HOH"]
    found = classify_names(pd.Series(names, index=[*"abcdefg"]))
    assert found.index.tolist() == [*"abcdefg"]
    assert found.kind.tolist() == [
        "nucleic", "nucleic", "other", "protein", "protein", "other", "other",
    ]  # fmt: skip
    assert found.code.tolist() == [*"AUXGXXX"]


@given(st.data())
def test_any_name_may_stand_for_any_residue_of_a_polymer(data):
    """A chain of standard residues, some of them renamed: only their letters are lost."""
    kind = data.draw(st.sampled_from(["protein", "nucleic"]))
    backbone = PEPTIDE if kind == "protein" else SUGAR
    letters = data.draw(st.lists(st.sampled_from(["GLY", "ALA", "SER"] if kind == "protein"
                                                 else ["A", "C", "DG"]), min_size=1))  # fmt: skip
    new = st.text("ABCXYZ0189", min_size=1, max_size=5).filter(
        lambda name: not gemmi.find_tabulated_residue(name).found()
    )
    at = data.draw(st.integers(0, len(letters)))
    modified = [(data.draw(new), backbone) for _ in range(data.draw(st.integers(0, 3)))]
    residues = [(name, backbone) for name in letters]
    found = classify(*residues[:at], *modified, *residues[at:], bond_A=1.4)
    assert {own for own, _ in found} == {kind}
    known = found[:at] + found[at + len(modified) :]
    assert "".join(code for _, code in known) == "".join(
        gemmi.find_tabulated_residue(name).one_letter_code for name in letters
    )


def write_pdb(path, residues: list[tuple[str, str]]) -> None:
    line = "ATOM  {:>5} {:<4}{:>4} A{:>4}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          {:>2}"
    places = np.random.default_rng(0).uniform(0, 50, (1000, 3))
    lines = []
    for num, (residue, atoms) in enumerate(residues, 1):
        for name in atoms.split():
            serial = len(lines)
            lines.append(
                line.format(serial + 1, f" {name}", residue, num, *places[serial], name[0])
            )
    path.write_text("\n".join([*lines, "END", ""]))


def test_chains_of_a_file_have_their_sequence_and_names(tmp_path):
    write_pdb(tmp_path / "a.pdb", [
        ("HIE", PEPTIDE), ("ZZ1", PEPTIDE), ("LYN", PEPTIDE), ("ADE", SUGAR), ("ZZ2", AMP),
        ("URA", "P"),
    ])  # fmt: skip
    chains = list_chains(read_structure(tmp_path / "a.pdb"))
    assert chains[["kind", "num_residues", "sequence", "names"]].to_numpy().tolist() == [
        ["protein", 3, "HXK", "HIE ZZ1 LYN"], ["nucleic", 3, "AAU", "ADE ZZ2 URA"],
    ]  # fmt: skip


def test_files_without_kinds_are_read_by_the_names(tmp_path):
    write_pdb(tmp_path / "a.pdb", [("HIE", PEPTIDE), ("ALA", PEPTIDE), ("U", SUGAR)])
    atoms = read_structure(tmp_path / "a.pdb")
    write_atoms(atoms, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(load_atoms(tmp_path / "a.parquet"), atoms)
    atoms.drop(columns=["kind", "code"]).to_parquet(tmp_path / "old.parquet")
    old = load_atoms(tmp_path / "old.parquet")
    pd.testing.assert_frame_equal(
        old.drop(columns=["kind", "code"]), atoms.drop(columns=["kind", "code"])
    )
    assert old.kind[old.residue != "HIE"].tolist() == atoms.kind[atoms.residue != "HIE"].tolist()
    assert set(old.kind[old.residue == "HIE"]) == {"other"}
    assert set(atoms.kind[atoms.residue == "HIE"]) == {"protein"}
