"""Data loaders of a run."""

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from ..config.datasets import SEED_OF_SPLIT, make_dataset
from ..config.schema import Hparams
from ..data.crops.dataset import (
    CropBatch,
    CropDataset,
    EpochSampler,
    calc_image_std,
    collate_crops,
)
from .signals import begin_worker

NUM_STD_IMAGES = 64

NUM_WORKERS = {"cpu": 1, "cuda": 4}
"""Processes that load crops. On the CPU they share the cores with the training, and one is enough.
A GPU trains faster, and leaves the cores to them."""


def move_batch(batch: CropBatch, device: torch.device) -> CropBatch:
    """Return a batch on a device, except for the sample indices.

    Those stay on the CPU, where noise is drawn: reading them from a GPU would block.
    """
    moved = CropBatch(*(x.to(device, non_blocking=True) for x in batch))
    return moved._replace(sample_index=batch.sample_index)


class CropFeed(L.LightningDataModule):
    """Loaders of the training and held-out crops; each of several processes loads its share.

    The n-th training step sees the same crops however often training was interrupted: a sample is
    a function of its index, and the sampler starts at the trainer's step.

    device:      "cpu" or "cuda", of the training
    num_workers: processes that load crops; by default those of `NUM_WORKERS`
    """

    def __init__(
        self,
        hparams: Hparams,
        expt_dir: Path,
        device: str = "cpu",
        *,
        num_workers: int | None = None,
    ):
        super().__init__()
        self.batch_size = hparams.optim.batch_size
        self.steps_per_epoch = hparams.train.steps_per_epoch
        self.device = device
        self.num_workers = NUM_WORKERS[device] if num_workers is None else num_workers
        self.datasets = {
            split: make_dataset(hparams, expt_dir, split) for split in SEED_OF_SPLIT
        }
        self._workers = ExitStack()

    def end_workers(self):
        """End the processes that load crops; Python would wait for them forever.

        They ignore signals, and Lightning ends only those of the loop that an exception left.
        """
        self._workers.close()  # of all loaders, also if a signal arrives meanwhile

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
        # Lightning starts to iterate before it tells the sampler the epoch.
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
        return move_batch(batch, device)

    def _calc_own_batch_size(self) -> int:
        return self.batch_size // self.trainer.world_size

    def _make_loader(self, dataset: CropDataset, sampler: EpochSampler | range) -> DataLoader:
        loader = DataLoader(
            dataset,
            batch_size=self._calc_own_batch_size(),
            sampler=sampler,
            collate_fn=collate_crops,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            # Copies to a GPU don't wait for it if they come from such memory.
            pin_memory=self.device == "cuda",
            worker_init_fn=partial(begin_worker, os.getpid()),
        )
        self._workers.callback(_end_workers, loader)
        return loader


def _end_workers(loader: DataLoader):
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()
