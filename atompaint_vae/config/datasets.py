"""Datasets of crops for the splits of a run."""

from copy import copy
from functools import lru_cache
from pathlib import Path

from ..data import STARTER
from ..data.crops.dataset import CropDataset, make_crops, open_split
from ..data.hparams import DataHparams
from ..data.sets.sources import find_structures_path
from .schema import Hparams

SEED_OF_SPLIT = {"train": 0, "validation": 1, "test": 2}
"""Held-out crops don't depend on the run's seed, so that runs with several seeds are comparable."""


def resolve_source(hparams: Hparams, expt_dir: Path) -> str | Path:
    """Return the argument of `open_split`; relative paths start at the experiment's folder."""
    source = hparams.data.source
    return source if source == STARTER else Path(expt_dir) / source


def make_dataset(hparams: Hparams, expt_dir: Path, split: str) -> CropDataset:
    """Return the crops of one split.

    expt_dir: folder that a relative `data.source` starts at
    raises:   ValueError if the source has no such split, or no crop passes the filters
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
        dataset = copy(_open(source, _sign(source), split, num_structures, data))
    except ValueError as error:
        message = str(error)
        named = message if str(source) in message else f"{source}: {split}: {message}"
        raise type(error)(named) from error
    dataset.num_samples = num_samples
    dataset.num_crops = data.num_train_crops if split == "train" else 0
    dataset.seed = hparams.seed if split == "train" else SEED_OF_SPLIT[split]
    return dataset


# Checks open the splits of a run before its training does, and runs of an experiment often share
# them.  The cache holds the three splits of the last run.
@lru_cache(maxsize=len(SEED_OF_SPLIT))
def _open(
    source: str | Path, signature: tuple, split: str, num_structures: int | None, data: DataHparams
) -> CropDataset:
    atoms = open_split(source, split, num_structures=num_structures)
    return make_crops(atoms, data, num_samples=1, seed=0)


def _sign(source: str | Path) -> tuple:
    """Return a signature that changes when a set of structures is rewritten."""
    paths = [source, find_structures_path(source)] if isinstance(source, Path) else []
    stats = [path.stat() for path in paths if path.exists()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)
