"""Files as programs write them, each a few lines by hand, with the atoms counted by hand."""

import bz2
import gzip
import lzma

import gemmi
import numpy as np
import pyarrow as pa
import pytest

from atompaint_vae.data.structures.elements import guess_element
from atompaint_vae.data.structures.formats import parse_structure
from atompaint_vae.data.structures.lines import StructureError
from atompaint_vae.data.structures.selection import describe_counts
from atompaint_vae.data.structures.table import read_entry, read_structure


def make_line(
    name=" CA ", residue="ALA ", chain="A", number="   1", x="0.000", y="0.000", element="C",
    serial=1, altloc=" ", occupancy="1.00", segment="", record="ATOM",
) -> str:  # fmt: skip
    """A line of the format; residue includes the column before the chain's letter."""
    return (
        f"{record:<6}{serial:>5} {name:<4}{altloc}{residue:<4}{chain:1}{number:>4}    "
        f"{x:>8}{y:>8}{'0.000':>8}{occupancy:>6}{'10.00':>6}      {segment:<4}{element:>2}"
    )


def write(path, *lines):
    path.write_text("\n".join([*lines, ""]))
    return path


def make_peptide(num, chain="A", offset_A=0, numbers=None, residue="ALA "):
    """N, CA, C of residues 3.8 Å apart."""
    return [
        make_line(f" {name:<3}", residue, chain, numbers[i] if numbers else str(i + 1),
                  x=f"{offset_A + 3.8 * i + k:.3f}", element=name[0])
        for i in range(num) for k, name in enumerate(("N", "CA", "C"))
    ]  # fmt: skip


# source: wwpdb.org's dictionary of components, and the topologies of CHARMM, Amber and GROMACS
GUESSES = [
    # residue, name, aligned, element
    ("HIS", "CA", False, "C"), ("HIS", "HG1", False, "H"), ("CYS", "HG", False, "H"),
    ("HSD", "CD2", False, "C"), ("CYX", "SG", False, "S"), ("MSE", "SE", False, "Se"),
    ("ALA", "SC1", False, ""), ("ALA", "BB", True, ""),
    ("ALA", "1HB", False, "H"), ("DA", "O5'", False, "O"), ("A", "P", False, "P"),
    ("ALA", "OXT", False, "O"), ("ALA", "HB1", True, "H"), ("LYS", " CE ", True, "C"),
    ("POT", "POT", False, "K"), ("SOD", "SOD", False, "Na"), ("CLA", "CLA", False, "Cl"),
    ("CAL", "CAL", False, "Ca"), ("CES", "CES", False, "Cs"), ("ZN2", "ZN", False, "Zn"),
    ("NA+", "NA+", False, "Na"), ("Cl-", "Cl-", False, "Cl"), ("FE2", "FE", False, "Fe"),
    ("CA", "CA", False, "Ca"), ("K", " K  ", True, "K"), ("IOD", " I  ", True, "I"),
    ("ION", "SOD", False, "Na"), ("CD", " CD ", True, "Cd"), ("HG", "HG", False, "Hg"),
    ("CLA", "MG", False, "Mg"), ("CLA", "CHA", False, "C"), ("CLA", "NA", False, "N"),
    ("HEM", "FE", False, "Fe"), ("HEM", " NA ", True, "N"), ("HEM", "NB", False, "N"),
    ("HEM", "CAA", False, "C"), ("ATP", "PA", False, "P"), ("ATP", " PB ", True, "P"),
    ("LIG", "CL1", False, "Cl"), ("LIG", " BR2", True, "Br"), ("LIG", "C10", False, "C"),
    ("LIG", "CD  ", True, "Cd"), ("LIG", " CD ", True, "C"), ("B12", "CO", False, "Co"),
    ("POPC", "C210", True, "C"), ("SF4", "FE1", False, "Fe"), ("5IU", "I5", False, "I"),
    ("LIG", "LP1", False, "dummy"), ("LIG", "EP", False, "dummy"),
    ("UNX", " U  ", True, ""), ("LIG", "X1", False, ""), ("LIG", "1", False, ""),
]  # fmt: skip


