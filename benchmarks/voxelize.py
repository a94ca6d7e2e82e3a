"""Compare the time to make images and crops with macromol_voxelize; one thread each."""

import statistics
import time
from collections.abc import Callable

import macromol_voxelize as mmvox
import numpy as np
import pandas as pd
import polars as pl
import torch

from atompaint_vae.data.crops.sampler import CropSampler
from atompaint_vae.data.crops.voxelize import CHANNELS, voxelize

SIZE_VOXELS = 35
RADIUS_A = 0.75
# The mean number of atoms in a crop of the starter structures.
NUM_ATOMS = 1200
# Non-hydrogen atoms per Å³ in a large structure with its solvent; and in a whole ribosome.
DENSITY_ATOMS_A3 = 0.03
NUM_RIBOSOME_ATOMS = 165_000


def run(quick: bool) -> list[dict]:
    """Return rows for images at two resolutions, batches and crops; both libraries take turns."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        num_repeats = 10 if quick else 50
        return [
            _compare_images(num_repeats, num_images=1, resolution_A=1.0, is_per_atom=False),
            _compare_images(num_repeats, num_images=1, resolution_A=1.0, is_per_atom=True),
            _compare_images(num_repeats, num_images=1, resolution_A=0.5, is_per_atom=False),
            _compare_images(num_repeats // 2, num_images=8, resolution_A=1.0, is_per_atom=False),
            _time_crops(20 * num_repeats),
        ]
    finally:
        torch.set_num_threads(num_threads)


def _compare_images(
    num_repeats: int, *, num_images: int, resolution_A: float, is_per_atom: bool
) -> dict:
    rng = np.random.default_rng(0)
    num_atoms = num_images * NUM_ATOMS
    coords_A = rng.uniform(-0.5, 0.5, (num_atoms, 3)) * SIZE_VOXELS * resolution_A
    channels = rng.integers(len(CHANNELS), size=num_atoms)
    atoms = pl.DataFrame(
        {
            "x": coords_A[:, 0],
            "y": coords_A[:, 1],
            "z": coords_A[:, 2],
            "channels": channels[:, None].tolist(),
            "radius_A": np.full(num_atoms, RADIUS_A),
        }
    )
    image_params = mmvox.ImageParams(
        channels=len(CHANNELS),
        grid=mmvox.Grid(
            length_voxels=SIZE_VOXELS, resolution_A=resolution_A, center_A=np.zeros(3)
        ),
        fill_algorithm=mmvox.FillAlgorithm.FractionVoxel,
        agg_algorithm=mmvox.AggAlgorithm.Sum,
    )
    crops = [atoms[i * NUM_ATOMS : (i + 1) * NUM_ATOMS] for i in range(num_images)]
    tensors = (
        torch.tensor(coords_A, dtype=torch.float32),
        torch.tensor(channels),
        torch.arange(num_images).repeat_interleave(NUM_ATOMS),
    )
    radius_A = torch.full((num_atoms,), RADIUS_A) if is_per_atom else RADIUS_A

    def make_ours():
        voxelize(
            *tensors,
            num_images=num_images,
            num_channels=len(CHANNELS),
            size_voxels=SIZE_VOXELS,
            resolution_A=resolution_A,
            radius_A=radius_A,
        )

    def make_reference():
        for crop in crops:
            mmvox.image_from_all_atoms(crop, image_params)

    ours_ms, reference_ms = _time_interleaved_ms(make_ours, make_reference, num_repeats)
    how = "radius per atom" if is_per_atom else "one radius"
    return {
        "name": (
            f"{num_images} x {SIZE_VOXELS}³ voxels of {resolution_A:g} Å, "
            f"{NUM_ATOMS} atoms each, {how}"
        ),
        "ours": ours_ms,
        "reference": reference_ms,
        "reference_name": "macromol_voxelize",
        "ratio": reference_ms / ours_ms,
        "unit": "ms",
        "n": num_repeats,
    }


def _time_crops(num_crops: int) -> dict:
    """Return the row for crops from as many atoms as a ribosome has; macromol_voxelize has none."""
    rng = np.random.default_rng(0)
    length_A = (NUM_RIBOSOME_ATOMS / DENSITY_ATOMS_A3) ** (1 / 3)
    coords_A = rng.uniform(0, length_A, (NUM_RIBOSOME_ATOMS, 3)).astype(np.float32)
    atoms = pd.DataFrame(coords_A, columns=["x", "y", "z"])
    atoms = atoms.assign(structure="ribosome", element="C").astype(
        {"structure": "category", "element": "category"}
    )
    sampler = CropSampler(
        atoms, length_A=SIZE_VOXELS, radius_A=RADIUS_A, min_density_atoms_nm3=20.0
    )
    times_ms = [_time_ms(lambda i=i: sampler.sample(0, i)) for i in range(num_crops)]
    return {
        "name": f"crop of {SIZE_VOXELS} Å from {NUM_RIBOSOME_ATOMS} atoms",
        "ours": statistics.median(times_ms),
        "reference": None,
        "reference_name": None,
        "ratio": None,
        "unit": "ms",
        "n": num_crops,
    }


def _time_interleaved_ms(
    make_ours: Callable[[], None], make_reference: Callable[[], None], num_repeats: int
) -> tuple[float, float]:
    """Return median times; the first call of each is not timed: it builds tables, fills caches."""
    make_ours()
    make_reference()
    times = [(_time_ms(make_ours), _time_ms(make_reference)) for _ in range(num_repeats)]
    ours_ms, reference_ms = zip(*times, strict=True)
    return statistics.median(ours_ms), statistics.median(reference_ms)


def _time_ms(function: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start_s)
