"""Atoms -> residues and chains: the kind of polymer, and the sequence."""

from __future__ import annotations

import gemmi
import pandas as pd


def list_residues(atoms: pd.DataFrame) -> pd.DataFrame:
    """List residues in the order of their atoms.

    A residue is identified by chain, number, insertion code and name together. If its atoms are
    scattered over the file, it is listed once, at the place of the first.

    returns: structure, chain, residue, residue_num, insertion_code, num_atoms, kind ('protein',
             'nucleic' or 'other'), code (one letter, X if unknown)
    """
    keys = ["structure", "chain", "residue_num", "insertion_code", "residue"]
    groups = atoms.groupby(keys, observed=True, sort=False)
    residues = groups.size().rename("num_atoms").reset_index()
    known = {name: classify_residue(name) for name in residues.residue.unique()}
    residues["kind"] = residues.residue.map({name: kind for name, (kind, _) in known.items()})
    residues["code"] = residues.residue.map({name: code for name, (_, code) in known.items()})
    residues[["kind", "code"]] = residues[["kind", "code"]].astype(str)
    return residues


def list_chains(atoms: pd.DataFrame) -> pd.DataFrame:
    """List the chains in the order of their atoms, one row for each kind of residue.

    A chain that holds protein and ligands is two rows, one of kind 'protein' and one of 'other'.

    returns: structure, chain, kind, num_residues, num_atoms, sequence (observed residues, one
             letter each; '' for 'other')
    """
    residues = list_residues(atoms)
    groups = residues.groupby(["structure", "chain", "kind"], observed=True, sort=False)
    chains = groups.agg(
        num_residues=("code", "size"), num_atoms=("num_atoms", "sum"), sequence=("code", "".join)
    ).reset_index()
    chains.loc[chains.kind == "other", "sequence"] = ""
    return chains


def classify_residue(name: str) -> tuple[str, str]:
    """Return the kind and the one-letter code of a residue, by its name."""
    info = gemmi.find_tabulated_residue(name)
    code = info.one_letter_code.upper()
    code = code if code.isalpha() else "X"
    if info.is_amino_acid() or name == "UNK":
        return "protein", code
    if info.is_nucleic_acid():
        return "nucleic", code
    return "other", "X"