@pytest.mark.parametrize(("residue", "name", "is_aligned", "element"), GUESSES)
def test_names_tell_the_element(residue, name, is_aligned, element):
    assert guess_element(name, residue, is_aligned) == element


def test_names_at_the_left_edge_are_those_in_the_middle(tmp_path):
    names = ["N", "CA", "C", "O", "CB", "SG", "HG", "ND1"]
    left = write(tmp_path / "left.pdb", *(
        make_line(name, "CYS ", x=f"{i}.0", element="") for i, name in enumerate(names)
    ))
    entry = read_entry(left)
    assert entry.atoms.element.tolist() == ["N", "C", "C", "O", "C", "S", "N"]
    assert entry.counts["guessed_elements"] == 7
    assert entry.counts["left_out_hydrogens"] == 1


def test_a_line_of_the_old_format_leaves_the_others_elements(tmp_path):
    path = write(
        tmp_path / "old.pdb", make_line(" XA1", "LG1 ", element="O"),
        make_line(x="9.0", element="")[:72] + "1XYZ1839",
    )  # fmt: skip
    entry = read_entry(path)
    assert entry.atoms.element.tolist() == ["O", "C"]
    assert entry.counts["guessed_elements"] == 1


COORDINATES = {
    "stars": (30, "********"), "blanks": (30, " " * 24), "letters": (38, "   1.0x0"),
    "too wide": (29, "12345.678"), "too wide, inside": (37, "-1234.567"),
    "shifted": (30, "     0.000   0.000   0.000"), "two numbers": (30, "1.0 2.00"),
    "not a number": (46, "     nan"), "shifted, no blanks": (31, "1000.0002000.0003000.000"),
}  # fmt: skip


@pytest.mark.parametrize("case", COORDINATES)
def test_coordinates_that_are_no_numbers_are_refused_with_their_line(tmp_path, case):
    column, text = COORDINATES[case]
    line = make_line(x="5.0")
    line = line[:column] + text + line[column + len(text) :]
    path = write(tmp_path / "bad.pdb", "REMARK", make_line(), line)
    with pytest.raises(StructureError, match=r"bad\.pdb: line 3: expected three coordinates in co"):
        read_structure(path)


def test_lines_in_lower_case_are_atoms(tmp_path):
    lines = [line.lower() for line in make_peptide(3)]
    path = write(tmp_path / "a.pdb", *lines, "end")
    atoms = read_structure(path)
    assert atoms.element.tolist() == ["N", "C", "C"] * 3
    assert atoms.kind.tolist() == ["protein"] * 9
    assert parse_structure(path)[0].count_atom_sites() == 9


def test_wide_and_left_aligned_numbers_are_read(tmp_path):
    path = write(
        tmp_path / "wide.pdb", make_line(x="-123.456", y="-999.999"),
        make_line(x="1.5     ", y="2", number="2"), make_line(x="-1.0E+02", number="3"),
    )  # fmt: skip
    assert read_structure(path)[["x", "y"]].values.tolist() == [
        [np.float32(-123.456), np.float32(-999.999)], [1.5, 2], [-100, 0],
    ]  # fmt: skip


@pytest.mark.parametrize("ter", [["TER"], []])
def test_copies_without_chain_letters_are_chains(tmp_path, ter):
    lines = [*make_peptide(20, " "), *ter, *make_peptide(20, " ", 100)]
    entry = read_entry(write(tmp_path / "copies.pdb", *lines))
    sizes = entry.atoms.groupby("chain", observed=True).size()
    assert sizes.to_dict() == {"": 60, "2": 60}
    assert entry.counts["guessed_chains"] == 1


def test_unlike_chains_without_letters_are_told_apart_by_ter_from_their_first_residue(tmp_path):
    lines = [*make_peptide(5, " "), "TER", *make_peptide(5, " ", 100, residue="GLY "), "TER",
             make_line(" C1 ", "LIG ", " ", "1", y="9")]  # fmt: skip
    atoms = read_structure(write(tmp_path / "two.pdb", *lines))
    assert atoms.chain.tolist() == [""] * 15 + ["2"] * 16


def test_unlike_copies_of_one_letter_are_told_apart_by_their_numbers(tmp_path):
    lines = [*make_peptide(5), *make_peptide(5, offset_A=100, residue="GLY ")]
    atoms = read_structure(write(tmp_path / "two.pdb", *lines))
    assert atoms.chain.tolist() == ["A"] * 15 + ["A2"] * 15


