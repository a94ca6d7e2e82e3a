"""The element of an atom: by the symbol in the file, or by the names of the atom and its residue.

n: atoms
"""

from __future__ import annotations

import re
from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Bool

from atompaint_vae.data.structures.lines import Atoms, Texts

SYMBOLS = {gemmi.Element(n).name.upper(): gemmi.Element(n).name for n in range(1, 119)}
SYMBOLS |= {"D": "D", "T": "H"}
UNKNOWN, DUMMY = "", "dummy"

# What programs write for lone pairs, the charges of water models and other sites without an atom.
DUMMY_SYMBOLS = frozenset({"DU", "EP", "LP", "M", "MW", "Q", "VS", "XX"})
_IS_DUMMY_NAME = re.compile(r"(DUM?|EPW?|LP[A-Z]?|M|MW|VS|VIRT?)\d*").fullmatch

# Beads of side chains, of the force field Martini; they look like sulfur. The backbone's is BB.
_IS_BEAD = re.compile(r"SC\d").fullmatch

# Ions whose residue has another name than the element, of the PDB and of force fields.
IONS = {
    "BRO": "BR", "CAL": "CA", "CAD": "CD", "CES": "CS", "CIM": "CL", "CIO": "CS", "CIP": "NA",
    "CLA": "CL", "CLO": "CL", "IB": "BR", "IM": "CL", "IOD": "I", "IP": "NA", "LIT": "LI",
    "POT": "K", "RUB": "RB", "SOD": "NA", "BAR": "BA",
}  # fmt: skip
ION_RESIDUES = frozenset({"ION", "IONS"})
# Atoms and ions that nobody knows, in the PDB.
UNKNOWN_RESIDUES = frozenset({"UNX"})

# The metals of cofactors, whose names look like carbon or nitrogen.
METALS = {
    **dict.fromkeys(("B12", "CBY", "CNC", "COB", "COY"), "CO"),
    **dict.fromkeys(("F43", "NIK"), "NI"),
}
POLYMER_LETTERS = "HCNOSPDFI"
# In ligands these two letters are always an element, with or without digits behind them.
CERTAIN = frozenset({
    "AG", "AL", "AS", "AU", "BR", "CL", "CU", "FE", "GA", "GD", "LI", "MG", "MN", "MO", "PT", "RE",
    "RH", "RU", "SE", "SI", "TB", "TE", "TL", "XE", "YB", "ZN", "ZR",
})  # fmt: skip
# These may as well be the first letter's, which is the more frequent; only the columns tell.
ALIGNED = frozenset({
    "BA", "BE", "CA", "CD", "CO", "CR", "CS", "EU", "HG", "IN", "IR", "NA", "NI", "OS", "PB", "PD",
    "SB", "SM", "SN", "SR",
})  # fmt: skip
LIGAND_LETTERS = "HCNOSPDFIBKVWUY"


class Elements(NamedTuple):
    """Elements of atoms: UNKNOWN if neither symbol nor names tell, DUMMY if there is no atom."""

    symbols: Texts
    is_guessed: Bool[np.ndarray, "n"]  # by the names
    is_wrong: Bool[np.ndarray, "n"]  # the file's symbol isn't that of an element


def find_elements(atoms: Atoms, is_aligned: bool) -> Elements:
    """Find the elements of atoms.

    atoms:      with columns symbol, name and residue
    is_aligned: in names, an element of two letters begins one column before one of a single letter
    """
    symbols, names, residues = (atoms[x] for x in ("symbol", "name", "residue"))
    given = [parse_symbol(text) for text in symbols.distinct]
    has_none = symbols.look_up([x == UNKNOWN for x in given])
    is_wrong = symbols.look_up([x is None for x in given])
    found = Texts(symbols.codes, [x or UNKNOWN for x in given]).map(str)
    is_guessed = np.zeros(len(symbols), dtype=bool)
    if has_none.any():
        num_names = len(names.distinct)
        pairs = residues.codes[has_none].astype(np.int64) * num_names + names.codes[has_none]
        codes, unique = pd.factorize(pairs)
        guesses = [
            guess_element(names.distinct[x % num_names], residues.distinct[x // num_names],
                          is_aligned)
            for x in unique.tolist()
        ]  # fmt: skip
        elements = found.decode()
        elements[has_none] = np.array(guesses, dtype=object)[codes]
        found = Texts.find(elements)
        is_guessed[has_none] = np.array([x not in (UNKNOWN, DUMMY) for x in guesses])[codes]
    return Elements(found, is_guessed, is_wrong)


def parse_symbol(text: str) -> str | None:
    """Return the element of a symbol, UNKNOWN if it is left out, None if there is no such element.

    An ion's charge may follow. Before 1996, PDB files had an entry's name and a line's number here.
    """
    letters = text.strip().upper().rstrip("0123456789+-")
    if letters in ("", "X", "?", ".") or letters[0].isdigit():
        return UNKNOWN
    if letters in SYMBOLS:
        return SYMBOLS[letters]
    return DUMMY if letters in DUMMY_SYMBOLS else None


def guess_element(name: str, residue: str, is_aligned: bool = False) -> str:
    """Guess the element of an atom of a polymer, a ligand or an ion.

    name:    with the blanks before it, if is_aligned
    returns: UNKNOWN if the names don't tell
    """
    begins_early = is_aligned and name[:1].isalpha()
    name, residue = name.strip(), residue.strip()
    letters = _keep_letters(name)
    residue_letters = _keep_letters(residue)
    first_two = letters[:2]
    info = gemmi.find_tabulated_residue(residue)
    if not letters or residue in UNKNOWN_RESIDUES:
        return UNKNOWN
    ion = _guess_ion(letters, residue_letters, residue)
    if ion:
        return SYMBOLS[ion]
    if _IS_DUMMY_NAME(name.upper()):
        return DUMMY
    if info.is_amino_acid() or info.is_nucleic_acid():
        if first_two in ("SE", "BR") and len(letters) < 4:
            return SYMBOLS[first_two]
        is_known = letters[0] in POLYMER_LETTERS and not _IS_BEAD(name.upper())
        return SYMBOLS[letters[0]] if is_known else UNKNOWN
    symbol = re.match(r"[A-Z][a-z]", name)  # Cl1, in contrast to CL1 and Ca
    if symbol and symbol[0].upper() in SYMBOLS:
        return symbol[0]
    if METALS.get(residue) == letters or first_two in CERTAIN:
        return SYMBOLS[first_two]
    if begins_early and first_two in ALIGNED and len(name) < 4:
        return SYMBOLS[first_two]
    if letters[0] in LIGAND_LETTERS:
        return SYMBOLS[letters[0]]
    return SYMBOLS.get(first_two, UNKNOWN) if letters[0] not in "XQEJ" else UNKNOWN


def _keep_letters(text: str) -> str:
    return re.sub("[^A-Z]", "", text.upper())


def _guess_ion(letters: str, residue_letters: str, residue: str) -> str | None:
    ion = IONS.get(residue)
    if ion and letters in (ion, residue_letters):
        return ion
    if residue in ION_RESIDUES:
        return IONS.get(letters) or (letters if letters in SYMBOLS else None)
    is_alone = letters == residue_letters and letters in SYMBOLS
    return letters if is_alone else None
