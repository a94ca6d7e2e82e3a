"""The bundled structures against the list they come from, and the script on a small index."""

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from atompaint_vae.data.sets import starter
from atompaint_vae.data.sets.starter import (
    STARTER_DIR,
    SourceError,
    fetch_archive,
    load_sources,
    make_provenance,
    read_members,
    read_sources,
)
from atompaint_vae.data.structures.chains import list_chains
from atompaint_vae.data.structures.table import load_atoms

# The list counts every alternate location (and, in 2NWL, the membrane's 4002 dummy atoms; in
# 5PTI, one atom of unknown element). These have some; each was counted from the files by
# gemmi's own remove_alternative_conformations, which our reader doesn't use.
NUM_LEFT_OUT = {
    "7CTH": 20, "7CFN": 22, "1W1P": 25, "3PWP": 6, "3HSY": 93, "7DDO": 7, "19HC": 77, "6FLR": 13,
    "1AKE": 12, "1PWC": 59, "6WQA": 49, "1US0": 2, "4E43": 34, "4CUP": 13, "1FAS": 2, "1ORC": 4,
    "5PTI": 8 + 1, "1EJG": 89, "2NWL": 4002,
}  # fmt: skip

# Files whose conformers have no letters; the lines that repeat an earlier one's columns 13-16 and
# 18-27 (atom name, chain, residue), counted without our reader.
NUM_REPEATED = {
    "3NBK": 918, "3Q4O": 558, "3K7P": 452, "2CAY": 425, "2A2L": 360, "3E8M": 39, "3L4R": 28,
    "3II2": 20, "3EJF": 19, "3A4R": 11, "3ON9": 7, "1OR4": 4, "3LQC": 2,
}  # fmt: skip

PDB = """\
ATOM      1  N   GLY A   1       1.000   2.000   3.000  1.00  0.00           N
ATOM      2  CA  GLY A   1       2.000   2.000   3.000  1.00  0.00           C
ATOM      3  N   SER A   2       3.000   2.000   3.000  1.00  0.00           N
HETATM    4 ZN    ZN A   9       4.000   2.000   3.000  1.00  0.00          ZN
END
"""


@pytest.fixture(scope="module")
def atoms():
    return load_atoms(STARTER_DIR / "atoms.parquet")


@pytest.fixture(scope="module")
def provenance():
    return pd.read_csv(STARTER_DIR / "structures.csv", keep_default_na=False, dtype=str)


def pack(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_bundle_holds_every_structure_of_the_list(atoms, provenance):
    sources = load_sources()
    assert len(sources) == 85
    assert provenance.pdb_id.tolist() == sources.pdb_id.tolist()
    assert atoms.structure.unique().tolist() == sources.pdb_id.tolist()
    columns = ["package", "archive", "member", "sha256", "resolution_A"]
    assert provenance[columns].equals(sources[columns])
    assert sum(path.stat().st_size for path in STARTER_DIR.iterdir()) < 6e6


def test_the_bundle_has_the_atoms_that_the_list_counts(atoms):
    sources = load_sources().set_index("pdb_id")
    found = atoms.structure.astype(str).value_counts()
    left_out = sources.heavy_atoms.astype(int) - found[sources.index]
    assert left_out[left_out != 0].to_dict() == NUM_LEFT_OUT | NUM_REPEATED


def test_no_two_atoms_of_the_bundle_are_at_one_place(atoms):
    for structure, own in atoms.groupby("structure", observed=True):
        positions_A = own[["x", "y", "z"]].to_numpy()
        distances_A, _ = cKDTree(positions_A).query(positions_A, k=2)
        assert distances_A[:, 1].min() > 0.5, structure


def test_the_provenance_counts_what_the_atoms_are(atoms, provenance):
    counts = provenance.set_index("pdb_id")
    assert counts.num_atoms.astype(int).sum() == len(atoms)
    # Bases by their names in the PDB's dictionary, not by gemmi's table.
    bases = {"A", "C", "G", "U", "DA", "DC", "DG", "DT"}
    is_base = atoms.residue.isin(bases)
    by_name = is_base.groupby(atoms.structure, observed=True).sum()
    nucleic_acid_atoms = counts.nucleic_acid_atoms.astype(int)
    assert (nucleic_acid_atoms >= by_name[counts.index]).all()
    assert nucleic_acid_atoms.tolist() == load_sources().nucleic_acid_atoms.astype(int).tolist()
    # As published: ubiquitin, trypsin inhibitor, a dimeric protease, crambin.
    assert counts.loc["1UBI", ["num_atoms", "num_protein_residues"]].tolist() == ["602", "76"]
    assert counts.loc["5PTI", "num_protein_residues"] == "58"
    assert counts.loc["1HVR", ["num_protein_residues", "num_chains"]].tolist() == ["198", "2"]
    assert counts.loc["1EJG", "num_protein_residues"] == "46"


def test_no_hydrogen_water_or_dummy_is_in_the_bundle(atoms):
    assert not set(atoms.element.cat.categories) & {"H", "D", "X", ""}
    assert not set(atoms.residue.cat.categories) & {"HOH", "DOD", "WAT", "DUM"}
    assert np.isfinite(atoms[["x", "y", "z", "occupancy"]].to_numpy()).all()
    assert atoms.occupancy.between(0, 1).all()


def test_coordinates_are_those_of_the_pdb(atoms):
    # From the entry itself: the first atom of 1UBI.
    own = atoms[atoms.structure == "1UBI"][["x", "y", "z"]].to_numpy()
    np.testing.assert_allclose(own[0], [27.343, 24.294, 2.683], atol=5e-4)
    # Whole thousandths, whatever the type.
    coordinates_A = atoms[["x", "y", "z"]].to_numpy(dtype=np.float64)
    assert abs(coordinates_A * 1000 - (coordinates_A * 1000).round()).max() < 0.05


def test_crambin_has_its_published_sequence(atoms):
    chains = list_chains(atoms[atoms.structure == "1EJG"])
    # Pro 22 and Leu 25 are the first of two residues at one place (the others: Ser and Ile).
    assert chains.sequence[chains.kind == "protein"].tolist() == [
        "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
    ]


@pytest.mark.parametrize("name", ["toy-1.0.tar.gz", "toy-1.0-py3-none-any.whl"])
def test_members_are_read_and_checked(tmp_path, name):
    archive = pack(tmp_path / name, {"toy/a.pdb": PDB.encode(), "toy/b.pdb": b"b"})
    sha256s = {"toy/b.pdb": hash_content(b"b"), "toy/a.pdb": hash_content(PDB.encode())}
    assert read_members(archive, sha256s) == {"toy/a.pdb": PDB.encode(), "toy/b.pdb": b"b"}
    with pytest.raises(SourceError, match=rf"^{name}: no file toy/c\.pdb$"):
        read_members(archive, {"toy/c.pdb": ""})
    tampered = pack(tmp_path / name, {"toy/b.pdb": b"B"})
    with pytest.raises(SourceError, match=rf"^{name}: toy/b\.pdb has sha256 df7.*, expected 3e23"):
        read_members(tampered, {"toy/b.pdb": hash_content(b"b")})
    archive.write_bytes(archive.read_bytes()[:50])
    with pytest.raises(SourceError, match=rf"^{name}: not a readable archive: "):
        read_members(archive, sha256s)


def make_list(path: Path, **changes) -> Path:
    row = {
        "pdb_id": "9TOY", "package": "toy-structures==1.0", "archive": "sdist",
        "member": "toy/a.pdb", "sha256": hash_content(PDB.encode()), "resolution_A": "1.5",
    }  # fmt: skip
    rows = [row, {**row, "pdb_id": "8TOY", **changes}]
    with path.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, fieldnames=list(row))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_sources_are_read_from_archives_in_the_cache(tmp_path):
    sources = load_sources(make_list(tmp_path / "sources.csv"))
    pack(tmp_path / "Toy_structures-1.0.tar.gz", {"toy/a.pdb": PDB.encode()})
    atoms = read_sources(sources, tmp_path, progress=False)
    assert atoms.structure.tolist() == ["9TOY"] * 4 + ["8TOY"] * 4
    chains = list_chains(atoms).assign(split="train")
    table = make_provenance(sources, chains)
    assert table.iloc[0].to_dict() == {
        "pdb_id": "9TOY", "package": "toy-structures==1.0", "archive": "sdist",
        "member": "toy/a.pdb", "sha256": hash_content(PDB.encode()), "num_atoms": 4,
        "num_residues": 3, "num_chains": 1, "num_protein_residues": 2, "num_nucleic_residues": 0,
        "nucleic_acid_atoms": 0, "resolution_A": "1.5", "split": "train",
    }  # fmt: skip


