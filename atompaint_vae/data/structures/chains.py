"""Atoms -> residues and chains: the kind of polymer, and the sequence.

The kind of a residue is 'protein', 'nucleic' or 'other'; its code is one letter, X if unknown.

- A name that gemmi lists, which are those of the PDB's common components, has the kind given there.
  UNK is an amino acid if it has a CA, and otherwise an unknown ligand.
- A name that force fields give to amino acids or nucleotides counts as such if the residue has an
  atom of the backbone. The PDB has ligands of the same names: ADE is also adenine.
- A residue of any other name belongs to a polymer if it has the whole backbone (N, CA, C; or O5',
  C5', C4', C3', O3', also written with *), and its number follows those of its neighbours: it is
  between two residues of that kind, or bonded to one, or in a run of at least 4 such residues.
  Ligands such as AMP and S-adenosylmethionine have the same atoms, and one may be numbered after
  the last residue of a chain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Float

_AMINO_ACIDS = {
    "R": "ARN ARGN AR0",
    "C": "CYX CYM CYN CYD CYZ CYSH CYSD CYS1 CYS2 CYXD",
    "D": "ASH ASPH ASPP AS4",
    "E": "GLH GLUH GLUP GL4",
    "H": "HID HIE HIP HSD HSE HSP HISA HISB HISD HISE HISH HISP HIS1 HIS2",
    "I": "ILEU",
    "K": "LYN LYP LSN LYSH LYSN",
    "Y": "TYM TYN TYO",
}
"""Names of CHARMM, Amber, GROMOS, OPLS, Rosetta and Schrödinger."""
_AMINO_ACID_CODES = {name: code for code, names in _AMINO_ACIDS.items() for name in names.split()}
_TERMINAL_AMINO_ACID = re.compile(r"[NC](\w{3})")
_NUCLEOTIDE = re.compile(r"[DR]?(?:([ACGTU])[35N]?|(ADE|CYT|GUA|THY|URA)[35]?)")

# Each atom of a residue that decides about its kind is a bit.
_NAMES = (
    "N", "CA", "C", "P", "O5'", "C5'", "C4'", "C3'", "O3'", "C1'", "O2'", "N9", "N6", "O6", "N4",
    "O4",
)  # fmt: skip
_BITS = {name: 1 << place for place, name in enumerate(_NAMES)}
_BACKBONES = {
    "protein": sum(_BITS[name] for name in ("N", "CA", "C")),
    "nucleic": sum(_BITS[name] for name in ("O5'", "C5'", "C4'", "C3'", "O3'")),
}
_EVIDENCE = {
    "protein": _BITS["CA"],
    "nucleic": _BACKBONES["nucleic"] | _BITS["P"] | _BITS["C1'"],
}
_BOND_ENDS = {"protein": ("C", "N"), "nucleic": ("O3'", "P")}
MAX_BOND_A = 2.4
"""1.5 times the bond of phosphorus and oxygen."""
MIN_UNKNOWN_RUN = 4


def list_residues(atoms: pd.DataFrame) -> pd.DataFrame:
    """List residues in the order of their atoms.

    A residue is identified by chain, number, insertion code and name together. If its atoms are
    scattered over the file, it is listed once, at the place of the first.

    returns: structure, chain, residue, residue_num, insertion_code, num_atoms, kind, code
    """
    keys = ["structure", "chain", "residue_num", "insertion_code", "residue"]
    groups = atoms.groupby(keys, observed=True, sort=False)
    residues = groups.agg(
        num_atoms=("kind", "size"), kind=("kind", "first"), code=("code", "first")
    ).reset_index()
    residues[["kind", "code"]] = residues[["kind", "code"]].astype(str)
    return residues


def list_chains(atoms: pd.DataFrame) -> pd.DataFrame:
    """List the chains in the order of their atoms, one row for each kind of residue.

    A chain that holds protein and ligands is two rows, one of kind 'protein' and one of 'other'.

    returns: structure, chain, kind, num_residues, num_atoms, sequence (observed residues, one
             letter each; '' for 'other'), names (of the same residues, separated by spaces)
    """
    residues = list_residues(atoms).astype({"residue": str})
    groups = residues.groupby(["structure", "chain", "kind"], observed=True, sort=False)
    chains = groups.agg(
        num_residues=("code", "size"), num_atoms=("num_atoms", "sum"), sequence=("code", "".join),
        names=("residue", " ".join),
    ).reset_index()  # fmt: skip
    chains.loc[chains.kind == "other", "sequence"] = ""
    return chains


def classify_residues(
    atoms: Mapping[str, np.ndarray], positions_A: Float[np.ndarray, "n 3"]
) -> tuple[np.ndarray, np.ndarray]:
    """Find the kind and the code of each atom's residue, by names and atoms.

    atoms:   chain, residue, residue_num (NaN if unknown), insertion_code and name, [n] each; a
             residue's atoms together
    returns: kind, code [n]
    """
    columns = ("chain", "residue", "residue_num", "insertion_code")
    is_start = np.ones(len(positions_A), dtype=bool)
    is_start[1:] = np.logical_or.reduce([atoms[x][1:] != atoms[x][:-1] for x in columns])
    starts, rows = np.flatnonzero(is_start), is_start.cumsum() - 1
    numbers, atom_names = pd.factorize(atoms["name"])
    bits = np.array([_BITS.get(x.upper().replace("*", "'"), 0) for x in atom_names], dtype=int)
    bits = bits[numbers]
    residues = _Residues(
        *(atoms[name][starts] for name in columns[:3]),
        np.bitwise_or.reduceat(bits, starts) if len(starts) else bits,
    )  # fmt: skip
    known = [_classify(*each) for each in zip(residues.names, residues.bits.tolist(), strict=True)]
    kinds, codes = np.array(known, dtype=object).reshape(-1, 2).T
    for kind, ends in _BOND_ENDS.items():
        is_kind = kinds == kind
        is_candidate = _find_candidates(residues, kind) & (kinds == "other")
        if is_candidate.any():
            tail_A, head_A = (
                _find_places(bits == _BITS[name], rows, positions_A, len(starts)) for name in ends
            )
            is_bonded = np.zeros(len(starts), dtype=bool)
            is_bonded[1:] = np.linalg.norm(head_A[1:] - tail_A[:-1], axis=1) <= MAX_BOND_A
            kinds[_find_modified(residues, is_kind, is_candidate, is_bonded)] = kind
    for place in np.flatnonzero((kinds == "nucleic") & (codes == "X")):
        codes[place] = _read_base(int(residues.bits[place]))
    return kinds[rows], codes[rows]


def classify_names(residues: pd.Series) -> pd.DataFrame:
    """Find the kind and the code of each atom's residue where nothing but its name is known.

    returns: kind, code, with the index of `residues`
    """
    names = residues.astype("category")
    known = [_classify_known(name) or ("other", "X") for name in names.cat.categories]
    # The last row is for missing names, whose number is -1.
    table = pd.DataFrame([*known, ("other", "X")], columns=["kind", "code"], dtype=object)
    return table.iloc[names.cat.codes].set_axis(residues.index)


def is_polymer_name(name: str) -> bool:
    """Return whether residues of a name may be amino acids or nucleotides."""
    known = _classify_known(name) or _find_alias(name)
    return known is not None and known[0] != "other"


class _Residues(NamedTuple):
    """Residues in the file's order, [N] each."""

    chains: np.ndarray
    names: np.ndarray
    nums: np.ndarray
    bits: np.ndarray  # atoms that are there


