"""A small real structure with all that files may hold: the middle of 1BHL, with additions."""

from pathlib import Path

import gemmi
import numpy as np

from atompaint_vae.data.crops.dataset import load_split

REACH_A = 16.0


def make_structure() -> gemmi.Structure:
    """Return a structure in a crystal, whose middle residue is A/100B.

    It has another location of its first atom outside the sphere of 4 Å around it, a hydrogen and
    a water in it, a bond out of it, and a chain B of one ion.
    """
    atoms = load_split("starter", "test").query("structure == '1BHL'")
    places_A = atoms[["x", "y", "z"]].to_numpy(np.float64)
    middle = np.linalg.norm(places_A - places_A.mean(axis=0), axis=1).argmin()
    nearest = atoms.iloc[middle]
    is_near = np.linalg.norm(places_A - places_A[middle], axis=1) < REACH_A
    chain = gemmi.Chain("A")
    for (number, name), own in atoms[is_near].groupby(
        ["residue_num", "residue"], observed=True, sort=True
    ):
        residue = gemmi.Residue()
        residue.name = name
        is_middle = number == nearest.residue_num
        residue.seqid = gemmi.SeqId(*((100, "B") if is_middle else (int(number), " ")))
        for i, row in enumerate(own.itertuples(), 1):
            add_atom(residue, f"{row.element}{i}", row.element, (row.x, row.y, row.z))
        chain.add_residue(residue)
    middle = next(x for x in chain if str(x.seqid) == "100B")
    center_A = np.mean([x.pos.tolist() for x in middle], axis=0)
    add_atom(middle, "HA", "H", center_A + np.array([0, 0, 1]))
    middle[0].altloc = "A"
    first = middle[0]
    place_A = center_A + np.array([0, 9, 0])
    add_atom(middle, first.name, first.element.name, place_A, altloc="B")
    water, ion = gemmi.Residue(), gemmi.Residue()
    water.name, water.seqid, water.het_flag = "HOH", gemmi.SeqId("900"), "H"
    add_atom(water, "O", "O", center_A + np.array([0, 1, 0]))
    ion.name, ion.seqid, ion.het_flag = "ZN", gemmi.SeqId("-5"), "H"
    add_atom(ion, "ZN", "ZN", center_A + np.array([40, 0, 0]))
    chain.add_residue(water)
    model = gemmi.Model(1)
    model.add_chain(chain)
    model.add_chain(gemmi.Chain("B")).add_residue(ion)
    structure = gemmi.Structure()
    structure.add_model(model)
    structure.cell = gemmi.UnitCell(80, 80, 90, 90, 90, 90)
    structure.spacegroup_hm = "P 1 21 1"
    structure.setup_entities()
    structure.assign_serial_numbers()
    bond = gemmi.Connection()
    bond.name, bond.type = "covale1", gemmi.ConnectionType.Covale
    *_, ion = structure[0].all()
    second = [x for x in structure[0].all() if str(x.residue.seqid) == "100B"][1]
    bond.partner1, bond.partner2 = (
        gemmi.make_address(x.chain, x.residue, x.atom) for x in (second, ion)
    )
    structure.connections.append(bond)
    return structure


def add_atom(residue, name, element, place_A, altloc="\0"):
    atom = gemmi.Atom()
    atom.name, atom.element, atom.altloc = name, gemmi.Element(element), altloc
    atom.pos = gemmi.Position(*(round(float(x), 3) for x in place_A))
    atom.b_iso = 12.5
    residue.add_atom(atom)


def write_structure(path: Path) -> Path:
    """Write it as mmCIF, or as PDB if the path's name says so."""
    structure = make_structure()
    if path.suffix == ".pdb":
        path.write_text(structure.make_pdb_string())
    else:
        path.write_text(structure.make_mmcif_document().as_string())
    return path


def list_atoms(path: Path) -> list[tuple]:
    """Return all that a file says of each atom, except serial numbers."""
    model = gemmi.read_structure(str(path))[0]
    return [
        (
            x.chain.name, str(x.residue.seqid), x.residue.name, x.atom.name, x.atom.altloc,
            x.atom.element.name, *x.atom.pos.tolist(), x.atom.occ, x.atom.b_iso,
        )
        for x in model.all()
    ]  # fmt: skip
