"""A sphere around a residue of a structure: its centre, its atoms, and the structure without them.

n: atoms
"""

from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ...text.errors import UserError
from ...text.suggest import suggest
from ..crops.voxelize import find_channels
from .table import COORDINATES

NUM_NEAR = 2


class RegionError(UserError):
    """A residue that isn't there, or a region that can't be used. The message is one line."""


class Atoms(NamedTuple):
    """
    Heavy atoms, in the frame of a region: its centre is the origin, its axes are the file's.

    channels: indices of CHANNELS
    """

    coords_A: Float[np.ndarray, "n 3"]
    channels: Int[np.ndarray, "n"]

    def select(self, chosen: Bool[np.ndarray, "n"]) -> "Atoms":
        return Atoms(self.coords_A[chosen], self.channels[chosen])


def find_residue(structure: gemmi.Structure, name: str) -> gemmi.Residue:
    """
    Return a residue of a structure's first model; where several have the name, the first.

    name:   the author's chain and number, with the insertion code if there is one: A/52, A/52B
    raises: RegionError if there is none, with the nearest ones
    """
    chain, slash, number = name.rpartition("/")
    if not slash:
        raise RegionError(f"{name!r}: expected CHAIN/RESIDUE, such as A/52 or A/52B")
    numbers = {}
    for each in structure[0]:
        known = numbers.setdefault(each.name, {})
        for residue in each:
            known.setdefault(str(residue.seqid), residue)
    if chain not in numbers:
        raise RegionError(f"no chain {chain!r}; {suggest(chain, numbers)}")
    if number not in numbers[chain]:
        near = _find_near_numbers(number, numbers[chain])
        known = [f"{chain}/{x}" for x in numbers[chain]]
        hint = suggest(name, known, [f"{chain}/{x}" for x in near])
        raise RegionError(f"no residue {name!r}; {hint}")
    return numbers[chain][number]


def _find_near_numbers(number: str, residues: dict[str, gemmi.Residue]) -> list[str]:
    """Return the numbers of the nearest residues along the chain."""
    try:
        wanted = gemmi.SeqId(number).num
    except ValueError:
        return []
    if wanted is None:
        return []
    return sorted(residues, key=lambda x: abs(residues[x].seqid.num - wanted))[:NUM_NEAR]


def calc_center(residue: gemmi.Residue) -> Float[np.ndarray, "3"]:
    """Return the mean of a residue's heavy atoms, of all locations; of all atoms if none is heavy.

    returns: [Å], in the file's frame, rounded to 0.001 Å
    """
    atoms = [x for x in residue if not x.is_hydrogen()] or list(residue)
    return np.mean([x.pos.tolist() for x in atoms], axis=0).round(3)


def split_atoms(
    atoms: pd.DataFrame, center_A: Float[np.ndarray, "3"], radius_A: float
) -> tuple[Atoms, Atoms]:
    """
    Return the atoms whose centres lie in a sphere, and all others.

    atoms:    as of `read_structure`
    center_A: of the sphere, in the file's frame
    """
    offsets_A = atoms[list(COORDINATES)].to_numpy(np.float64) - center_A
    everything = Atoms(offsets_A, find_channels(atoms["element"]))
    is_inside = (offsets_A**2).sum(axis=1) < radius_A**2
    return everything.select(is_inside), everything.select(~is_inside)


def remove_sphere(
    structure: gemmi.Structure, center_A: Float[np.ndarray, "3"], radius_A: float
) -> gemmi.Structure:
    """
    Return a copy of a structure without the atoms in a sphere: hydrogens, water and ligands too.

    Other locations of a removed atom are removed as well, wherever they lie, and so are bonds that
    lead to one.
    """
    copy = structure.clone()
    center = gemmi.Position(*center_A)
    for model in copy:
        for chain in model:
            for residue in chain:
                gone = {x.name for x in residue if x.pos.dist(center) < radius_A}
                for i in reversed(range(len(residue))):
                    if residue[i].name in gone:
                        del residue[i]
    copy.remove_empty_chains()
    ends = [(x.partner1, x.partner2) for x in copy.connections]
    for i in reversed(range(len(ends))):
        if any(copy[0].find_cra(end, True).atom is None for end in ends[i]):
            del copy.connections[i]
    return copy