def test_numbers_that_go_on_after_ter_are_another_chain_without_a_letter(tmp_path):
    for chain, names in ((" ", ["", "2"]), ("A", ["A", "A"])):
        lines = [*make_peptide(3, chain), "TER",
                 *make_peptide(3, chain, 50, numbers=["4", "5", "6"])]  # fmt: skip
        atoms = read_structure(write(tmp_path / "two.pdb", *lines))
        assert atoms.chain.tolist() == [names[0]] * 9 + [names[1]] * 9


def test_the_entrys_name_in_the_old_format_is_no_chain(tmp_path):
    line = make_line(chain=" ")[:72] + "1XYZ1839"
    assert read_structure(write(tmp_path / "old.pdb", line)).chain.tolist() == [""]


def test_residues_of_one_number_do_not_merge_across_ter(tmp_path):
    path = write(tmp_path / "ter.pdb", make_line(), "TER", make_line(x="9.0"))
    assert read_structure(path).chain.tolist() == ["A", "A2"]


def test_ligands_after_ter_stay_in_their_chain(tmp_path):
    lines = [*make_peptide(3), "TER", *make_peptide(3, "B", 50), "TER",
             make_line("FE  ", "HEM ", number="1", y="9", element="FE"),
             make_line(" C1 ", "HEM ", number="1", y="8")]  # fmt: skip
    assert read_structure(write(tmp_path / "heme.pdb", *lines)).chain.tolist() == [
        *"A" * 9, *"B" * 9, *"A" * 2,
    ]  # fmt: skip


def test_segments_are_chains_where_there_is_no_letter(tmp_path):
    lines = [
        make_line(number=str(i), chain=" ", x=f"{4 * i}.0", y=y, segment=segment)
        for segment, y in (("PROA", "0"), ("PROB", "30")) for i in range(3)
    ]  # fmt: skip
    assert read_structure(write(tmp_path / "seg.pdb", *lines)).chain.tolist() == [
        *["PROA"] * 3, *["PROB"] * 3,
    ]  # fmt: skip


def test_names_of_four_letters_and_chains_of_two(tmp_path):
    long_names = write(tmp_path / "long.pdb", make_line(residue="LYSH"),
                       make_line(number="2"), make_line(" P  ", "POPC", number="3", element="P"))
    atoms = read_structure(long_names)
    assert atoms.residue.tolist() == ["LYSH", "ALA", "POPC"]
    assert set(atoms.chain) == {"A"}
    long_chains = write(tmp_path / "chains.pdb", make_line(residue="LYSH"),
                        make_line(residue="GLYH", number="2"))
    assert read_structure(long_chains).chain.tolist() == ["HA", "HA"]


