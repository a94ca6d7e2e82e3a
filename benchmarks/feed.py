"""Measure what crops and images cost a training step: steps fed by the loader, against the same
steps on one batch of images made in advance.

The runs are those of expts/20241217_train_vae.  The loader's process and training share the cores,
and images are made within the step; both count towards the loader's cost.
"""

import itertools
import statistics
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.training.module import TrainingModule
from atompaint_vae.training.plan import build_model

EXPERIMENT = Path(__file__).parents[1] / "expts" / "20241217_train_vae"
RUNS = ("2-layer-narrow", "2-layer-wide")
NUM_STEPS = 10
"""Steps in each turn."""


def run(quick: bool) -> list[dict]:
    """Return rows for the time of a step with and without the loader."""
    all_hparams = Experiment(EXPERIMENT).load_hparams()
    return [_compare(name, all_hparams[name], num_turns=2 if quick else 10) for name in RUNS]


def _compare(name: str, hparams, *, num_turns: int) -> dict:
    dataset = make_dataset(hparams, EXPERIMENT, "train")
    torch.manual_seed(hparams.seed)
    module = TrainingModule(build_model(hparams), hparams, dataset).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)
    loader = DataLoader(
        dataset, batch_size=hparams.optim.batch_size, collate_fn=collate_crops, num_workers=1,
        persistent_workers=True,
    )  # fmt: skip
    batches = iter(itertools.cycle(loader))
    first = next(batches)
    fixed = _OneImage(dataset, first)

    def step(batch, source):
        module.objective.dataset = source
        optimizer.zero_grad(set_to_none=True)
        module.training_step(batch, 0)["loss"].backward()
        optimizer.step()

    def time_fed_ms() -> float:
        return _time_ms(lambda: step(next(batches), dataset))

    def time_fixed_ms() -> float:
        return _time_ms(lambda: step(first, fixed))

    times_ms = {time_fed_ms: [], time_fixed_ms: []}
    for turn in range(num_turns + 1):
        for measure, times in times_ms.items():
            measured = measure()
            if turn > 0:
                times.append(measured)
    fed_ms, fixed_ms = (statistics.median(times) for times in times_ms.values())
    return {
        "name": f"step of {hparams.optim.batch_size} crops, {EXPERIMENT.name}/{name}",
        "ours": fed_ms,
        "reference": fixed_ms,
        "reference_name": "without the loader",
        "ratio": fixed_ms / fed_ms,
        "unit": "ms",
        "n": num_turns * NUM_STEPS,
    }


class _OneImage:
    """Stands in for a dataset; its images were made in advance."""

    def __init__(self, dataset: CropDataset, batch):
        self.seed = dataset.seed
        self.images = dataset.make_images(batch)

    def make_images(self, batch):
        return self.images


def _time_ms(function) -> float:
    """Return the mean time of a call."""
    start_s = time.perf_counter()
    for _ in range(NUM_STEPS):
        function()
    return 1e3 * (time.perf_counter() - start_s) / NUM_STEPS
