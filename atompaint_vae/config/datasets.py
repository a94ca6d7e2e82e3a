"""The crops of a run's splits, made as its hyperparameters say."""

from pathlib import Path

from ..data import STARTER
from ..data.crops.dataset import CropDataset, make_crops, open_split
from .schema import Hparams

SEED_OF_SPLIT = {"train": 0, "validation": 1, "test": 2}
"""Held-out crops don't change with the run's seed, so that runs of several seeds are comparable."""


def resolve_source(hparams: Hparams, expt_dir: Path) -> str | Path:
    """Return what `open_split` takes: a relative path begins at the experiment's folder."""
    source = hparams.data.source
    return source if source == STARTER else Path(expt_dir) / source


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