NUMBERS = {
    "stars": (["9998", "9999", "****", "****", "****"], [9998, 9999, 10000, 10001, 10002], 3),
    "blank": (["", "", ""], [1, 2, 3], 3),
    "wrapped to 0": (["9998", "9999", "0", "1"], [9998, 9999, 10000, 10001], 0),
    "wrapped to 1": (["9999", "1", "2"], [9999, 10000, 10001], 0),
    "hexadecimal": (["9999", "2710", "2711", "271a"], [9999, 10000, 10001, 10010], 0),
    "hybrid-36": (["9999", "A000", "A001"], [9999, 10000, 10001], 0),
    "all the same": (["1", "1", "1"], [1, 2, 3], 2),
    "negative": (["-2", "-1", "0"], [-2, -1, 0], 0),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_each_residue_has_a_number_of_its_own(tmp_path, case):
    texts, numbers, num_stand_ins = NUMBERS[case]
    lines = make_peptide(len(texts), numbers=texts)
    entry = read_entry(write(tmp_path / "numbers.pdb", *lines))
    assert entry.atoms.residue_num.tolist() == [x for x in numbers for _ in range(3)]
    assert set(entry.atoms.chain) == {"A"}
    assert entry.counts["guessed_residue_numbers"] == num_stand_ins


def test_a_fifth_digit_is_no_insertion_code(tmp_path):
    line = make_line(number="1234")
    atoms = read_structure(write(tmp_path / "five.pdb", line[:26] + "5" + line[27:]))
    assert (atoms.residue_num[0], atoms.insertion_code[0]) == (12345, "")


def test_identical_atoms_are_left_out_however_far_apart(tmp_path):
    lines = [make_line(serial=12273), *make_peptide(200, "B"), make_line(serial=3), make_line()]
    entry = read_entry(write(tmp_path / "same.pdb", *lines))
    assert len(entry.atoms) == 601
    assert entry.counts["left_out_duplicates"] == 2


def test_serials_of_stars_and_hydrogens_at_the_end_change_nothing(tmp_path):
    lines = [
        *make_peptide(3), make_line(" H  ", number="1", y="1", element="H"),
        make_line(" CB ", number="1", y="2"), make_line(" CB ", number="2", y="2"),
    ]  # fmt: skip
    lines = [x[:6] + "*****" + x[11:] for x in lines]
    atoms = read_structure(write(tmp_path / "stars.pdb", *lines))
    assert set(atoms.chain) == {"A"}
    assert len(atoms) == 11


@pytest.mark.parametrize("water", ["OPC", "WTR", "T3P", "T4P", "TIP3", "TIP4", "SPCE", "SOL"])
def test_waters_of_force_fields_are_water(tmp_path, water):
    path = write(tmp_path / "wet.pdb", make_line(), make_line(" OW ", f"{water:<4}", element="O"),
                 make_line(" MW ", f"{water:<4}", element=""))  # fmt: skip
    entry = read_entry(path)
    assert (len(entry.atoms), entry.counts["left_out_water"]) == (1, 2)


def test_a_ligand_with_the_name_of_a_water_is_kept(tmp_path):
    # OPC is a phospholipid of the PDB, too.
    path = write(tmp_path / "opc.pdb", make_line(" P  ", "OPC ", element="P"),
                 make_line(" O1 ", "OPC ", element="O", x="1.5"))  # fmt: skip
    assert len(read_structure(path)) == 2


@pytest.mark.parametrize(("name", "element"), [(" LP1", "EP"), (" EP ", ""), (" M  ", "M")])
def test_sites_without_an_atom_are_counted(tmp_path, name, element):
    path = write(tmp_path / "site.pdb", make_line(), make_line(name, element=element, x="2.0"))
    entry = read_entry(path)
    assert (len(entry.atoms), entry.counts["left_out_dummies"]) == (1, 1)


def test_ligands_called_unk_keep_repeated_names(tmp_path):
    ligand = [make_line(" C  ", "UNK ", x=f"{1.5 * i}") for i in range(6)]
    assert len(read_structure(write(tmp_path / "ligand.pdb", *ligand))) == 6
    residue = [make_line(f" {x:<3}", "UNK ", x=f"{i}", element=x[0])
               for i, x in enumerate(["N", "CA", "C", "C"])]  # fmt: skip
    assert len(read_structure(write(tmp_path / "residue.pdb", *residue))) == 3


def test_what_follows_an_end_is_read_if_it_is_new(tmp_path):
    path = write(tmp_path / "end.pdb", make_line(), "END", make_line(chain="B", x="9.0"), "END")
    entry = read_entry(path)
    assert entry.atoms.chain.tolist() == ["A", "B"]
    assert entry.counts["guessed_pieces"] == 1
    path = write(tmp_path / "frames.pdb", make_line(), "END", make_line(x="9.0"), "END")
    entry = read_entry(path)
    assert (len(entry.atoms), entry.num_models, entry.counts["left_out_models"]) == (1, 2, 1)


def test_two_models_of_one_number_are_two_models(tmp_path):
    model = ["MODEL        1", make_line(), "ENDMDL"]
    entry = read_entry(write(tmp_path / "models.pdb", *model, *model, "END"))
    assert (len(entry.atoms), entry.num_models, entry.counts["left_out_models"]) == (1, 2, 1)


@pytest.mark.parametrize(("offset_A", "chains"), [(50, {"A": 9, "A2": 9}), (0.3, {"A": 9})])
def test_models_of_an_assembly_are_read_together_unless_they_overlap(tmp_path, offset_A, chains):
    models = [
        x for number, offset in enumerate((0, offset_A), 1)
        for x in (f"MODEL     {number:>4}", *make_peptide(3, offset_A=offset), "ENDMDL")
    ]  # fmt: skip
    path = write(tmp_path / "1abc.pdb1", *models)
    atoms = read_structure(path)
    assert atoms.groupby("chain", observed=True).size().to_dict() == chains
    assert set(atoms.structure) == {"1abc"}
    assert len(read_structure(path.rename(tmp_path / "1abc.pdb"))) == 9


def test_the_location_of_the_highest_occupancy(tmp_path):
    path = write(
        tmp_path / "alt.pdb", make_line(" N  ", "SER ", element="N"),
        make_line(" OG ", "SER ", x="1.0", element="O", altloc="A", occupancy="0.40"),
        make_line(" OG ", "SER ", x="2.0", element="O", altloc="B", occupancy="0.60"),
        make_line(" N  ", "PRO ", number="2", x="3.0", altloc="A", occupancy="0.50"),
        make_line(" N  ", "SER ", number="2", x="4.0", altloc="B", occupancy="0.50"),
    )  # fmt: skip
    assert read_structure(path).x.tolist() == [0, 1, 3]
    entry = read_entry(path, altloc="occupancy")
    assert entry.atoms.x.tolist() == [0, 2, 3]
    assert entry.counts["left_out_alternates"] == 2


@pytest.mark.parametrize("encode", [
    lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"\n", b"\r"),
    lambda text: text.replace(b"\n", b"\r\n"), lambda text: text.decode().encode("utf-16"),
    gzip.compress, bz2.compress, lzma.compress, lambda text: text,
    lambda text: pa.compress(text, "zstd", asbytes=True),
])  # fmt: skip
@pytest.mark.parametrize("suffix", [".pdb.gz", ".cif.gz"])
def test_the_content_tells_how_it_is_encoded(tmp_path, encode, suffix):
    path = write(tmp_path / "plain.pdb", *make_peptide(2))
    if suffix == ".cif.gz":
        text = gemmi.read_structure(str(path)).make_mmcif_document().as_string()
        (tmp_path / "plain.cif").write_text(text)
    text = (tmp_path / f"plain{suffix[:-3]}").read_bytes()
    (tmp_path / f"coded{suffix}").write_bytes(encode(text))
    atoms = read_structure(tmp_path / f"coded{suffix}")
    assert atoms.x.tolist() == [np.float32(x) for x in (0, 1, 2, 3.8, 4.8, 5.8)]


