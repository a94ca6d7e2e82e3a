"""Atoms of an image -> mmCIF file, which PyMOL, ChimeraX and `read_structure` open."""

from collections import Counter
from pathlib import Path

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
    structure = gemmi.Structure()
    structure.name = path.stem
    model = gemmi.Model(1)
    model.add_chain(gemmi.Chain("A")).add_residue(residue)
    structure.add_model(model)
    structure.setup_entities()
    structure.assign_serial_numbers()
    # Not in a crystal: gemmi would write a cell of 1 Å.
    groups = gemmi.MmcifOutputGroups(True, cell=False, symmetry=False)
    write_atomic(path, structure.make_mmcif_document(groups).as_string(), sync=False)
