"""The atoms of a file as they stand there, before anything is inferred or left out.

A format's reader makes these columns: one value for each atom, in the file's order.

    line            of the file, or the atom's number where lines are unknown
    part            of the file: the pieces between TER, END and models are counted from 0
    label           the name by which assemblies refer to the atom's chain
    chain           the author's name, '' if there is none
    residue, name, altloc, insertion_code, symbol
                    as in the file, '' if missing; `name` keeps the blanks around it
    number          of the residue, as text
    position_A      [n, 3]
    occupancy       NaN where it is missing or can't be read

n: atoms
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped


class StructureError(ValueError):
    """An unusable file of a structure or of atoms; the message is one line and names the file."""


class Texts:
    """Texts, of which few are distinct. For files of a few atoms, faster than pandas' categories.

    codes:    index of each text among the distinct ones
    distinct: each once
    """

    def __init__(self, codes: Int[np.ndarray, "n"], distinct: list[str]):
        self.codes, self.distinct = codes, distinct

    @classmethod
    def find(cls, texts: Shaped[np.ndarray, "n"]) -> Texts:
        """Find the distinct ones."""
        codes, distinct = pd.factorize(texts)
        return cls(codes, distinct.tolist())

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: np.ndarray | slice) -> Texts:
        return Texts(self.codes[index], self.distinct)

    def isin(self, texts: Collection[str]) -> Bool[np.ndarray, "n"]:
        return self.look_up([text in texts for text in self.distinct]).astype(bool)

    def look_up(self, values: Collection) -> np.ndarray:
        """Return, for each text, the value of the distinct text."""
        return np.array(values)[self.codes] if len(self) else np.array(values)[:0]

    def decode(self) -> Shaped[np.ndarray, "n"]:
        """Return the texts as an array of objects."""
        return np.array(self.distinct, dtype=object)[self.codes]

    def map(self, change: Callable[[str], str]) -> Texts:
        """Change each distinct text; several may become the same."""
        index: dict[str, int] = {}
        codes = [index.setdefault(change(text), len(index)) for text in self.distinct]
        return Texts(self.look_up(codes).astype(np.int64), list(index))

    def where(self, is_own: Bool[np.ndarray, "n"], others: Texts) -> Texts:
        """Return these texts, and the others where these are not wanted."""
        return Texts.find(np.where(is_own, self.decode(), others.decode()))


class Atoms(dict):
    """Columns of atoms: name -> Texts or array."""

    def select(self, index: np.ndarray) -> Atoms:
        return Atoms({name: column[index] for name, column in self.items()})

    def identify(self, *names: str) -> Int[np.ndarray, "n"]:
        """Return numbers that are equal where all of the columns are."""
        columns = (self[name] for name in names)
        return combine(*(x.codes if isinstance(x, Texts) else x for x in columns))


class AtomLines(NamedTuple):
    """The atoms of a file, and its metadata."""

    atoms: Atoms
    header: gemmi.Structure  # without atoms: resolution, method, assemblies
    num_models: int
    num_models_read: int
    unit: str  # what the column `line` counts: 'line' or 'atom'
    is_aligned: bool  # an element of two letters begins one column further left in the name
    num_other_blocks: int = 0  # of an mmCIF file, with atoms
    num_pieces: int = 0  # of a PDB file, that stand after an END and are read


def combine(*columns: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Return numbers from 0 that are equal where all of the columns are."""
    ids = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        codes, distinct = pd.factorize(column)
        ids, _ = pd.factorize(ids * max(len(distinct), 1) + codes)
    return ids


def find_repeated(ids: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Mark the values that came before."""
    is_first = np.zeros(len(ids), dtype=bool)
    is_first[np.unique(ids, return_index=True)[1]] = True
    return ~is_first
