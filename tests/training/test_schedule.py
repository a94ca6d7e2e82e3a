"""The learning rate of each step against the closed form."""

import csv
import math

import lightning as L
import pytest

from atompaint_vae.config.hparams import load_hparams
from atompaint_vae.models.kind import KINDS
from atompaint_vae.training.callbacks import MetricsWriter
from atompaint_vae.training.checkpoints import StepsReached
from atompaint_vae.training.feed import CropFeed
from atompaint_vae.training.processes import Processes
from atompaint_vae.training.signals import SignalWatch
from atompaint_vae.training.train import Assignment, Training
from atompaint_vae.training.weights import InputModels

HIGHEST, NUM_WARMUP, NUM_STEPS = 0.25, 6, 20
EDITS = {
    "shared:\n": "shared:\n  kind: toy\n",
    "    layers:\n      - 1xfourier1+2x0e\n    latent: 2x0e+1x1e\n": "    channel: 1\n",
    "  data:\n": "  data:\n    num_train_structures: 2\n",
    "warmup_steps: 2": f"warmup_steps: {NUM_WARMUP}\n    learning_rate: {HIGHEST}",
    "epochs: 3": "epochs: 5", "steps_per_epoch: 5": "steps_per_epoch: 4",
}  # fmt: skip


class RateWatch(L.Callback):
    """Notes the learning rate that each step is made with."""

    def __init__(self):
        self.rates = {}

    def on_train_batch_start(self, trainer, module, batch, index):
        self.rates[trainer.global_step] = trainer.optimizers[0].param_groups[0]["lr"]


@pytest.fixture
def train(make_expt, monkeypatch):
    """A function that trains a run up to a step, and returns the learning rates of its steps."""
    monkeypatch.setitem(KINDS, "toy", "toy_kind")
    expt = make_expt(EDITS)
    expt.paths.checkpoints.mkdir(parents=True)
    hparams = load_hparams(expt.path / "hparams.nt")["a"]

    def train(max_steps=None, *, is_resumed=False):
        feed = CropFeed(hparams, expt.path, num_workers=0)
        watch, when = RateWatch(), {"max_steps": max_steps}
        assignment = Assignment(expt.paths, hparams, 1.0, is_resumed, when)
        with SignalWatch() as signals:
            training = Training(
                assignment, feed, InputModels(), Processes("cpu"), signals,
                writers=[MetricsWriter(expt.paths)], callbacks=[watch],
            )  # fmt: skip
            if max_steps is None:
                training.run()
            else:
                with pytest.raises(StepsReached):
                    training.run()
        return watch.rates, expt.paths

    return train


def calc_rate(step: int) -> float:
    """A line that would be zero one step before the first, then half a cosine to the run's end."""
    if step < NUM_WARMUP:
        return HIGHEST * (step + 1) / (NUM_WARMUP + 1)
    part = (step - NUM_WARMUP) / (NUM_STEPS - NUM_WARMUP)
    return HIGHEST * (1 + math.cos(math.pi * part)) / 2


@pytest.mark.filterwarnings("ignore:The 'train_dataloader':UserWarning")
def test_twenty_steps_that_are_cut_within_an_epoch(train):
    before, _ = train(max_steps=7)
    after, paths = train(is_resumed=True)
    assert list(before) == [*range(7)] and list(after) == [*range(7, NUM_STEPS)]
    expected = {step: calc_rate(step) for step in range(NUM_STEPS)}
    assert before | after == pytest.approx(expected, rel=1e-9)
    # What is written at a step is what the next one is made with.
    with paths.train_metrics.open(newline="") as file:
        rows = [(int(x["step"]), float(x["epoch"]), float(x["learning_rate"]))
                for x in csv.DictReader(file)]  # fmt: skip
    assert rows == [
        (10, 2.5, pytest.approx(calc_rate(10))), (20, 5.0, pytest.approx(0, abs=1e-9)),
    ]  # fmt: skip
