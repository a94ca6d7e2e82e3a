"""Atoms of a file -> those of the first assembly that the file defines.
"""

from __future__ import annotations

from itertools import count

import gemmi
import numpy as np

from atompaint_vae.data.structures.lines import Atoms, StructureError, Texts

# The capsid of a virus has a few million; 20 times as many don't fit into the memory.
MAX_ASSEMBLY_ATOMS = 10_000_000


def build_assembly(atoms: Atoms, header: gemmi.Structure) -> tuple[Atoms, str]:
    """Return the atoms of the first assembly, and its name; as they are, and '', if there is none.

    Chains are called A1, A2 and so on.

    atoms:  as of `select_atoms`
    raises: StructureError, without the path, if it is too large or empty
    """
    if not header.assemblies:
        return atoms, ""
    assembly = header.assemblies[0]
    num_copies = max(sum(len(x.operators) for x in assembly.generators), 1)
    num_atoms = num_copies * len(atoms["line"])
    if num_atoms > MAX_ASSEMBLY_ATOMS:
        raise StructureError(
            f"assembly {assembly.name} is {num_copies} copies, up to {num_atoms} atoms; the most "
            f"is {MAX_ASSEMBLY_ATOMS}"
        )
    rows, positions_A, chains, names = [], [], [], {}
    for generator in assembly.generators:
        own = np.flatnonzero(atoms["label"].isin({*generator.chains, *generator.subchains}))
        for operator in generator.operators:
            matrix, shift_A = operator.transform.mat.tolist(), operator.transform.vec.tolist()
            rows.append(own)
            positions_A.append(atoms["position_A"][own] @ np.array(matrix).T + np.array(shift_A))
            chains.append(_name_chains(atoms["chain"][own], operator.name, names))
    copies = atoms.select(np.concatenate([[], *rows]).astype(np.int64))
    if not len(copies["line"]):
        raise StructureError(f"assembly {assembly.name} contains none of the chains")
    copies["position_A"] = np.concatenate(positions_A)
    copies["chain"] = Texts.find(np.concatenate(chains))
    return copies, assembly.name


def _name_chains(chains: Texts, operator: str, names: dict[tuple[str, str], str]) -> np.ndarray:
    """Return new names, and add them to those of each operator's chains."""
    for code in np.sort(np.unique(chains.codes, return_index=True)[1]).tolist():
        chain = chains.distinct[chains.codes[code]]
        if (operator, chain) not in names:
            free = (f"{chain}{number}" for number in count(1))
            taken = set(names.values())
            names[operator, chain] = next(x for x in free if x not in taken)
    return chains.map(lambda x: names.get((operator, x), "")).decode()
