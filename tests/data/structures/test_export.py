import gemmi
import numpy as np
import pytest

from atompaint_vae.data.crops.voxelize import CHANNELS, find_channels
from atompaint_vae.data.structures.export import write_atoms_as_cif
from atompaint_vae.data.structures.table import StructureError, read_structure

COORDS_A = np.array([[0, 0, 0], [1.234, -5.678, 17], [-99.999, 3, 1e-4], [1, 2, 3], [4, 5, 6]])
CHANNEL_OF_ATOM = np.array([0, 4, 0, 1, 5])


def test_gemmi_reads_it(tmp_path):
    path = tmp_path / "sample_3.cif"
    write_atoms_as_cif(path, COORDS_A.astype(np.float32), CHANNEL_OF_ATOM)
    structure = gemmi.read_structure(str(path))
    assert structure.name == "sample_3"
    ((chain,),) = structure
    (residue,) = chain
    assert (residue.name, residue.het_flag, chain.name) == ("UNL", "H", "A")
    assert [x.element.name for x in residue] == ["C", "S", "C", "N", "X"]
    assert [x.name for x in residue] == ["C1", "S1", "C2", "N1", "X1"]
    assert [x.serial for x in residue] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([x.pos.tolist() for x in residue], COORDS_A, atol=6e-4)


def test_columns_that_pymol_and_chimerax_need(tmp_path):
    write_atoms_as_cif(tmp_path / "a.cif", COORDS_A, CHANNEL_OF_ATOM)
    block = gemmi.cif.read_file(str(tmp_path / "a.cif")).sole_block()
    tags = [
        "group_PDB", "id", "type_symbol", "label_atom_id", "label_comp_id", "label_asym_id",
        "auth_seq_id", "auth_asym_id", "Cartn_x", "Cartn_y", "Cartn_z", "pdbx_PDB_model_num",
    ]  # fmt: skip
    table = block.find("_atom_site.", tags)
    assert len(table) == len(COORDS_A)
    first = [gemmi.cif.as_string(x) for x in list(table[1])[:8]]
    assert first == ["HETATM", "2", "S", "S1", "UNL", first[5], "1", "A"]
    assert all(x not in "?." for x in first)
    assert not block.find_mmcif_category("_cell.")  # no crystal
    assert not block.find_mmcif_category("_symmetry.")


def test_our_own_reader_reads_it(tmp_path):
    rng = np.random.default_rng(0)
    coords_A = rng.uniform(-20, 20, (1500, 3))  # more than a residue has in any file
    channels = rng.integers(len(CHANNELS), size=1500)
    write_atoms_as_cif(tmp_path / "a.cif", coords_A, channels)
    atoms = read_structure(tmp_path / "a.cif")
    is_known = channels != CHANNELS.index("other")
    np.testing.assert_array_equal(find_channels(atoms.element), channels[is_known])
    np.testing.assert_allclose(atoms[["x", "y", "z"]], coords_A[is_known], atol=6e-4)
    assert set(atoms.residue) == {"UNL"}


def test_no_atoms(tmp_path):
    write_atoms_as_cif(tmp_path / "a.cif", np.empty((0, 3)), np.empty(0, dtype=int))
    assert gemmi.cif.read_file(str(tmp_path / "a.cif")).sole_block().name
    with pytest.raises(StructureError, match="no atoms"):
        read_structure(tmp_path / "a.cif")


@pytest.mark.parametrize(
    "coords_A, channels, message",
    [
        (COORDS_A, np.full(5, 6), "channels beyond 0 to 5"),
        (COORDS_A, np.full(5, -1), "channels beyond 0 to 5"),
        (COORDS_A * np.nan, CHANNEL_OF_ATOM, "coordinates that are not finite"),
    ],
)
def test_what_are_no_atoms(tmp_path, coords_A, channels, message):
    with pytest.raises(ValueError, match=message):
        write_atoms_as_cif(tmp_path / "a.cif", coords_A, channels)
    assert list(tmp_path.iterdir()) == []