def test_pip_is_asked_for_the_package_and_nothing_that_it_depends_on(tmp_path, monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        pack(tmp_path / "toy_structures-1.0.tar.gz", {})
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):  # the second time it is in the cache
        path = fetch_archive("toy-structures==1.0", "sdist", tmp_path)
        assert path == tmp_path / "toy_structures-1.0.tar.gz"
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[-3:] == ["--no-binary", "toy-structures", "toy-structures==1.0"]
    assert "--no-deps" in command


def test_what_pip_says_is_passed_on_in_one_line(tmp_path, monkeypatch):
    # An index that is an empty folder: pip itself, without a network.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SourceError, match=(
        r"^toy-structures==1\.0: pip could not download the sdist: ERROR: No matching distribution"
    )) as error:  # fmt: skip
        fetch_archive("toy-structures==1.0", "sdist", tmp_path)
    assert "\n" not in str(error.value)


def test_of_all_that_pip_says_the_error_counts(tmp_path, monkeypatch):
    said = "Collecting toy\nERROR: Failed to build toy\nhint: see above for the output\n"
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr=said)
    )
    problem = "^toy==1: pip could not download the wheel: ERROR: Failed to build toy$"
    with pytest.raises(SourceError, match=problem):
        fetch_archive("toy==1", "wheel", tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"archive": "egg"}, r"sources\.csv:3: unknown archive 'egg' of 8TOY; expected sdist or w"),
        ({"pdb_id": "9TOY"}, r"sources\.csv: 9TOY is listed twice"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, changes, problem):
    with pytest.raises(SourceError, match=problem):
        load_sources(make_list(tmp_path / "sources.csv", **changes))


def test_a_list_without_its_columns_is_refused(tmp_path):
    (tmp_path / "sources.csv").write_text("pdb_id,package,archive,member\n")
    with pytest.raises(SourceError, match=r"sources\.csv: no column sha256, resolution_A"):
        load_sources(tmp_path / "sources.csv")


def test_a_failure_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    sources = load_sources(make_list(tmp_path / "sources.csv", sha256="0" * 64))
    monkeypatch.setattr(starter, "load_sources", lambda: sources)
    out_dir = tmp_path / "out"
    pack(tmp_path / "toy_structures-1.0.tar.gz", {"toy/a.pdb": PDB.encode()})
    with pytest.raises(SystemExit) as error:
        starter.main(["--cache", str(tmp_path), "--out", str(out_dir)])
    assert error.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("toy_structures-1.0.tar.gz: toy/a.pdb has sha256 ")
    assert not list(out_dir.iterdir())