@cache
def _classify(name: str, bits: int) -> tuple[str, str]:
    """Return the kind and the code of a residue with these atoms, apart from its neighbours."""
    # First, since DGN is D-glutamine or a guanosine.
    alias = _find_alias(name)
    if alias and bits & _EVIDENCE[alias[0]]:
        return alias
    known = _classify_known(name)
    is_ligand = name == "UNK" and not bits & _EVIDENCE["protein"]
    return known if known and not is_ligand else ("other", "X")


@cache
def _classify_known(name: str) -> tuple[str, str] | None:
    """Return the kind and the code of a residue that gemmi lists, None for any other."""
    info = gemmi.find_tabulated_residue(name)
    if not info.found():
        return None
    code = info.one_letter_code.upper()
    code = code if code.isalpha() else "X"
    if info.is_amino_acid():
        return "protein", code
    if info.is_nucleic_acid():
        return "nucleic", code
    return "other", "X"


@cache
def _find_alias(name: str) -> tuple[str, str] | None:
    """Return the kind and the code of a force field's residue, None for any other name."""
    if name in _AMINO_ACID_CODES:
        return "protein", _AMINO_ACID_CODES[name]
    if match := _NUCLEOTIDE.fullmatch(name):
        return "nucleic", (match[1] or match[2])[0]
    if match := _TERMINAL_AMINO_ACID.fullmatch(name):
        inner = _classify_known(match[1]) or _find_alias(match[1])
        if inner and inner[0] == "protein":
            return inner
    return None


def _find_candidates(residues: _Residues, kind: str) -> np.ndarray:
    """Mark [N] residues of unknown names that have the whole backbone of a polymer."""
    is_candidate = residues.bits & _BACKBONES[kind] == _BACKBONES[kind]
    for place in np.flatnonzero(is_candidate):
        is_candidate[place] = _classify_known(residues.names[place]) is None
    return is_candidate


def _find_places(
    is_atom: np.ndarray, rows: np.ndarray, positions_A: np.ndarray, num_residues: int
) -> np.ndarray:
    """Return the position [N, 3] of an atom of each residue, NaN without such an atom."""
    places_A = np.full((num_residues, 3), np.nan)
    places_A[rows[is_atom]] = positions_A[is_atom]
    return places_A


def _find_modified(
    residues: _Residues, is_kind: np.ndarray, is_candidate: np.ndarray, is_bonded: np.ndarray
) -> np.ndarray:
    """Mark [N] the candidates that belong to a polymer; bonded ones are so to the one before."""
    is_member = is_candidate | is_kind
    # To the residue before.
    is_joined = np.zeros(len(is_member), dtype=bool)
    is_joined[1:] = (
        (residues.chains[1:] == residues.chains[:-1]) & (abs(np.diff(residues.nums)) <= 1)
        & is_member[1:] & is_member[:-1]
    )  # fmt: skip
    is_bonded = is_bonded & is_joined
    runs = (~is_joined).cumsum()
    has_known = np.isin(runs, runs[is_kind])
    is_long = np.bincount(runs)[runs] >= MIN_UNKNOWN_RUN
    is_between = is_joined & np.append(is_joined[1:], False)
    is_bonded |= np.append(is_bonded[1:], False)
    return is_candidate & np.where(has_known, is_between | is_bonded, is_long)


def _read_base(bits: int) -> str:
    """Return the letter of a nucleotide's base, from its atoms."""
    has = {name: bool(bits & bit) for name, bit in _BITS.items()}
    if has["N9"]:
        return "G" if has["O6"] else "A" if has["N6"] else "X"
    if has["N4"]:
        return "C"
    if has["O4"]:
        return "U" if has["O2'"] else "T"
    return "X"
