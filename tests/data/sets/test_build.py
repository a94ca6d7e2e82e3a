"""Sets of a few structures written by hand, good and broken, through the command line."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atompaint_vae.cli import run_command
from atompaint_vae.data.crops.dataset import load_split
from atompaint_vae.data.sets import build
from atompaint_vae.data.sets.inputs import find_structure_files, read_ids
from atompaint_vae.data.sets.sources import calc_source_hash
from atompaint_vae.data.sets.summary import describe_reading
from atompaint_vae.data.structures.table import (
    StructureError,
    load_atoms,
    read_structure,
)

FILES = Path(__file__).parents[1] / "structures" / "files"
AMINO_ACIDS = "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL"
LINE = "ATOM  {serial:>5}  CA  {name} A{num:>4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"


def write_peptide(path: Path, seed: int, num_residues: int = 40, rename=lambda x: x) -> Path:
    """CA atoms of a random sequence; those of two seeds are unlike."""
    rng = np.random.default_rng(seed)
    lines = [
        LINE.format(serial=num, name=rename(name), num=num, x=x, y=y, z=z)
        for num, (name, (x, y, z)) in enumerate(zip(
            rng.choice(AMINO_ACIDS.split(), num_residues), rng.uniform(0, 20, (num_residues, 3)),
            strict=True,
        ), 1)
    ]  # fmt: skip
    content = "\n".join(["REMARK   2 RESOLUTION.    1.80 ANGSTROMS.", *lines, "END", ""]).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pdb"
    (folder / "deep").mkdir(parents=True)
    for seed in range(6):
        write_peptide(folder / f"{seed}abc.pdb", seed)
    write_peptide(folder / "deep" / "pdb6abc.ent.gz", 6)
    (folder / "readme.txt").write_text("not a structure")
    return folder


def run(*args) -> int:
    return run_command(["data", *map(str, args)])


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_becomes_a_set_that_training_can_use(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(build, "FILES_PER_PROCESS", 1)
    out = tmp_path / "new" / "set.parquet"
    assert run("build", folder, "--out", out, "--jobs", 2) == 0
    assert list_files(out.parent) == ["set.chains.csv", "set.parquet", "set.structures.csv"]
    names = [f"{seed}abc" for seed in range(6)] + ["pdb6abc"]
    table = pd.read_csv(build.name_structures_path(out))
    assert table.pdb_id.tolist() == names
    assert table.resolution_A.tolist() == [1.8] * 7
    assert table.num_atoms.tolist() == table.num_protein_residues.tolist() == [40] * 7
    splits = [load_split(out, split) for split in ("train", "validation", "test")]
    assert sorted(x for atoms in splits for x in atoms.structure.unique()) == names
    expected = read_structure(folder / "2abc.pdb")
    atoms = load_atoms(out)
    own = atoms[atoms.structure == "2abc"].reset_index(drop=True)
    assert (own[["x", "y", "z"]] == expected[["x", "y", "z"]]).all(axis=None)
    said = capsys.readouterr().out
    assert "set.parquet: 7 structures, 280 atoms" in said
    assert "protein chains: every pair aligned" in said
    assert "leakage: 0 pairs of similar chains in different splits" in said


def test_structures_of_one_sequence_are_in_one_split(folder, tmp_path):
    for seed in (7, 8):
        shutil.copy(folder / "1abc.pdb", folder / f"{seed}abc.pdb")
    out = tmp_path / "set.parquet"
    assert run("build", folder, "--out", out) == 0
    table = pd.read_csv(build.name_structures_path(out), index_col="pdb_id")
    assert table.split[["1abc", "7abc", "8abc"]].nunique() == 1
    chains = pd.read_csv(out.with_name("set.chains.csv"), index_col="structure")
    assert chains.group[["1abc", "7abc", "8abc"]].nunique() == 1
    assert chains.group.nunique() == 7


def test_a_sequence_is_the_same_in_the_names_of_any_force_field(folder, tmp_path):
    names = {"HIS": "HIE", "CYS": "CYX", "ASP": "ASH", "GLU": "GLH", "LYS": "LYN"}
    for place in range(3):
        rename = (lambda name: names.get(name, name)) if place else (lambda name: name)
        write_peptide(folder / f"copy{place}.pdb", 10, rename=rename)
    out = tmp_path / "set.parquet"
    assert run("build", folder, "--out", out) == 0
    table = pd.read_csv(build.name_structures_path(out), index_col="pdb_id")
    copies = table.loc[["copy0", "copy1", "copy2"]]
    assert copies.num_protein_residues.tolist() == [40, 40, 40]
    assert copies.split.nunique() == 1


def test_a_set_without_comparable_chains_is_built(folder, tmp_path, capsys):
    line = "HETATM{:>5}  C1  LIG A{:>4}    {:8.3f}   0.000   0.000  1.00  0.00           C\n"
    for place in range(4):
        (tmp_path / f"lig{place}.pdb").write_text(line.format(1, 1, place))
    out = tmp_path / "set.parquet"
    assert run("build", tmp_path / "lig*.pdb", folder / "0abc.pdb", "--out", out) == 0
    assert "leakage: 0 pairs of similar chains" in capsys.readouterr().out
    assert len(pd.read_csv(build.name_structures_path(out))) == 5


def test_large_chains_of_no_kind_are_reported_and_kept_together(folder, tmp_path, capsys):
    def rename(name):
        return f"Z{name[1:]}"

    for name in ("a", "b", "c"):
        path = write_peptide(folder / f"odd{name}.pdb", 11, 20, rename)
        # Two atoms a residue, neither of which is an alpha carbon.
        text = path.read_text().replace("  CA  ", "  C1  ").replace("END\n", "")
        path.write_text(text + text.replace("  C1  ", "  C2  "))
    out = tmp_path / "set.parquet"
    assert run("build", folder, "--out", out) == 0
    problem = (
        "3 large chains are neither protein nor nucleic acid, and compared by the names of "
        "residues only: odda_A, oddb_A, oddc_A"
    )
    assert problem in capsys.readouterr().out.splitlines()
    assert run("show", out, "--no-svg") == 0
    assert problem in capsys.readouterr().out.splitlines()
    table = pd.read_csv(build.name_structures_path(out), index_col="pdb_id")
    assert table.loc[["odda", "oddb", "oddc"]].split.nunique() == 1


def test_broken_files_are_named_counted_and_left_out(folder, tmp_path, capsys):
    (folder / "empty.cif").touch()
    (folder / "half.pdb.gz").write_bytes((folder / "deep/pdb6abc.ent.gz").read_bytes()[:100])
    shutil.copy(folder / "1abc.pdb", folder / "deep" / "1abc.ent")
    out = tmp_path / "set.parquet"
    assert run("build", folder, "--out", out, "--jobs", 2) == 1
    said = capsys.readouterr()
    errors = sorted(said.err.splitlines())
    assert errors.pop() == "3 of 10 files left out"
    assert errors[0].startswith(f"{folder}/deep/1abc.ent: has the same name as {folder}/1abc.pdb")
    assert errors[1] == f"{folder}/empty.cif: empty file"
    assert errors[2].startswith(f"{folder}/half.pdb.gz: Compressed file ended before the end")
    assert len(errors) == 3
    assert len(pd.read_csv(build.name_structures_path(out))) == 7


def test_strict_stops_at_a_broken_file_and_writes_no_set(folder, tmp_path, capsys):
    (folder / "empty.cif").touch()
    out = tmp_path / "out" / "set.parquet"
    assert run("build", folder, "--out", out, "--strict") == 2
    assert capsys.readouterr().err == f"{folder}/empty.cif: empty file\n"
    assert not out.exists()
    # What was read is kept for the next time, and is gone after it.
    (folder / "empty.cif").unlink()
    assert run("build", folder, "--out", out, "--strict") == 0
    assert list_files(out.parent) == ["set.chains.csv", "set.parquet", "set.structures.csv"]


def test_an_interrupted_build_goes_on_from_there(folder, tmp_path, monkeypatch):
    out, read, real = tmp_path / "set.parquet", [], build.structures.read_entry

    def read_three(path, **kwargs):
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(path.name)
        return real(path, **kwargs)

    monkeypatch.setattr(build.structures, "read_entry", read_three)
    assert run("build", folder, "--out", out, "--jobs", 1) == 130
    assert list_files(tmp_path) == ["pdb", "set.parquet.parts"]
    write_peptide(folder / "0abc.pdb", 100, 50)  # changed since it was read
    before = list(read)
    read.clear()
    monkeypatch.setattr(
        build.structures, "read_entry", lambda p, **kw: read.append(p.name) or real(p, **kw)
    )
    assert run("build", folder, "--out", out, "--jobs", 1) == 0
    assert before == ["0abc.pdb", "1abc.pdb", "2abc.pdb"]
    assert read == ["0abc.pdb", "3abc.pdb", "4abc.pdb", "5abc.pdb", "pdb6abc.ent.gz"]
    assert pd.read_csv(build.name_structures_path(out)).num_atoms.tolist() == [50] + [40] * 6


def test_any_number_of_processes_writes_the_same_set(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "FILES_PER_PROCESS", 1)
    for jobs in (1, 3):
        assert run("build", folder, "--out", tmp_path / f"{jobs}.parquet", "--jobs", jobs) == 0
    for name in ("{}.parquet", "{}.structures.csv", "{}.chains.csv"):
        one, three = (tmp_path / name.format(jobs) for jobs in (1, 3))
        assert one.read_bytes() == three.read_bytes()


def test_biological_assemblies_are_built_if_asked_for(folder, tmp_path):
    shutil.copy(FILES / "small.bcif", folder)
    sizes = {}
    for kind in ("asymmetric", "biological"):
        out = tmp_path / f"{kind}.parquet"
        assert run("build", folder, "--out", out, "--assembly", kind) == 0
        table = pd.read_csv(build.name_structures_path(out), index_col="pdb_id", dtype=str)
        sizes[kind] = table.num_atoms["small"], table.assembly["small"]
    assert sizes == {"asymmetric": ("7", np.nan), "biological": ("14", "1")} or (
        sizes["biological"] == ("14", "1") and sizes["asymmetric"][0] == "7"
    )


def write_hard_file(path: Path) -> None:
    """Two residues with a location each of which one is left out, a water, and no elements."""
    lines = [line[:76] for line in write_peptide(path, 9, 2).read_text().splitlines()[1:-1]]
    other = lines[0][:16] + "B" + lines[0][17:54] + "  2.00"
    first = lines[0][:16] + "A" + lines[0][17:]
    water = lines[1].replace(lines[1][12:20], " OW  HOH")
    path.write_text("\n".join([first, other, lines[1], water, "END", ""]))


def test_what_was_guessed_and_left_out_is_printed_and_kept(folder, tmp_path, capsys):
    write_hard_file(folder / "7abc.pdb")
    out = tmp_path / "set.parquet"
    for altloc, occupancy in (("first", 1), ("occupancy", 2)):
        assert run("build", folder, "--out", out, "--altloc", altloc) == 0
        atoms = load_atoms(out)
        assert atoms.occupancy[atoms.structure == "7abc"].tolist() == [occupancy, 1]
    table = pd.read_csv(build.name_structures_path(out), index_col="pdb_id")
    counts = table[["guessed_elements", "left_out_alternates", "left_out_water"]]
    assert counts.loc["7abc"].tolist() == [2, 1, 1]
    assert (counts.drop("7abc") == 0).all(axis=None)
    said = "guessed: elements 2; left out: alternate locations 1, water 1"
    assert run("show", out, "--no-svg") == 0
    built, shown = capsys.readouterr().out.split("set.parquet\n", 1)
    for text in (built, shown):
        assert f"\n7abc: {said}\n" in text
        assert f"\nall 8 files: {said}\n" in text
        assert "\n1abc: " not in text


def test_of_many_files_those_with_rare_things_are_named(monkeypatch):
    monkeypatch.setattr("atompaint_vae.data.sets.summary.MAX_FILES", 2)
    table = pd.DataFrame({
        "pdb_id": ["a", "b", "c", "d"], "left_out_water": ["1000", "1", "3", "0"],
        "guessed_elements": ["0", "0", "7", "0"],
    })  # fmt: skip
    assert describe_reading(table) == [
        "c: guessed: elements 7; left out: water 3", "a: left out: water 1,000",
        "and 1 more, in the table of structures",
        "all 4 files: guessed: elements 7; left out: water 1,004",
    ]  # fmt: skip
    assert describe_reading(table[["pdb_id"]]) == []


def test_a_folder_names_what_it_passed_over(folder):
    (folder / "deep" / "a.jpg").touch()
    (folder / "deep" / "b.JPG").touch()
    for name in ("LICENSE", "README", "AUTHORS", ".hidden"):
        (folder / name).touch()
    lines = []
    find_structure_files([str(folder)], report=lines.append)
    assert lines == [f"{folder}: passed over 6 other files: 3 no suffix, 2 .jpg, 1 .txt"]


def test_two_sets_in_one_folder_keep_their_own_splits(folder, tmp_path):
    for name, pattern in [("a", "[0-3]abc.pdb"), ("b", "[2-5]abc.pdb")]:
        assert run("build", folder / pattern, "--out", tmp_path / f"{name}.parquet") == 0
    names = [
        {x for split in ("train", "validation", "test")
         for x in load_split(tmp_path / f"{set_name}.parquet", split).structure.unique()}
        for set_name in "ab"
    ]  # fmt: skip
    assert names == [{"0abc", "1abc", "2abc", "3abc"}, {"2abc", "3abc", "4abc", "5abc"}]


def test_the_hash_of_a_set_follows_its_splits(folder, tmp_path):
    out = tmp_path / "set.parquet"
    assert run("build", folder, "--out", out) == 0
    before = calc_source_hash(out)
    path = build.name_structures_path(out)
    path.write_text(path.read_text().replace("validation", "test"))
    assert calc_source_hash(out) != before


def make_error(tmp_path, folder, case):
    """Arguments of a build that must fail, and the message."""
    out = tmp_path / "out" / "set.parquet"
    match case:
        case "nothing":
            return [tmp_path / "nothing"], out, f"{tmp_path}/nothing: no such file or directory"
        case "empty folder":
            (tmp_path / "void").mkdir()
            return [tmp_path / "void"], out, f"{tmp_path}/void: no structure files; expected a name"
        case "all broken":
            for path in folder.rglob("*.*"):
                path.write_text("")
            return [folder], out, f"{out}: none of 7 files could be read"
        case "one structure":
            return [folder / "0abc.pdb"], out, (
                f"{out}: 1 structures make 1 groups of unlike sequence, too few for 3 splits"
            )
        case "bad name":
            return [folder], tmp_path / "set.csv", "set.csv: expected a name that ends in .parquet"
        case "folder as out":
            (tmp_path / "set.parquet").mkdir()
            return [folder], tmp_path / "set.parquet", "set.parquet: is a directory"
        case "file as folder":
            (tmp_path / "file").touch()
            return [folder], tmp_path / "file" / "set.parquet", f"{tmp_path}/file: file exists"
        case "bad list":
            (tmp_path / "list.txt").write_text("1ema\n\n12\n")
            return [tmp_path / "list.txt"], out, (
                f"{tmp_path}/list.txt:1: no structure file of 1ema in {tmp_path}"
            )
        case "binary list":
            (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
            return [tmp_path / "list.txt"], out, f"{tmp_path}/list.txt: not a text file"


@pytest.mark.parametrize(
    "case",
    ["nothing", "empty folder", "all broken", "one structure", "bad name", "folder as out",
     "file as folder", "bad list", "binary list"],
)  # fmt: skip
def test_mistakes_are_one_line_and_leave_nothing(folder, tmp_path, capsys, case):
    inputs, out, message = make_error(tmp_path, folder, case)
    before = sorted(tmp_path.rglob("*"))
    assert run("build", *inputs, "--out", out) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last
    after = [path for path in sorted(tmp_path.rglob("*")) if path != out.parent]
    assert after == [path for path in before if path != out.parent]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission_are_named(folder, tmp_path, capsys):
    (folder / "0abc.pdb").chmod(0)
    assert run("build", folder, "--out", tmp_path / "set.parquet") == 1
    assert f"{folder}/0abc.pdb: permission denied" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--assembly", "unit"], "--assembly: expected asymmetric or biological, got 'unit'"),
        (["--altloc", "B"], "--altloc: expected first or occupancy, got 'B'"),
        (["--jobs", "0"], "--jobs: expected a whole number >= 1, got '0'"),
        (["--jobs", "two"], "--jobs: expected a whole number >= 1, got 'two'"),
        (["--nonsense"], "--nonsense is not expected; see atompaint-vae data --help"),
    ],
)
def test_wrong_options_are_named(folder, tmp_path, capsys, arguments, message):
    assert run("build", folder, "--out", tmp_path / "set.parquet", *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_list_names_files_and_ids(folder, tmp_path):
    (folder / "list.txt").write_text("2ABC, 6abc  # two ids\ndeep/pdb6abc.ent.gz\n1abc.pdb\n")
    expected = [folder / n for n in ("2abc.pdb", "deep/pdb6abc.ent.gz", "1abc.pdb")]
    assert find_structure_files([str(folder / "list.txt")]) == expected
    shutil.move(folder / "list.txt", tmp_path)
    assert find_structure_files([str(tmp_path / "list.txt")], folder) == expected


def test_a_file_of_another_format_is_no_list(tmp_path):
    (tmp_path / "a.gro").write_text("Protein in water\n0\n")
    message = r"a.gro:1: 'Protein' is neither a PDB id nor a file name, .* expected a name in .cif"
    with pytest.raises(StructureError, match=message):
        find_structure_files([str(tmp_path / "a.gro")])


def test_patterns_and_folders_name_each_file_once(folder):
    files = find_structure_files([str(folder / "*abc.pdb"), str(folder)])
    assert [path.name for path in files] == [f"{i}abc.pdb" for i in range(6)] + ["pdb6abc.ent.gz"]
    assert find_structure_files([str(folder / "**" / "*.gz")]) == [folder / "deep/pdb6abc.ent.gz"]
    with pytest.raises(StructureError, match=r"\*\.cif: no structure files; expected a name"):
        find_structure_files([str(folder / "*.cif")])


def test_ids_are_read_in_lower_case_once_each(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("1EMA 2abc, 1ema # comment\npdb_00001abc\n")
    assert read_ids(path) == ["1ema", "2abc", "pdb_00001abc"]
    path.write_text("1ema\nfour\n")
    with pytest.raises(StructureError, match=r"ids\.txt:2: 'four' is not a PDB id, such as 1ema"):
        read_ids(path)
    path.write_text("# none\n")
    with pytest.raises(StructureError, match=r"ids\.txt: no PDB ids"):
        read_ids(path)


def test_show_prints_and_draws_what_a_set_holds(folder, tmp_path, capsys):
    out = tmp_path / "set.parquet"
    run("build", folder, "--out", out)
    capsys.readouterr()
    assert run("show", out) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "set.parquet"
    assert next(line for line in said if line.startswith("all")).split()[1:] == [
        "7", "7", "280", "280", "0", "280",
    ]  # fmt: skip
    assert next(line for line in said if line.startswith("C ")).split()[-2:] == ["280", "100.00"]
    assert next(line for line in said if line.startswith("1.5 to 2 Å")).split()[4:]
    assert (tmp_path / "set.svg").read_text().startswith("<?xml")
    assert run("show", out, "--svg", tmp_path / "other.svg") == 0
    assert (tmp_path / "other.svg").read_bytes() == (tmp_path / "set.svg").read_bytes()
    assert run("show", tmp_path / "none.parquet") == 2
    assert capsys.readouterr().err == f"{tmp_path}/none.parquet: no such file or directory\n"


def test_the_command_is_there_and_says_what_it_does():
    command = Path(sys.executable).with_name("atompaint-vae")
    runs = [str(command)] if command.exists() else [sys.executable, "-m", "atompaint_vae.cli"]
    for arguments, code, text in [
        (["--help"], 0, "fetch structures"), (["data", "--help"], 0, "Usage:"),
        (["nonsense"], 2, "unknown command 'nonsense'; known: "), ([], 2, "Commands:"),
    ]:  # fmt: skip
        ran = subprocess.run([*runs, *arguments], capture_output=True, text=True, check=False)
        assert ran.returncode == code
        assert text in ran.stdout + ran.stderr
