"""The first steps of a run, taken to see its losses and how long it would train."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric.utilities import move_data_to_device

from ..config.hparams import Hparams
from ..data.crops.dataset import calc_image_std, collate_crops
from .feed import NUM_STD_IMAGES, make_dataset
from .module import VAEModule
from .plan import build_model

NUM_TIMED_STEPS = 2

MAX_CROPS = 4
"""Of a step: enough to keep the cores busy; larger batches take proportionally longer."""


@dataclass(frozen=True)
class Trial:
    """data_loss, weighted_prior_loss: with fresh weights, the prior loss times beta
    step_s:  a step of the whole batch
    total_s: training, validations and test
    """

    data_loss: float
    weighted_prior_loss: float
    step_s: float
    total_s: float


def try_run(
    hparams: Hparams, expt_dir: Path, *, device: str, num_devices: int = 1
) -> Trial:
    """What the first steps of a run show.  Leaves torch's random state as it was.

    device:      "cpu" or "cuda"
    num_devices: GPUs that share the work; processes on the CPU share its cores as well
    """
    dataset = make_dataset(hparams, expt_dir, "train")
    with torch.random.fork_rng():
        torch.manual_seed(hparams.seed)
        model = build_model(hparams, image_std=calc_image_std(dataset, NUM_STD_IMAGES))
    module = VAEModule(model, hparams, dataset).to(device)
    num_crops = min(hparams.optim.batch_size, MAX_CROPS)
    crops = collate_crops([dataset[i] for i in range(num_crops)])
    batch = move_data_to_device(crops, torch.device(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=hparams.optim.learning_rate)
    autocast = torch.autocast(
        device, torch.bfloat16, enabled=hparams.train.precision == "bf16-mixed"
    )

    losses, times_s = [], []
    for _ in range(1 + NUM_TIMED_STEPS):
        start_s = _read_clock(device)
        with autocast:
            losses.append(module.training_step(batch, 0))
        losses[-1]["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        times_s.append(_read_clock(device) - start_s)

    module.eval()
    start_s = _read_clock(device)
    with torch.no_grad(), autocast:
        module.on_validation_epoch_start()
        module.validation_step(batch, 0)
    validation_s = _read_clock(device) - start_s

    train = hparams.train
    _, data_loss, prior_loss = losses[0]["losses"].tolist()
    num_at_once = num_crops * (num_devices if device == "cuda" else 1)
    # The first step also warms up; of the others, the fastest is the least disturbed.
    step_s = min(times_s[1:]) * hparams.optim.batch_size / num_at_once
    num_held_out = train.epochs * train.num_val_crops + train.num_test_crops
    return Trial(
        data_loss=data_loss,
        weighted_prior_loss=hparams.loss.beta * prior_loss,
        step_s=step_s,
        total_s=train.epochs * train.steps_per_epoch * step_s
        + num_held_out * validation_s / num_at_once,
    )


def _read_clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
