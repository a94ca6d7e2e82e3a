"""Structure files -> a set: tables of the atoms, the structures and the chains.

    set.parquet         the atoms of all structures
    set.structures.csv  their origin, their contents, their split
    set.chains.csv      their chains, with cluster and group

During a build, the atoms read from each file are kept in set.parquet.parts, so that an interrupted
build can resume. The three files are moved into place when all of them are complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED as FIRST
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from atompaint_vae.data.sets import splits
from atompaint_vae.data.sets.sources import name_structures_path
from atompaint_vae.data.structures import table as structures
from atompaint_vae.data.structures.chains import list_chains
from atompaint_vae.data.structures.formats import (
    StructureError,
    describe_error,
    name_structure,
)
from atompaint_vae.text.files import write_together

CHAIN_COLUMNS = (
    "structure", "chain", "kind", "num_residues", "num_atoms", "cluster", "group", "split",
)  # fmt: skip
# Increase it whenever the same file is read differently.
PART_VERSION = 2
# Starting a process takes as long as reading about this many files.
FILES_PER_PROCESS = 16


class Broken(NamedTuple):
    """A file that was left out, and the reason."""

    path: Path
    reason: str  # one line, without the path


class BuiltSet(NamedTuple):
    """The result of a build."""

    table: pd.DataFrame  # one row per structure
    num_atoms: int
    broken: list[Broken]
    methods: dict[str, str]  # how pairs of chains were found, by kind
    leakage: splits.Leakage
    unknown: list[str]  # large chains that are neither protein nor nucleic acid


def name_chains_path(atoms_path: Path) -> Path:
    """Return the path of the table of a set's chains, beside its atoms."""
    return atoms_path.with_name(f"{atoms_path.stem}.chains.csv")


def build_set(
    paths: list[Path],
    out: Path,
    *,
    assembly: str = "asymmetric",
    altloc: str = "first",
    num_jobs: int = 1,
    strict: bool = False,
    progress: bool = False,
    report: Callable[[Broken], None] = lambda broken: None,
) -> BuiltSet:
    """Read structure files, split them by sequence and write the set.

    assembly, altloc: as for `read_structure`
    strict: raise at the first broken file, instead of leaving it out
    report: called for each file that is left out
    raises: StructureError if no file can be read, or there are too few structures to split
    """
    _check_out(out)
    parts_dir = out.with_name(f"{out.name}.parts")
    parts_dir.mkdir(exist_ok=True)
    options = {"assembly": assembly, "altloc": altloc}
    broken = _find_repeated(paths)
    for each in broken:
        _handle_broken(each, strict, report)
    parts = {path: parts_dir / _name_part(path, options) for path in paths}
    for each in broken:
        del parts[each.path]
    for result in _read_all(parts, options, num_jobs, progress):
        if isinstance(result, Broken):
            _handle_broken(result, strict, report)
            broken.append(result)
            del parts[result.path]
    if not parts:
        shutil.rmtree(parts_dir)
        raise StructureError(f"{out}: none of {len(paths)} files could be read")

    atoms, table = _load_parts(parts)
    chains = list_chains(atoms)
    methods = splits.find_methods(chains)
    pairs = splits.compare_chains(
        chains, methods=methods, num_threads=num_jobs, progress=progress
    )
    chains["cluster"] = splits.cluster_chains(chains, pairs)
    owner = chains.structure.astype(str)
    chains["group"] = owner.map(splits.group_structures(chains, pairs))
    try:
        chains["split"] = owner.map(splits.assign_splits(chains))
    except ValueError as error:
        shutil.rmtree(parts_dir)
        raise StructureError(f"{out}: {error}") from error
    table = _describe_structures(table, chains)
    _write_set(atoms, table, chains, out)
    shutil.rmtree(parts_dir)
    leakage = splits.measure_leakage(chains, pairs)
    unknown = splits.find_unknown_chains(chains)
    return BuiltSet(table, len(atoms), broken, methods, leakage, unknown)


def _check_out(out: Path) -> None:
    """Check now what would otherwise fail at the end of a long build.

    raises: StructureError
    """
    if out.suffix != ".parquet":
        raise StructureError(f"{out}: expected a name that ends in .parquet")
    if out.is_dir():
        raise StructureError(f"{out}: is a directory")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StructureError(f"{out.parent}: {describe_error(error)}") from error
    if not os.access(out.parent, os.W_OK):
        raise StructureError(f"{out.parent}: permission denied")


def _find_repeated(paths: list[Path]) -> list[Broken]:
    """Find files with the structure name of an earlier file; crops couldn't tell them apart."""
    first, broken = {}, []
    for path in paths:
        other = first.setdefault(name_structure(path), path)
        if other != path:
            broken.append(Broken(path, f"has the same name as {other}"))
    return broken


def _handle_broken(broken: Broken, strict: bool, report: Callable[[Broken], None]) -> None:
    if strict:
        raise StructureError(f"{broken.path}: {broken.reason}")
    report(broken)


