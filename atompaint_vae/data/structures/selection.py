"""Which atoms of a file are kept, and how many were left out or guessed.

n: atoms
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool

from atompaint_vae.data.structures.chains import classify_residues, is_polymer_name
from atompaint_vae.data.structures.elements import DUMMY, UNKNOWN, find_elements
from atompaint_vae.data.structures.lines import (
    AtomLines,
    Atoms,
    StructureError,
    Texts,
    combine,
    find_repeated,
)
from atompaint_vae.data.structures.residues import PLACE, number_residues

ALTLOCS = ("first", "occupancy")

# The waters that gemmi knows, and those of simulation packages.
WATERS = frozenset({
    "DIS", "DOD", "F3C", "H2O", "HHO", "HOH", "OH2", "OHH", "OPC", "OPC3", "SOL", "SOLV", "SPC",
    "SPCE", "SPCF", "SPE", "SWM", "SWM4", "T3H", "T3P", "T4E", "T4EW", "T4P", "T5P", "TIP",
    "TIP2", "TIP3", "TIP4", "TIP5", "TIPS", "TP3", "TP4", "TP5", "TP4E", "TP4W", "WAT", "WTR",
})  # fmt: skip
# Some of these are also the names of ligands, which have other elements.
WATER_ELEMENTS = frozenset({"O", "H", "D", DUMMY, UNKNOWN})
# Membrane planes of the OPM database, whose points are called N and O, but are not atoms.
DUMMY_RESIDUES = frozenset({"DUM"})
HYDROGENS = frozenset({"H", "D"})

# What is counted, in the order in which it is shown: the columns of the table of structures.
GUESSED = {
    "guessed_elements": "elements", "guessed_residue_numbers": "residue numbers",
    "guessed_chains": "chains", "guessed_pieces": "pieces after an END",
    "guessed_occupancies": "occupancies",
}  # fmt: skip
LEFT_OUT = {
    "left_out_unknown": "unknown elements", "left_out_duplicates": "duplicates",
    "left_out_dummies": "dummy atoms", "left_out_blocks": "blocks", "left_out_models": "models",
    "left_out_alternates": "alternate locations", "left_out_hydrogens": "hydrogens",
    "left_out_water": "water",
}  # fmt: skip
COUNTS = (*GUESSED, *LEFT_OUT)


def describe_counts(counts: Mapping[str, int] | pd.Series) -> str:
    """Describe what was guessed and left out in one line, '' if nothing was."""
    parts = []
    for verb, names in (("guessed", GUESSED), ("left out", LEFT_OUT)):
        found = [f"{name} {counts[x]:,}" for x, name in names.items() if counts.get(x)]
        if found:
            parts.append(f"{verb}: {', '.join(found)}")
    return "; ".join(parts)


def select_atoms(lines: AtomLines, altloc: str = "first") -> tuple[Atoms, dict[str, int]]:
    """Select the heavy atoms of a file, without water, dummy atoms and alternate locations.

    altloc:  of each residue, keep the 'first' location in the file, or that of the highest mean
             'occupancy'; the first of equal ones
    returns: the atoms, with an element, with a chain and a residue_num [int64] of their own for
             each chain and residue, with its kind and code, and no missing occupancy; COUNTS
    raises:  StructureError, without the path, for a symbol that isn't an element's, or if no atom
             remains
    """
    atoms, counts = lines.atoms, dict.fromkeys(COUNTS, 0)
    elements, is_guessed, is_wrong = find_elements(atoms, lines.is_aligned)
    if is_wrong.any():
        first = int(np.flatnonzero(is_wrong)[0])
        symbol = atoms["symbol"].distinct[atoms["symbol"].codes[first]]
        raise StructureError(f"{lines.unit} {atoms['line'][first]}: unknown element {symbol!r}")
    is_left = np.zeros(len(elements), dtype=bool)
    for name, is_one in [
        ("water", _find_water(atoms["residue"], elements)),
        ("dummies", elements.isin({DUMMY}) | atoms["residue"].isin(DUMMY_RESIDUES)),
        ("hydrogens", elements.isin(HYDROGENS)),
        ("unknown", elements.isin({UNKNOWN})),
    ]:
        counts[f"left_out_{name}"] = int((is_one & ~is_left).sum())
        is_left |= is_one
    counts["left_out_models"] = lines.num_models - lines.num_models_read
    counts["left_out_blocks"] = lines.num_other_blocks
    counts["guessed_pieces"] = lines.num_pieces
    atoms = Atoms(atoms | {"element": elements, "is_guessed": is_guessed})
    if is_left.all():
        unknown = atoms.select(elements.isin({UNKNOWN}))
        raise StructureError(_explain_none(lines.unit, unknown, counts))
    atoms = atoms.select(~is_left)

    is_duplicate = _find_duplicates(atoms)
    if is_duplicate.any():
        counts["left_out_duplicates"] = int(is_duplicate.sum())
        atoms = atoms.select(~is_duplicate)
    numbering = number_residues(atoms, _find_polymers(atoms))
    counts["guessed_residue_numbers"] = numbering.num_stand_ins
    counts["guessed_chains"] = numbering.num_copies
    is_missing = np.isnan(atoms["occupancy"])
    atoms |= {
        "residue_num": numbering.residue_num, "chain": numbering.chain,
        "occupancy": np.where(is_missing, 1, atoms["occupancy"]),
    }  # fmt: skip
    is_kept = _choose_altlocs(atoms, altloc)
    kept = atoms.select(is_kept)
    kinds = _classify(kept)
    is_first = _find_first_names(kept, ~kinds["kind"].isin({"other"}))
    is_kept[is_kept] = is_first
    counts["left_out_alternates"] = int((~is_kept).sum())
    counts["guessed_elements"] = int(atoms["is_guessed"][is_kept].sum())
    counts["guessed_occupancies"] = int(is_missing[is_kept].sum())
    return Atoms(kept | kinds).select(is_first), counts


def _find_water(residues: Texts, elements: Texts) -> Bool[np.ndarray, "n"]:
    is_water = residues.isin(WATERS)
    others = residues[is_water & ~elements.isin(WATER_ELEMENTS)]
    return is_water & ~residues.isin({residues.distinct[x] for x in np.unique(others.codes)})


def _find_duplicates(atoms: Atoms) -> Bool[np.ndarray, "n"]:
    """Mark atoms that an earlier one equals in everything, including the position."""
    keys = ("chain", "number", "insertion_code", "residue", "name", "altloc")
    is_repeated = find_repeated(atoms.identify(*keys))
    if is_repeated.any():
        position = (np.unique(x, return_inverse=True)[1] for x in atoms["position_A"].T)
        is_repeated = find_repeated(combine(atoms.identify(*keys), *position))
    return is_repeated


def _find_polymers(atoms: Atoms) -> Bool[np.ndarray, "n"]:
    """Mark atoms of residues whose name is one of polymers; UNK is one if it has an atom CA."""
    residues = atoms["residue"]
    is_polymer = residues.isin({x for x in residues.distinct if is_polymer_name(x)})
    if "UNK" in residues.distinct:
        residue = atoms.identify("chain", "number", "insertion_code", "residue")
        is_alpha = atoms["name"].map(str.strip).isin({"CA"})
        is_polymer &= ~residues.isin({"UNK"}) | np.isin(residue, residue[is_alpha])
    return is_polymer


def _classify(atoms: Atoms) -> dict[str, Texts]:
    """Return the columns kind and code of each atom's residue."""
    columns = {x: atoms[x].decode() for x in ("chain", "residue", "insertion_code")}
    columns |= {
        "residue_num": atoms["residue_num"], "name": atoms["name"].map(str.strip).decode(),
    }  # fmt: skip
    found = classify_residues(columns, atoms["position_A"])
    return dict(zip(("kind", "code"), map(Texts.find, found), strict=True))


