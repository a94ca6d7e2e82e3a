"""Regions of many structures, hidden and painted anew: how many atoms are recovered?

n: atoms
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from ...analysis.intervals import calc_interval, calc_share_interval
from ...analysis.recovery import RECOVERED, count_recovered, count_recovered_by_chance
from ...data.crops.dataset import make_filters
from ...data.hparams import DataHparams
from ...data.structures.regions import split_atoms
from ...data.structures.table import COORDINATES
from .denoiser import Denoiser
from .hparams import SamplerHparams
from .painting import NUM_RESAMPLINGS, Painter

MIN_ATOMS_NM3 = 40.0
"""Around the centre of a region, in the sphere inscribed in the model's crops: inside proteins, it
is about 50, and at their surface half of that."""

PAINTED, CHANCE, RECONSTRUCTED = "painted", "random atoms", "reconstructed"
GAIN = "painted - random"


def measure_recovery(
    model: Denoiser,
    data: DataHparams,
    sampler: SamplerHparams,
    atoms: pd.DataFrame,
    *,
    radius_A: float,
    num_regions: int,
    num_resamplings: int = NUM_RESAMPLINGS,
    seed: int = 0,
) -> pd.DataFrame:
    """
    Hide a sphere around residues inside structures, paint each once, and count recovered atoms.

    data:    hyperparameters of the model's images
    atoms:   of structures that the model hasn't seen, as `load_split`
    seed:    of the residues' choice and of the noise
    returns: a row for each region and each of painted, random and reconstructed atoms (see
             `Painter.reconstruct`): structure, residue, atoms, and the counts of `count_recovered`
    raises:  RegionError as `Painter`
    """
    atoms = make_filters(data).select_atoms(atoms)
    side_A = data.size_voxels * data.resolution_A
    rows = []
    for index, (structure, residue, own, center_A) in enumerate(
        iter_regions(atoms, side_A, num_regions, seed)
    ):
        hidden, known = split_atoms(own, center_A, radius_A)
        painter = Painter(model, data, known, radius_A)
        *_, last = painter.sample_steps(
            sampler, seed=seed, indices=[index], num_resamplings=num_resamplings
        )
        found = painter.find_atoms(painter.decode(last.x)[0])
        counts = {
            PAINTED: count_recovered(found, hidden),
            CHANCE: count_recovered_by_chance(
                hidden, painter.known, radius_A=radius_A, side_A=side_A, seed=seed
            ),
            RECONSTRUCTED: count_recovered(
                painter.find_atoms(painter.reconstruct(hidden)), hidden
            ),
        }
        region = {"structure": structure, "residue": residue}
        rows += [region | {"atoms": name} | each for name, each in counts.items()]
    return pd.DataFrame(rows)


def iter_regions(
    atoms: pd.DataFrame, side_A: float, num_regions: int, seed: int
) -> Iterator[tuple[str, str, pd.DataFrame, np.ndarray]]:
    """
    Yield residues inside structures, chosen at random, none twice, of each structure about equally
    many.

    yields: the structure's name, the residue's, the structure's atoms, the residue's centre [Å]
    raises: ValueError if no structure has such a residue
    """
    rng = np.random.default_rng(seed)
    structures = {str(name): own for name, own in atoms.groupby("structure", observed=True)}
    residues = {
        name: _iter_residues(structures[name], side_A, rng)
        for name in rng.permutation(sorted(structures)).tolist()
    }
    num_found = 0
    while residues and num_found < num_regions:
        for name in list(residues):
            found = next(residues[name], None)
            if found is None:
                del residues[name]
            elif num_found < num_regions:
                num_found += 1
                yield name, found[0], structures[name], found[1]
    if not num_found:
        raise ValueError(f"no structure has a residue with {MIN_ATOMS_NM3:g} atoms/nm³ around it")


def _iter_residues(
    atoms: pd.DataFrame, side_A: float, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    places_A = atoms[list(COORDINATES)].to_numpy(np.float64)
    tree = cKDTree(places_A)
    columns = ["chain", "residue_num", "insertion_code"]
    residues = atoms.groupby(columns, observed=True, sort=False).indices
    names = list(residues)
    sphere_nm3 = 4 / 3 * np.pi * (side_A / 20) ** 3
    for i in rng.permutation(len(names)):
        center_A = places_A[residues[names[i]]].mean(axis=0)
        num_inside = tree.query_ball_point(center_A, side_A / 2, return_length=True)
        if num_inside >= MIN_ATOMS_NM3 * sphere_nm3:
            chain, number, letter = names[i]
            yield f"{chain}/{number}{letter}", center_A


def summarise_recovery(counts: pd.DataFrame) -> pd.DataFrame:
    """
    Return recall and precision over all regions, each with its 95 % interval over structures.

    counts:  as of `measure_recovery`
    returns: atoms, measure (see `RECOVERED`), value, low, high; regions, structures. The rows of
             what painting gains over random atoms are of recalls, whose divisors are the same
    """
    parts = {name: part.reset_index(drop=True) for name, part in counts.groupby("atoms")}
    size = {"regions": len(parts[PAINTED]), "structures": counts["structure"].nunique()}
    rows = []

    def add(name: str, measure: str, values: pd.Series, divisors: pd.Series):
        groups = parts[PAINTED]["structure"]
        # A gain may be negative.
        calc = calc_interval if name == GAIN else calc_share_interval
        low, high = calc(values.to_numpy(), groups.to_numpy(str), divisors.to_numpy())
        value = values.sum() / divisors.sum() if divisors.sum() else np.nan
        row = {"atoms": name, "measure": measure, "value": value, "low": low, "high": high}
        rows.append(row | size)

    for measure, (recovered, of) in RECOVERED.items():
        for name in (PAINTED, CHANCE, RECONSTRUCTED):
            add(name, measure, parts[name][recovered], parts[name][of])
        if of == "hidden":
            gain = parts[PAINTED][recovered] - parts[CHANCE][recovered]
            add(GAIN, measure, gain, parts[PAINTED][of])
    return pd.DataFrame(rows)
