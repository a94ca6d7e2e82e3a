"""Crops to batches: what a torch DataLoader needs to feed crops to training, reproducibly.

    atoms = load_split("starter", "train")
    dataset = CropDataset(atoms, num_samples=4096, seed=1, size_voxels=35, ...)
    sampler = EpochSampler(num_samples=4096, batch_size=16)
    loader = DataLoader(dataset, batch_size=16, sampler=sampler, collate_fn=collate_crops)
    images = dataset.make_images(batch) / image_std

Workers send atoms, not images: a crop is some 20 kB, its image 1 MB. Images are made on the device.

n: atoms, b: images, c: channels, x y z: voxels
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from atompaint_vae.data.crops.filters import CropFilters
from atompaint_vae.data.crops.gaussians import calc_reach, voxelize_gaussians
from atompaint_vae.data.crops.sampler import Crop, CropSampler
from atompaint_vae.data.crops.voxelize import CHANNELS, check_grid, voxelize
from atompaint_vae.data.hparams import DataHparams
from atompaint_vae.data.sets.macromol_db import ZoneDatabase
from atompaint_vae.data.sets.sources import (
    SPLITS,
    STARTER,
    find_atoms_path,
    load_split,
    open_split,
)

__all__ = [
    "SPLITS", "STARTER", "CropBatch", "CropDataset", "EpochSampler", "calc_image_std",
    "collate_crops", "find_atoms_path", "load_split", "open_split",
]  # fmt: skip

DENSITIES = {"sphere": voxelize, "gaussian": voxelize_gaussians}


class CropBatch(NamedTuple):
    """Atoms of several crops, in the frames of their images."""

    coords_A: Float32[Tensor, "n 3"]
    channels: Int64[Tensor, "n"]
    image_index: Int64[Tensor, "n"]
    sample_index: Int64[Tensor, "b"]


class CropDataset(Dataset):
    """Numbered samples, each a crop that is a pure function of the atoms, the seed and its number.

    num_samples: the length; but every number from 0 to 2⁶³ - 1 is a sample
    num_crops:   sample i has the crop of number i % num_crops; 0: each sample has its own
    size_voxels, resolution_A, radius_A: as for `voxelize`
    filters, min_density_atoms_nm3: as for `CropSampler`
    density: "sphere" or "gaussian", the shape of an atom in an image
    """

    def __init__(
        self,
        atoms: pd.DataFrame | ZoneDatabase,
        *,
        num_samples: int,
        seed: int,
        num_crops: int = 0,
        size_voxels: int = 35,
        resolution_A: float = 1.0,
        radius_A: float = 0.75,
        min_density_atoms_nm3: float = 25.0,
        filters: CropFilters = CropFilters(),  # noqa: B008 (frozen)
        density: str = "sphere",
    ):
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, not {num_samples}")
        if num_crops < 0:
            raise ValueError(f"num_crops must be at least 0, not {num_crops}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, not {seed}")
        if density not in DENSITIES:
            known = ", ".join(DENSITIES)
            raise ValueError(f"unknown density {density!r}: expected one of {known}")
        check_grid(size_voxels, resolution_A, radius_A)
        self.density = density
        self.num_samples = num_samples
        self.seed = seed
        self.num_crops = num_crops
        self.size_voxels = size_voxels
        self.resolution_A = resolution_A
        self.radius_A = radius_A
        self.crop_sampler = CropSampler(
            atoms,
            length_A=size_voxels * resolution_A,
            radius_A=find_reach(radius_A, density),
            min_density_atoms_nm3=min_density_atoms_nm3,
            filters=filters,
        )

    def __repr__(self) -> str:
        return (
            f"{self.crop_sampler!r}: {len(CHANNELS)} channels of {self.size_voxels}³ voxels, "
            f"seed {self.seed}"
        )

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> tuple[int, Crop]:
        """Return the sample's number and its crop.

        raises: IndexError for a negative number
        """
        if index < 0:
            raise IndexError(f"sample {index}: samples are numbered from 0")
        number = index % self.num_crops if self.num_crops else index
        return index, self.crop_sampler.sample(self.seed, number)

    def __iter__(self) -> Iterator[tuple[int, Crop]]:
        # Without this, a for loop would wait for an IndexError that is never raised.
        return (self[i] for i in range(self.num_samples))

    def make_images(
        self, batch: CropBatch, *, size_voxels: int | None = None
    ) -> Float[Tensor, "b c x y z"]:
        """Make the images of a batch, on its device: the fraction of each voxel that atoms fill.

        size_voxels: side of the images; by default that of the crops
        """
        return DENSITIES[self.density](
            batch.coords_A,
            batch.channels,
            batch.image_index,
            num_images=len(batch.sample_index),
            num_channels=len(CHANNELS),
            size_voxels=self.size_voxels if size_voxels is None else size_voxels,
            resolution_A=self.resolution_A,
            radius_A=self.radius_A,
        )


def collate_crops(samples: Sequence[tuple[int, Crop]]) -> CropBatch:
    """Join the samples that CropDataset returns into a batch, in their order."""
    indices, crops = zip(*samples, strict=True)
    num_atoms = torch.tensor([len(crop.coords_A) for crop in crops])
    return CropBatch(
        coords_A=torch.cat([torch.from_numpy(crop.coords_A) for crop in crops]),
        channels=torch.cat([torch.from_numpy(crop.channels) for crop in crops]),
        image_index=torch.repeat_interleave(num_atoms),
        sample_index=torch.tensor(indices),
    )


class EpochSampler(Sampler[int]):
    """Numbers of the samples of an epoch e, e·n to (e + 1)·n - 1: no sample is seen twice.

    Of each step's batch_size · world_size samples, rank r takes the r-th batch_size: in each step,
    all processes together see what a single process with the whole batch would. Lightning calls
    `set_epoch`; it needs use_distributed_sampler=False.

    num_samples: in an epoch, over all processes
    batch_size:  of one process
    raises:      ValueError if several processes can't divide an epoch into whole steps
    """

    def __init__(
        self, num_samples: int, *, batch_size: int = 1, rank: int = 0, world_size: int = 1
    ):
        step_size = batch_size * world_size
        if num_samples < 1 or batch_size < 1:
            raise ValueError(
                f"expected at least 1 sample and 1 per batch, not {num_samples} and {batch_size}"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in 0..{world_size - 1}")
        if world_size > 1 and num_samples % step_size:
            raise ValueError(
                f"{num_samples} samples per epoch are not a multiple of {step_size}, "
                f"{batch_size} for each of {world_size} processes"
            )
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._resume_epoch, self._resume_step = 0, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def resume_at(self, epoch: int, step: int) -> None:
        """Skip the first steps of one epoch, which were trained before an interruption."""
        self._resume_epoch, self._resume_step = epoch, step

    def __len__(self) -> int:
        """Return the number of samples of a whole epoch for this rank, resumed or not."""
        return self.num_samples // self.world_size

    def __iter__(self) -> Iterator[int]:
        step_size = self.batch_size * self.world_size
        first_step = self._resume_step if self.epoch == self._resume_epoch else 0
        first = self.epoch * self.num_samples
        end = first + self.num_samples
        for step_start in range(first + first_step * step_size, end, step_size):
            start = step_start + self.rank * self.batch_size
            yield from range(start, min(start + self.batch_size, end))


def calc_image_std(dataset: CropDataset, num_images: int) -> float:
    """Return the standard deviation that images are divided by, over all voxels and channels.

    It is calculated from images 0 to num_images - 1 of the dataset, which should be that of the
    training split. One number serves all channels, so that rare elements stay rare.

    raises: ValueError if all images are empty
    """
    num_voxels, total, total_of_squares = 0, 0.0, 0.0
    for index in range(num_images):
        image = dataset.make_images(collate_crops([dataset[index]])).double()
        num_voxels += image.numel()
        total += float(image.sum())
        total_of_squares += float(image.square().sum())
    mean = total / num_voxels if num_voxels else 0.0
    variance = total_of_squares / num_voxels - mean**2 if num_voxels else 0.0
    if variance <= 0:
        raise ValueError(f"{num_images} images without an atom: can't be scaled to unit variance")
    return math.sqrt(variance)


def make_crops(
    atoms: pd.DataFrame | ZoneDatabase, data: DataHparams, *, num_samples: int, seed: int
) -> CropDataset:
    """Return a dataset of crops of any structures, with a run's hyperparameters.

    raises: ValueError if no crop passes the filters
    """
    return CropDataset(
        atoms,
        num_samples=num_samples,
        seed=seed,
        size_voxels=data.size_voxels,
        resolution_A=data.resolution_A,
        radius_A=data.radius_A,
        min_density_atoms_nm3=data.min_density_atoms_nm3,
        filters=make_filters(data),
        density=data.density,
    )


def make_filters(data: DataHparams) -> CropFilters:
    """Return the filters of a run's hyperparameters."""
    return CropFilters(
        min_occupancy=data.min_occupancy,
        elements=() if data.elements == "all" else tuple(data.elements.split()),
        min_nucleic_share=data.min_nucleic_share,
        max_nucleic_share=data.max_nucleic_share,
        min_border_distance_A=data.min_border_distance_A,
    )


def find_reach(radius_A: float, density: str) -> float:
    """Return how far an atom reaches into an image from its centre [Å]."""
    return radius_A if density == "sphere" else calc_reach(radius_A)