def _choose_altlocs(atoms: Atoms, altloc: str) -> Bool[np.ndarray, "n"]:
    """Mark atoms without an alternate location, and those of their residue's chosen one.

    Where a residue has several names, the chosen location is of one of them.
    """
    is_kept = atoms["altloc"].isin({""})
    if is_kept.all():
        return is_kept
    alternates = atoms.select(~is_kept)
    # Numbers in the order of the file.
    location = alternates.identify(*PLACE, "altloc", "residue")
    _, first = np.unique(location, return_index=True)
    place = alternates.identify(*PLACE)[first]
    order = np.arange(len(first))
    if altloc == "occupancy":
        sums = np.bincount(location, weights=alternates["occupancy"])
        order = np.argsort(-(sums / np.bincount(location)).round(6), kind="stable")
    chosen = order[np.unique(place[order], return_index=True)[1]]
    is_kept[~is_kept] = np.isin(location, chosen)
    return is_kept


def _find_first_names(
    atoms: Atoms, is_polymer: Bool[np.ndarray, "n"]
) -> Bool[np.ndarray, "n"]:
    """Mark atoms whose name no earlier atom of the same residue has, and all atoms outside
    polymers: files may leave out the letters of alternate locations, but some programs call every
    carbon of a ligand C."""
    return ~(find_repeated(atoms.identify(*PLACE, "residue", "name")) & is_polymer)


def _explain_none(unit: str, unknown: Atoms, counts: Mapping[str, int]) -> str:
    text = f"no heavy atoms remain; {describe_counts(counts)}"
    if len(unknown["line"]):
        name, residue = (unknown[x].decode()[0].strip() for x in ("name", "residue"))
        text += (
            f"; {unit} {unknown['line'][0]} has no element, and none is known for atom {name!r} "
            f"of residue {residue!r}"
        )
    return text
