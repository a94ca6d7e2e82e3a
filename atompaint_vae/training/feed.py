"""Crops for training: the loaders of one run."""

import os
from functools import partial
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from ..config.hparams import Hparams, resolve_source
from ..data.crops.dataset import (
    CropBatch,
    CropDataset,
    EpochSampler,
    calc_image_std,
    collate_crops,
    make_crops,
    open_split,
)
from .signals import begin_worker

NUM_STD_IMAGES = 64

SEED_OF_SPLIT = {"train": 0, "validation": 1, "test": 2}
"""Held-out crops don't change with the run's seed, so that runs of several seeds are comparable."""


def make_dataset(hparams: Hparams, expt_dir: Path, split: str) -> CropDataset:
    """The crops of one split.

    expt_dir: where the path of `data.source` begins
    raises:   ValueError if the source has no such split, or no crops that pass the filters
    """
    num_samples = {
        "train": hparams.train.steps_per_epoch * hparams.optim.batch_size,
        "validation": hparams.train.num_val_crops,
        "test": hparams.train.num_test_crops,
    }[split]
    data = hparams.data
    num_structures = data.num_train_structures if split == "train" else None
    source = resolve_source(hparams, expt_dir)
    try:
        return make_crops(
            open_split(source, split, num_structures=num_structures),
            data,
            num_samples=num_samples,
            seed=hparams.seed if split == "train" else SEED_OF_SPLIT[split],
        )
    except ValueError as error:
        message = str(error)
        named = message if str(source) in message else f"{source}: {split}: {message}"
        raise type(error)(named) from error


class CropFeed(L.LightningDataModule):
    """Loaders of the training and the held-out crops; of several processes, each has its share.

    The n-th training step sees the same crops however often training was interrupted: a sample is
    a function of its number, and the sampler starts at the trainer's step.
    """

    def __init__(self, hparams: Hparams, expt_dir: Path, *, num_workers: int = 1):
        super().__init__()
        self.batch_size = hparams.optim.batch_size
        self.steps_per_epoch = hparams.train.steps_per_epoch
        self.num_workers = num_workers
        self.datasets = {
            split: make_dataset(hparams, expt_dir, split) for split in SEED_OF_SPLIT
        }

    def calc_image_std(self) -> float:
        return calc_image_std(self.datasets["train"], NUM_STD_IMAGES)

    def train_dataloader(self) -> DataLoader:
        dataset = self.datasets["train"]
        sampler = EpochSampler(
            len(dataset),
            batch_size=self._calc_own_batch_size(),
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        # Lightning starts to iterate before it tells the sampler which epoch it is.
        epoch, step = divmod(self.trainer.global_step, self.steps_per_epoch)
        sampler.set_epoch(epoch)
        sampler.resume_at(epoch, step)
        return self._make_loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader:
        return self._make_held_out_loader(self.datasets["validation"])

    def test_dataloader(self) -> DataLoader:
        return self._make_held_out_loader(self.datasets["test"])

    def _make_held_out_loader(self, dataset: CropDataset) -> DataLoader:
        own = range(self.trainer.global_rank, len(dataset), self.trainer.world_size)
        return self._make_loader(dataset, own)

    def transfer_batch_to_device(
        self, batch: CropBatch, device: torch.device, dataloader_index: int
    ) -> CropBatch:
        # The noise is drawn on the CPU; asking a GPU for the samples' numbers would wait for it.
        moved = super().transfer_batch_to_device(batch, device, dataloader_index)
        return moved._replace(sample_index=batch.sample_index)

    def _calc_own_batch_size(self) -> int:
        return self.batch_size // self.trainer.world_size

    def _make_loader(self, dataset: CropDataset, sampler: EpochSampler | range) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=self._calc_own_batch_size(),
            sampler=sampler,
            collate_fn=collate_crops,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=partial(begin_worker, os.getpid()),
        )
