"""A training step's noise: of the run's seed and the sample's number, and of nothing else."""

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.schema import Hparams
from atompaint_vae.data.crops.dataset import CropBatch, CropDataset
from atompaint_vae.models.kind import KINDS
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.training.module import TrainingModule
from atompaint_vae.training.plan import build_model


@pytest.fixture
def make_module(monkeypatch):
    """A function that returns a module of a run with a seed; the weights are always the same."""
    monkeypatch.setitem(KINDS, "toy", "toy_kind")

    def make(seed):
        hparams = Hparams.model_validate({
            "kind": "toy", "seed": seed, "model": {}, "train": {"epochs": 1, "steps_per_epoch": 1},
        })  # fmt: skip
        torch.manual_seed(0)
        module = TrainingModule(build_model(hparams), hparams, Mock(CropDataset, seed=seed))
        # All images are the same: losses differ by their noise alone.
        module.objective.make_inputs = make_equal_images
        return module

    return make


def make_equal_images(batch, seed):
    return torch.ones(len(batch.sample_index), 6, 1, 1, 1)


def calc_loss(module, *samples):
    nothing = torch.empty(0, dtype=torch.int64)
    batch = CropBatch(torch.empty(0, 3), nothing, nothing, torch.tensor(samples))
    return module.training_step(batch, 0)["loss"].item()


def test_noise_is_of_the_seed_and_the_samples_number(make_module):
    module = make_module(0)
    alone = [calc_loss(module, sample) for sample in (3, 8, 9)]
    assert len(set(alone)) == 3
    assert calc_loss(module, 3, 8) == pytest.approx((alone[0] + alone[1]) / 2)
    assert calc_loss(module, 9, 8) == pytest.approx((alone[2] + alone[1]) / 2)
    assert calc_loss(make_module(0), 8) == alone[1]
    others = {calc_loss(make_module(seed), 8) for seed in (1, 2)}
    assert len(others - set(alone)) == 2


def test_frozen_parts_stay_in_eval_mode(make_module):
    module = make_module(0)
    frozen = nn.Sequential(nn.Dropout(), nn.Linear(1, 1)).requires_grad_(False)
    model = nn.Sequential(module.model, frozen)
    module = TrainingModule(model, module.run_hparams, module.dataset)
    assert module.train().model.training
    assert not any(x.training for x in frozen.modules())


class TaughtVAE(VAE):
    """A VAE that shows its images to a frozen one as well."""

    def encode(self, image):
        self.teacher.encode(image)
        return super().encode(image)


def test_statistics_of_frozen_parts_are_those_that_they_came_with():
    """Also in the average of the weights, where those of the trained parts are recomputed."""
    hparams = Hparams.model_validate({
        "data": {"size_voxels": 11}, "optim": {"ema_decay": 0.5, "batch_size": 2},
        "model": {"layers": ["2x0e"], "latent": "1x0e"},
        "train": {"epochs": 1, "steps_per_epoch": 1},
    })  # fmt: skip
    model, teacher = build_model(hparams), build_model(hparams).eval().requires_grad_(False)
    model.__class__, model.teacher = TaughtVAE, teacher
    dataset = make_dataset(hparams, Path(), "train")
    module = TrainingModule(model, hparams, dataset)
    module._recompute_statistics()
    average = module.average.module
    initial = torch.ones(2)
    assert torch.equal(average.teacher.encoder.blocks[0].norm.running_var, initial)
    assert not torch.equal(average.encoder.blocks[0].norm.running_var, initial)
