"""Structure files -> a set: atoms, and the structures' splits, as two tables beside each other.

    set.parquet         the atoms of all structures
    set.structures.csv  where each is from, what it holds, its split
    set.chains.csv      its chains, their cluster and group

While a set is being made, what was read of each file is kept in set.parquet.parts, so that an
interrupted build goes on from there. The three files are moved into place when all are complete.
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

CHAIN_COLUMNS = (
    "structure", "chain", "kind", "num_residues", "num_atoms", "cluster", "group", "split",
)  # fmt: skip
# Change it whenever the same file would be read as something else.
PART_VERSION = 1
# A process takes as long to start as some files to read.
FILES_PER_PROCESS = 16


class Broken(NamedTuple):
    """A file that is left out, and why."""

    path: Path
    reason: str  # one line, without the path


class BuiltSet(NamedTuple):
    """What a build came to."""

    table: pd.DataFrame  # one row per structure
    num_atoms: int
    broken: list[Broken]
    methods: dict[str, str]  # how pairs of chains were found, by kind
    leakage: splits.Leakage


def name_chains_path(atoms_path: Path) -> Path:
    return atoms_path.with_name(f"{atoms_path.stem}.chains.csv")


def build_set(
    paths: list[Path],
    out: Path,
    *,
    assembly: str = "asymmetric",
    num_jobs: int = 1,
    strict: bool = False,
    progress: bool = False,
    report: Callable[[Broken], None] = lambda broken: None,
) -> BuiltSet:
    """Read structure files, split them by sequence and write the set.

    strict: raise for the first file that is broken, rather than leave it out
    report: called for each file that is left out
    raises: StructureError if no file can be read, or the structures are too few to be split
    """
    _check_out(out)
    parts_dir = out.with_name(f"{out.name}.parts")
    parts_dir.mkdir(exist_ok=True)
    broken = _find_repeated(paths)
    for each in broken:
        _handle_broken(each, strict, report)
    parts = {path: parts_dir / _name_part(path, assembly) for path in paths}
    for each in broken:
        del parts[each.path]
    for result in _read_all(parts, assembly, num_jobs, progress):
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
    pairs = splits.compare_chains(chains, methods=methods, progress=progress)
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
    return BuiltSet(table, len(atoms), broken, methods, splits.measure_leakage(chains, pairs))


def _check_out(out: Path) -> None:
    """Whatever would fail at the end of a long build fails now."""
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
    """Files whose structure's name another one before has; crops couldn't tell them apart."""
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


def _name_part(path: Path, assembly: str) -> str:
    """A name that no other file has, nor the same one once it has changed."""
    try:
        state = path.stat()
        identity = [str(path.resolve()), state.st_size, state.st_mtime_ns, assembly, PART_VERSION]
    except OSError:
        identity = [str(path), assembly]  # its reader will say what is wrong
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32] + ".parquet"


def _read_all(
    parts: dict[Path, Path], assembly: str, num_jobs: int, progress: bool
) -> Iterator[Path | Broken]:
    """Read what isn't there yet; the result of each file, as they come."""
    from tqdm import tqdm

    todo = [(path, part) for path, part in parts.items() if not part.exists()]
    with tqdm(
        total=len(parts), initial=len(parts) - len(todo), desc="read", unit="file",
        disable=not progress,
    ) as bar:  # fmt: skip
        num_jobs = min(num_jobs, 1 + len(todo) // FILES_PER_PROCESS)
        if num_jobs == 1:
            for path, part in todo:
                yield _read_part(path, part, assembly)
                bar.update()
            return
        # Threads of libraries that this process has started would not survive a fork.
        with ProcessPoolExecutor(num_jobs, mp_context=get_context("spawn")) as executor:
            try:
                for result in _read_in_parallel(executor, todo, assembly, 4 * num_jobs):
                    yield result
                    bar.update()
            except BrokenProcessPool:
                raise StructureError(
                    "a process that read structures was killed, for memory if nothing else; "
                    "--jobs 1 needs least"
                ) from None
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise


def _read_in_parallel(
    executor: Executor, todo: list[tuple[Path, Path]], assembly: str, num_ahead: int
) -> Iterator[Path | Broken]:
    waiting: set[Future] = set()
    rest = iter(todo)
    while True:
        for path, part in rest:
            waiting.add(executor.submit(_read_part, path, part, assembly))
            if len(waiting) >= num_ahead:
                break
        if not waiting:
            return
        done, waiting = wait(waiting, return_when=FIRST)
        for future in done:
            yield future.result()


def _read_part(path: Path, part: Path, assembly: str) -> Path | Broken:
    """Read a file into a part of the set, whole or not at all."""
    try:
        entry = structures.read_entry(path, assembly=assembly)
    except StructureError as error:
        return Broken(path, str(error).removeprefix(f"{path}: "))
    facts = {
        "resolution_A": entry.resolution_A, "method": entry.method,
        "num_models": entry.num_models, "assembly": entry.assembly,
        "file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }  # fmt: skip
    facts_path = part.with_suffix(".json")
    facts_path.write_text(json.dumps(facts))
    # Last: it says that all is there.
    structures.write_atoms(entry.atoms, part, compression_level=3)
    return path


def _load_parts(parts: dict[Path, Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Atoms of all parts, and a row of facts for each; in the order of the structures' names."""
    ordered = sorted(parts, key=name_structure)
    atoms = structures.concatenate_atoms([structures.load_atoms(parts[path]) for path in ordered])
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
    """Write all files under other names, then move them into place, the atoms last."""
    structures_path, chains_path = name_structures_path(out), name_chains_path(out)
    partial = {path: path.with_name(f".{path.name}.tmp") for path in (structures_path, chains_path)}
    try:
        table.to_csv(partial[structures_path], index=False, lineterminator="\n")
        chains[[*CHAIN_COLUMNS]].to_csv(partial[chains_path], index=False, lineterminator="\n")
        new_atoms = out.with_name(f".{out.name}.tmp")
        partial[out] = new_atoms
        structures.write_atoms(atoms, new_atoms)
        for path, temporary in partial.items():
            temporary.replace(path)
    except OSError as error:
        raise StructureError(f"{out}: {describe_error(error)}") from error
    finally:
        for temporary in partial.values():
            temporary.unlink(missing_ok=True)