def test_the_content_tells_the_format(tmp_path):
    path = write_cif(tmp_path / "x.cif", TAGS)
    assert len(read_structure(path.rename(tmp_path / "x.ent"))) == 1
    path = write(tmp_path / "x.cif", make_line())
    assert len(read_structure(path)) == 1


@pytest.mark.parametrize("name", ["a.pdb.gz", "a.ent.bz2", "a.pdb.xz", "a.pdb12.zst", "a.pdb1"])
def test_names_of_compressed_files(tmp_path, name):
    assert set(read_structure(write(tmp_path / name, make_line())).structure) == {"a"}


TAGS = {"group_PDB": "ATOM", "id": "1", "type_symbol": "Zn", "label_atom_id": "ZN",
        "label_alt_id": ".", "label_comp_id": "ZN", "label_asym_id": "B", "label_seq_id": ".",
        "pdbx_PDB_ins_code": "?", "Cartn_x": "1.5(2)", "Cartn_y": "2", "Cartn_z": "3",
        "occupancy": "1.0", "auth_seq_id": "7", "auth_asym_id": "A"}  # fmt: skip


def write_cif(path, tags):
    names = [f"_atom_site.{x}" for x in tags]
    return write(path, "data_x", "loop_", *names, " ".join(tags.values()))