def _name_part(path: Path, options: dict[str, str]) -> str:
    """Return a name unique to this version of a file."""
    try:
        state = path.stat()
        identity = [str(path.resolve()), state.st_size, state.st_mtime_ns, options, PART_VERSION]
    except OSError:
        identity = [str(path), options]  # the reader reports what is wrong
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32] + ".parquet"


def _read_all(
    parts: dict[Path, Path], options: dict[str, str], num_jobs: int, progress: bool
) -> Iterator[Path | Broken]:
    """Read the files that have no part yet; yield each result as soon as it is there."""
    from tqdm import tqdm

    todo = [(path, part) for path, part in parts.items() if not part.exists()]
    with tqdm(
        total=len(parts), initial=len(parts) - len(todo), desc="read", unit="file",
        disable=not progress,
    ) as bar:  # fmt: skip
        num_jobs = min(num_jobs, 1 + len(todo) // FILES_PER_PROCESS)
        if num_jobs == 1:
            for path, part in todo:
                yield _read_part(path, part, options)
                bar.update()
            return
        # Threads that libraries have started in this process would not survive a fork.
        with ProcessPoolExecutor(num_jobs, mp_context=get_context("spawn")) as executor:
            try:
                for result in _read_in_parallel(executor, todo, options, 4 * num_jobs):
                    yield result
                    bar.update()
            except BrokenProcessPool:
                raise StructureError(
                    "a process that reads structures was killed, probably for lack of memory; "
                    "--jobs 1 needs the least"
                ) from None
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise


def _read_in_parallel(
    executor: Executor, todo: list[tuple[Path, Path]], options: dict[str, str], num_ahead: int
) -> Iterator[Path | Broken]:
    waiting: set[Future] = set()
    rest = iter(todo)
    while True:
        for path, part in rest:
            waiting.add(executor.submit(_read_part, path, part, options))
            if len(waiting) >= num_ahead:
                break
        if not waiting:
            return
        done, waiting = wait(waiting, return_when=FIRST)
        for future in done:
            yield future.result()


def _read_part(path: Path, part: Path, options: dict[str, str]) -> Path | Broken:
    """Read a file into a part of the set, completely or not at all."""
    try:
        entry = structures.read_entry(path, **options)
    except StructureError as error:
        return Broken(path, str(error).removeprefix(f"{path}: "))
    facts = {
        "resolution_A": entry.resolution_A, "method": entry.method,
        "num_models": entry.num_models, "assembly": entry.assembly,
        "file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **entry.counts,
    }  # fmt: skip
    facts_path = part.with_suffix(".json")
    facts_path.write_text(json.dumps(facts))
    # Last, since its presence marks the part as complete.
    structures.write_atoms(entry.atoms, part, compression_level=3, sync=False)
    return path


def _load_parts(parts: dict[Path, Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Load the atoms and the facts of all parts, sorted by the structures' names."""
    ordered = sorted(parts, key=name_structure)
    atoms = structures.load_all_atoms([parts[path] for path in ordered])
    facts = [json.loads(parts[path].with_suffix(".json").read_text()) for path in ordered]
    table = pd.DataFrame(facts)
    table.insert(0, "pdb_id", [name_structure(path) for path in ordered])
    return atoms, table


def _describe_structures(table: pd.DataFrame, chains: pd.DataFrame) -> pd.DataFrame:
    owner = chains.structure.astype(str)

    def count(column: str, *kinds: str) -> pd.Series:
        own = chains[chains.kind.isin(kinds)] if kinds else chains
        return own.groupby(own.structure.astype(str))[column].sum()

    counts = pd.DataFrame({
        "split": chains.groupby(owner).split.first(),
        "num_atoms": count("num_atoms"),
        "num_chains": chains.groupby(owner).chain.nunique(),
        "num_protein_residues": count("num_residues", "protein"),
        "num_nucleic_residues": count("num_residues", "nucleic"),
        "nucleic_acid_atoms": count("num_atoms", "nucleic"),
    })  # fmt: skip
    numbers = [name for name in counts if name != "split"]
    counts[numbers] = counts[numbers].fillna(0).astype(int)
    return table[["pdb_id"]].join(counts, on="pdb_id").join(table.drop(columns="pdb_id"))


def _write_set(atoms: pd.DataFrame, table: pd.DataFrame, chains: pd.DataFrame, out: Path) -> None:
    """Write all files, the atoms last; none is replaced before all of them are complete."""
    chains = chains[[*CHAIN_COLUMNS]]
    try:
        write_together({
            name_structures_path(out): table.to_csv(index=False, lineterminator="\n"),
            name_chains_path(out): chains.to_csv(index=False, lineterminator="\n"),
            out: structures.pack_atoms(atoms),
        })
    except OSError as error:
        raise StructureError(f"{out}: {describe_error(error)}") from error
