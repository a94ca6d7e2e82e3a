"""A set of structures -> counts of its contents."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from atompaint_vae.data.sets.macromol_db import EmptySplitError, ZoneDatabase, is_database
from atompaint_vae.data.sets.sources import SPLITS, find_atoms_path, load_structures
from atompaint_vae.data.sets.splits import find_unknown_chains
from atompaint_vae.data.structures.chains import list_chains
from atompaint_vae.data.structures.formats import StructureError
from atompaint_vae.data.structures.selection import COUNTS, describe_counts
from atompaint_vae.data.structures.table import load_atoms

NUM_ELEMENTS = 12
NUM_SHOWN = 5
MAX_FILES = 40
"""Of which a line says what was guessed and left out; those with rare things come first."""
COMMON = ("left_out_water", "left_out_hydrogens", "left_out_alternates", "left_out_models")
RESOLUTION_EDGES_A = (0.0, 1.5, 2.0, 2.5, 3.0, 4.0, np.inf)


class Summary(NamedTuple):
    """Counts of a set, split by split."""

    name: str
    splits: pd.DataFrame  # structures, chains, atoms and kinds of residues, indexed by split
    elements: pd.DataFrame  # atoms, by element (the commonest first) and split
    resolutions_A: pd.DataFrame  # columns split, resolution_A; only of structures that have one
    sizes: pd.DataFrame  # columns split, num_atoms, of each structure
    unknown: list[str]  # large chains that are neither protein nor nucleic acid
    reading: list[str]  # what was guessed and left out, as `describe_reading`


def load_summary(source: str) -> Summary:
    """Summarise a source of structures.

    raises: ValueError if it can't be read
    """
    path = find_atoms_path(source)
    name = source if source != str(path) else path.name
    if is_database(path):
        return _summarise_database(path, name)
    atoms, table = load_atoms(path), load_structures(path)
    split_of = dict(zip(table.pdb_id, table.split, strict=True))
    chains = list_chains(atoms)
    unknown = find_unknown_chains(chains)
    chains["split"] = chains.structure.astype(str).map(split_of)
    atoms["split"] = atoms.structure.astype(str).map(split_of)
    atoms = atoms.dropna(subset="split")
    sizes = atoms.groupby(["split", "structure"], observed=True).size()
    num_residues = chains.groupby(["split", "kind"]).num_residues.sum().unstack("kind")
    num_residues = num_residues.reindex(columns=["protein", "nucleic", "other"])
    chains = chains.drop_duplicates(["structure", "chain"])
    splits = pd.DataFrame({
        "structures": sizes.groupby("split").size(),
        "chains": chains.groupby("split").size(),
        "residues": num_residues.sum(axis=1),
        "protein": num_residues["protein"],
        "nucleic": num_residues["nucleic"],
        "atoms": atoms.groupby("split").size(),
    })  # fmt: skip
    resolutions_A = pd.DataFrame({"split": [], "resolution_A": []})
    if "resolution_A" in table:
        values = pd.to_numeric(table.resolution_A, errors="coerce")
        resolutions_A = table.assign(resolution_A=values).dropna(subset="resolution_A")
    return Summary(
        name, _order_splits(splits), _count_elements(atoms),
        resolutions_A[["split", "resolution_A"]],
        sizes.rename("num_atoms").reset_index()[["split", "num_atoms"]], unknown,
        describe_reading(table),
    )  # fmt: skip


def describe_set(summary: Summary) -> str:
    """Format a summary for a terminal, as three tables and lines about the files."""
    splits = pd.concat([summary.splits, summary.splits.sum().to_frame("all").T])
    text = [f"{summary.name}", "", splits.map("{:,}".format).to_string(), ""]
    shares = summary.elements.sum(axis=1)
    elements = summary.elements.assign(all=shares).map("{:,}".format)
    elements["%"] = (100 * shares / shares.sum()).map("{:.2f}".format)
    text += [elements.rename_axis("atoms of").to_string(), ""]
    counts = count_resolutions(summary)
    if len(counts):
        text.append(counts.rename_axis("resolution").to_string())
    else:
        text.append("no resolutions are known")
    if summary.unknown:
        text += ["", describe_unknown(summary.unknown)]
    if summary.reading:
        text += ["", *summary.reading]
    return "\n".join(text)


def describe_reading(table: pd.DataFrame) -> list[str]:
    """Describe what was guessed and left out when the files of a set were read.

    table:   of the set's structures; if it doesn't say, nothing is described
    returns: a line for each file with something to say, at most MAX_FILES, and one for all files
    """
    known = [name for name in COUNTS if name in table]
    counts = table.set_index("pdb_id")[known].apply(pd.to_numeric, errors="coerce").fillna(0)
    counts = counts.astype(int)
    is_rare = counts.drop(columns=list(COMMON), errors="ignore").any(axis=1)
    order = [*counts.index[is_rare], *counts.index[~is_rare & counts.any(axis=1)]]
    lines = [f"{name}: {describe_counts(counts.loc[name])}" for name in order[:MAX_FILES]]
    if len(order) > MAX_FILES:
        lines.append(f"and {len(order) - MAX_FILES} more, in the table of structures")
    if order:
        lines.append(f"all {len(table)} files: {describe_counts(counts.sum())}")
    return lines


def describe_unknown(names: list[str]) -> str:
    """Describe large chains that are neither protein nor nucleic acid, in one line."""
    shown = ", ".join(names[:NUM_SHOWN]) + (", ..." if len(names) > NUM_SHOWN else "")
    chains = "chain is" if len(names) == 1 else "chains are"
    return (
        f"{len(names)} large {chains} neither protein nor nucleic acid, and compared by the names "
        f"of residues only: {shown}"
    )


def count_resolutions(summary: Summary) -> pd.DataFrame:
    """Count structures by resolution and split; empty if no resolution is known."""
    if summary.resolutions_A.empty:
        return pd.DataFrame()
    edges = RESOLUTION_EDGES_A
    labels = [
        f"{low:g} to {high:g} Å" if np.isfinite(high) else f"{low:g} Å and above"
        for low, high in pairwise(edges)
    ]
    labels[0] = f"below {edges[1]:g} Å"
    bins = pd.cut(summary.resolutions_A.resolution_A, edges, labels=labels, right=False)
    counts = pd.crosstab(bins, summary.resolutions_A.split, dropna=False)
    return counts.reindex(columns=summary.splits.index, fill_value=0)


def _count_elements(atoms: pd.DataFrame) -> pd.DataFrame:
    counts = pd.crosstab(atoms.element.astype(str), atoms.split)
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    counts = counts.reindex(columns=_order_splits(counts.T).index, fill_value=0)
    if len(counts) > NUM_ELEMENTS:
        rest = counts.iloc[NUM_ELEMENTS:].sum().to_frame(f"{len(counts) - NUM_ELEMENTS} others").T
        counts = pd.concat([counts.iloc[:NUM_ELEMENTS], rest])
    return counts


def _order_splits(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a table's rows: our three splits first, then any others."""
    known = [split for split in SPLITS if split in table.index]
    others = [split for split in table.index if split not in SPLITS]
    return table.loc[[*known, *others]].fillna(0).astype(int)


def _summarise_database(path: Path, name: str) -> Summary:
    """Summarise a database, reading one structure at a time."""
    rows, elements, sizes = [], [], []
    for split in SPLITS:
        try:
            zones = ZoneDatabase(path, split)
        except EmptySplitError:
            continue
        _, first = np.unique(zones.assembly_ids, return_index=True)
        count, num_atoms = Counter(), []
        for zone in first:
            atoms = zones.load_atoms(int(zone))
            count.update(atoms.element)
            num_atoms.append(len(atoms))
        row = {"structures": len(set(zones.structures)), "zones": len(zones),
               "atoms": sum(num_atoms)}  # fmt: skip
        rows.append(pd.Series(row, name=split))
        elements.append(pd.DataFrame({"split": split, "element": list(count.elements())}))
        sizes.append(pd.DataFrame({"split": split, "num_atoms": num_atoms}))
    if not rows:
        raise StructureError(f"{path}: no zones in any split")
    resolutions_A = pd.DataFrame({"split": [], "resolution_A": []})
    return Summary(
        name, pd.DataFrame(rows), _count_elements(pd.concat(elements)), resolutions_A,
        pd.concat(sizes), [], [],
    )  # fmt: skip
