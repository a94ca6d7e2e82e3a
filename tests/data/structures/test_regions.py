import gemmi
import numpy as np
import pytest
from small_structure import list_atoms, make_structure, write_structure

from atompaint_vae.data.structures.export import write_structure_with_atoms
from atompaint_vae.data.structures.formats import parse_structure
from atompaint_vae.data.structures.regions import (
    RegionError,
    calc_center,
    find_residue,
    remove_sphere,
    split_atoms,
)
from atompaint_vae.data.structures.table import read_structure

RADIUS_A = 4.0


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_a_residue_by_the_authors_number(tmp_path, suffix):
    structure = parse_structure(write_structure(tmp_path / f"small{suffix}"))
    middle = find_residue(structure, "A/100B")
    assert (middle.seqid.num, middle.seqid.icode) == (100, "B")
    assert find_residue(structure, "B/-5").name == "ZN"
    assert find_residue(structure, "A/100").seqid.icode == " "


def test_the_centre_is_that_of_heavy_atoms():
    middle = find_residue(make_structure(), "A/100B")
    heavy = [x.pos.tolist() for x in middle if x.element.name != "H"]
    assert len(heavy) == len(middle) - 1
    np.testing.assert_allclose(calc_center(middle), np.mean(heavy, axis=0), atol=5e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("A100", r"'A100': expected CHAIN/RESIDUE, such as A/52 or A/52B"),
        ("a/100B", r"no chain 'a'; known: A, B"),
        ("A/100C", r"no residue 'A/100C'; did you mean 'A/100B' or 'A/100'\?"),
        ("A/100b", r"no residue 'A/100b'; did you mean 'A/100B'"),
        ("B/3", r"no residue 'B/3'; did you mean 'B/-5'\?"),
        ("A/x", r"no residue 'A/x'; (known: |did you mean ')A/"),
    ],
)
def test_residues_that_are_not_there(name, message):
    with pytest.raises(RegionError, match=f"^{message}"):
        find_residue(make_structure(), name)


def test_removed_and_kept_atoms_of_a_file(tmp_path):
    path = write_structure(tmp_path / "small.cif")
    structure = parse_structure(path)
    center_A = calc_center(find_residue(structure, "A/100B"))
    before = list_atoms(path)
    rest = remove_sphere(structure, center_A, RADIUS_A)
    assert structure[0].count_atom_sites() == len(before)  # a copy
    painted_A = center_A + np.array([[0, 0, 0.0], [1.5, 0, 0], [0, 1.5, 0]])
    out = tmp_path / "out.cif"
    write_structure_with_atoms(out, rest, painted_A, np.array([0, 0, 3]))
    after = list_atoms(out)
    kept, painted = after[:-3], after[-3:]
    distances_A = [np.linalg.norm(np.array(x[6:9]) - center_A) for x in before]
    inside = [x for x, r in zip(before, distances_A, strict=True) if r < RADIUS_A]
    assert {"H", "O", "C"} <= {x[5] for x in inside}
    assert {"HOH"} <= {x[2] for x in inside}
    # The other location of a removed atom goes as well, although it lies 9 Å away.
    (other,) = [x for x in before if x[4] == "B"]
    assert kept == [x for x in before if x not in inside and x != other]
    names = [("C1", "C"), ("C2", "C"), ("P1", "P")]
    assert [x[:6] for x in painted] == [("C", "1", "UNL", a, "\0", b) for a, b in names]
    np.testing.assert_allclose([x[6:9] for x in painted], painted_A, atol=6e-4)
    serials = [x.atom.serial for x in gemmi.read_structure(str(out))[0].all()]
    assert serials == list(range(1, len(after) + 1))
    written = gemmi.read_structure(str(out))
    assert written.cell.parameters == (80, 80, 90, 90, 90, 90)
    assert written.spacegroup_hm == "P 1 21 1"
    assert len(structure.connections) == 1
    assert len(written.connections) == 0


@pytest.mark.parametrize(("radius_A", "kept"), [(1.0, "AB"), (4.0, ""), (2.5, "A")])
def test_of_several_locations_the_first_decides(tmp_path, radius_A, kept):
    # CB is 3 Å from the centre in the location that comes first, and 2 Å in the other.
    atoms = [("CA", " ", 9.0), ("CB", "A", 3.0), ("CB", "B", 2.0)]
    lines = [
        f"ATOM  {i + 1:5d}  {name:<3s}{altloc}ALA A   1    {x:8.3f}{0:8.3f}{0:8.3f}  0.50 10.00"
        f"           {name[0]}  "
        for i, (name, altloc, x) in enumerate(atoms)
    ]
    path = tmp_path / "a.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    center_A = np.zeros(3)
    rest = remove_sphere(parse_structure(path), center_A, radius_A)
    (residue,) = rest[0]["A"]
    assert "".join(x.altloc for x in residue if x.name == "CB") == kept
    _, known = split_atoms(read_structure(path), center_A, radius_A)
    assert len(known.channels) == 1 + ("A" in kept)


def test_residues_without_a_number():
    structure = make_structure()
    for residue in structure[0]["B"]:
        residue.seqid.num = None
    with pytest.raises(RegionError, match=r"^no residue 'B/3'; did you mean 'B/\?'"):
        find_residue(structure, "B/3")


def test_atoms_are_split_by_their_centres(tmp_path):
    path = write_structure(tmp_path / "small.cif")
    center_A = calc_center(find_residue(make_structure(), "A/100B"))
    table = read_structure(path)
    hidden, known = split_atoms(table, center_A, RADIUS_A)
    assert len(hidden.channels) + len(known.channels) == len(table)
    assert np.linalg.norm(hidden.coords_A, axis=1).max() < RADIUS_A
    assert np.linalg.norm(known.coords_A, axis=1).min() >= RADIUS_A
    both = np.concatenate([hidden.coords_A, known.coords_A]) + center_A
    expected = table[["x", "y", "z"]].to_numpy(np.float64)
    np.testing.assert_allclose(np.sort(both, axis=0), np.sort(expected, axis=0), atol=1e-6)