@pytest.mark.parametrize("missing", [
    "group_PDB", "id", "type_symbol", "label_alt_id", "label_asym_id", "label_seq_id",
    "pdbx_PDB_ins_code", "occupancy", "auth_seq_id", "auth_asym_id",
])  # fmt: skip
def test_columns_that_an_mmcif_file_may_lack(tmp_path, missing):
    tags = {name: value for name, value in TAGS.items() if name != missing}
    entry = read_entry(write_cif(tmp_path / "x.cif", tags))
    atom = entry.atoms.iloc[0]
    assert (atom.element, atom.residue, atom.x, atom.occupancy) == ("Zn", "ZN", 1.5, 1)
    assert atom.chain == ("B" if missing == "auth_asym_id" else "A")
    assert atom.residue_num == (1 if missing == "auth_seq_id" else 7)
    guessed = {"type_symbol": "elements 1", "auth_seq_id": "residue numbers 1",
               "occupancy": "occupancies 1"}  # fmt: skip
    assert describe_counts(entry.counts).removeprefix("guessed: ") == guessed.get(missing, "")


def test_a_missing_value_is_read_from_the_other_column(tmp_path):
    tags = TAGS | {"auth_seq_id": "?", "label_seq_id": "12", "auth_asym_id": "."}
    atom = read_structure(write_cif(tmp_path / "x.cif", tags)).iloc[0]
    assert (atom.chain, atom.residue_num) == ("B", 12)


REFUSED = {
    "label_comp_id": r"no column _atom_site\.label_comp_id or _atom_site\.auth_comp_id",
    "label_atom_id": r"no column _atom_site\.label_atom_id or _atom_site\.auth_atom_id",
    "Cartn_x": r"no column _atom_site\.Cartn_x", "Cartn_z": r"no column _atom_site\.Cartn_z",
}  # fmt: skip


@pytest.mark.parametrize("missing", REFUSED)
def test_columns_that_an_mmcif_file_must_have_are_named(tmp_path, missing):
    tags = {name: value for name, value in TAGS.items() if name != missing}
    with pytest.raises(StructureError, match=rf"x\.cif: {REFUSED[missing]}$"):
        read_structure(write_cif(tmp_path / "x.cif", tags))


def test_other_kinds_of_cif_are_named(tmp_path):
    crystal = ["data_x", "_cell_length_a 5", "loop_", "_atom_site_label", "_atom_site_fract_x",
               "C1 0.1"]  # fmt: skip
    with pytest.raises(StructureError, match=r"x\.cif: fractional coordinates .* of a small molec"):
        read_structure(write(tmp_path / "x.cif", *crystal))
    component = ["data_ALA", "loop_", "_chem_comp_atom.comp_id", "_chem_comp_atom.atom_id", "ALA N"]
    with pytest.raises(StructureError, match=r"x\.cif: a description of a chemical component"):
        read_structure(write(tmp_path / "x.cif", *component))


def test_other_blocks_are_counted(tmp_path):
    path = write_cif(tmp_path / "x.cif", TAGS)
    path.write_text(path.read_text() + path.read_text().replace("data_x", "data_y"))
    entry = read_entry(path)
    assert (len(entry.atoms), entry.counts["left_out_blocks"]) == (1, 1)


def test_atoms_of_unknown_element_are_counted_or_named(tmp_path):
    unknown = make_line(" X  ", "SYS ", element="", x="5.0")
    entry = read_entry(write(tmp_path / "a.pdb", make_line(), unknown))
    assert (len(entry.atoms), entry.counts["left_out_unknown"]) == (1, 1)
    with pytest.raises(StructureError, match=(
        r"b\.pdb: no heavy atoms remain; left out: unknown elements 1; line 1 has no element, and "
        r"none is known for atom 'X' of residue 'SYS'"
    )):
        read_structure(write(tmp_path / "b.pdb", unknown))


def test_painting_sees_the_guessed_elements_and_the_first_model_only(tmp_path):
    atoms = [make_line("CA  ", element=""), make_line("N   ", element="", x="1.5")]
    model = ["MODEL        1", *atoms, "ENDMDL"]
    structure = parse_structure(write(tmp_path / "a.pdb", *model, *model))
    assert [x.atom.element.name for x in structure[0].all()] == ["C", "N"]
    tags = {name: value for name, value in TAGS.items() if name != "type_symbol"}
    with pytest.raises(StructureError, match=r"x\.cif: no column _atom_site\.type_symbol$"):
        parse_structure(write_cif(tmp_path / "x.cif", tags))
