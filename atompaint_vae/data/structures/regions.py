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
    near = {x: abs(y.seqid.num - wanted) for x, y in residues.items() if y.seqid.num is not None}
    # Of those that differ in the insertion code alone, first the one that differs in case.
    order = sorted(near, key=lambda x: (near[x], x.lower() != number.lower()))
    return order[:NUM_NEAR]


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

    Of an atom that a file has in several places, all are removed if that of the residue's first
    location is in the sphere, which is the one that `read_structure` takes; else those inside.
    Bonds that lead to a removed atom are removed as well.
    """
    copy = structure.clone()
    center = gemmi.Position(*center_A)
    for model in copy:
        for chain in model:
            for residue in chain:
                is_inside = [x.pos.dist(center) < radius_A for x in residue]
                first = next((x.altloc for x in residue if x.has_altloc()), None)
                gone = {
                    atom.name
                    for atom, inside in zip(residue, is_inside, strict=True)
                    if inside and (atom.altloc == first or not atom.has_altloc())
                }
                for i in reversed(range(len(residue))):
                    if is_inside[i] or residue[i].name in gone:
                        del residue[i]
    copy.remove_empty_chains()
    ends = [(x.partner1, x.partner2) for x in copy.connections]
    for i in reversed(range(len(ends))):
        if any(copy[0].find_cra(end, True).atom is None for end in ends[i]):
            del copy.connections[i]
    return copy
