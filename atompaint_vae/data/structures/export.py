"""Atoms of an image -> mmCIF file, alone or beside a structure's.

PyMOL, ChimeraX and `read_structure` open such files.
"""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits

import gemmi
import numpy as np
from jaxtyping import Float, Int

from ...text.files import write_atomic
from ..crops.voxelize import CHANNELS

RESIDUE = "UNL"
"""The name of an unknown ligand in the PDB's dictionary of components."""


def write_atoms_as_cif(
    path: Path, coords_A: Float[np.ndarray, "n 3"], channels: Int[np.ndarray, "n"]
) -> None:
    """
    Write atoms as an mmCIF file, as one residue UNL, without bonds.

    An atom's name is its element and its number among those of the element: C1, C2, N1. The
    channel "other" becomes the element X, which programs show, and `read_structure` leaves out.

    channels: indices of CHANNELS
    raises:   ValueError for a channel that doesn't exist, or coordinates that aren't finite;
              OSError as `write_atomic`
    """
    structure = gemmi.Structure()
    structure.add_model(gemmi.Model(1))
    write_structure_with_atoms(path, structure, coords_A, channels)


def write_structure_with_atoms(
    path: Path,
    structure: gemmi.Structure,
    coords_A: Float[np.ndarray, "n 3"],
    channels: Int[np.ndarray, "n"],
) -> None:
    """
    Write a structure as an mmCIF file, with further atoms as one residue UNL of a new chain.

    The structure's own atoms stay as they are, except that they are numbered anew. The new chain's
    name is the first letter or digit that is free.

    coords_A: of the further atoms, in the structure's frame
    channels, raises: as for `write_atoms_as_cif`
    """
    structure = structure.clone()
    structure.name = path.stem
    model = structure[0]
    chain = gemmi.Chain(_find_free_name([x.name for x in model]))
    chain.add_residue(_make_residue(coords_A, channels))
    model.add_chain(chain)
    structure.setup_entities()
    # Where the structure isn't in a crystal, gemmi would write a cell of 1 Å.
    is_crystal = structure.cell.is_crystal()
    groups = gemmi.MmcifOutputGroups(True, cell=is_crystal, symmetry=is_crystal)
    write_atomic(path, structure.make_mmcif_document(groups).as_string(), sync=False)


def _make_residue(
    coords_A: Float[np.ndarray, "n 3"], channels: Int[np.ndarray, "n"]
) -> gemmi.Residue:
    if ((channels < 0) | (channels >= len(CHANNELS))).any():
        raise ValueError(f"channels beyond 0 to {len(CHANNELS) - 1}")
    if not np.isfinite(coords_A).all():
        raise ValueError("coordinates that are not finite")
    residue = gemmi.Residue()
    residue.name, residue.het_flag, residue.seqid = RESIDUE, "H", gemmi.SeqId("1")
    numbers = Counter()
    for place_A, channel in zip(coords_A.tolist(), channels.tolist(), strict=True):
        atom = gemmi.Atom()
        name = CHANNELS[channel]
        atom.element = gemmi.Element("X" if name == "other" else name)
        numbers[name] += 1
        atom.name = f"{atom.element.name}{numbers[name]}"
        atom.pos = gemmi.Position(*place_A)
        residue.add_atom(atom)
    return residue


def _find_free_name(names: Collection[str]) -> str:
    letters = (*ascii_uppercase, *ascii_lowercase, *digits)
    return next((x for x in letters if x not in names), RESIDUE)
