"""Plan a run: build its model, find its size, and time its first steps."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..config.datasets import make_dataset
from ..config.schema import Hparams
from ..data.crops.dataset import calc_image_std, collate_crops
from ..models.kind import Size, get_kind
from .feed import NUM_STD_IMAGES, move_batch
from .module import TrainingModule

NUM_TIMED_STEPS = 2

MAX_CROPS = 4
"""Crops of a timed step: enough to keep the cores busy; larger batches scale linearly."""


def build_model(
    hparams: Hparams, *, image_std: float = 1.0, inputs: Mapping[str, nn.Module] | None = None
) -> nn.Module:
    """Return the model with initial weights, from torch's present random state.

    inputs: the frozen models that the hyperparameters name, by their keys
    raises: ValueError if the hyperparameters don't fit together
    """
    objective = get_kind(hparams.kind).load_objective()
    return objective.build_model(hparams, image_std=image_std, inputs=inputs)


@dataclass(frozen=True)
class Plan:
    """batch_size: crops of a step on each device
    sizes:      other sizes of the model
    """

    num_devices: int
    batch_size: int
    num_parameters: int
    sizes: dict[str, Size]
    num_steps: int


def make_plan(
    hparams: Hparams, num_devices: int = 1, *, inputs: Mapping[str, nn.Module] | None = None
) -> Plan:
    """Return the plan of a run.  Leaves torch's random state unchanged.

    inputs: as for `build_model`
    raises: ValueError if the hyperparameters don't fit together
    """
    with torch.random.fork_rng(devices=[]):
        model = build_model(hparams, inputs=inputs)
    return Plan(
        num_devices=num_devices,
        batch_size=hparams.optim.batch_size // num_devices,
        num_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        sizes=get_kind(hparams.kind).load_objective().describe_sizes(model),
        num_steps=hparams.train.epochs * hparams.train.steps_per_epoch,
    )


@dataclass(frozen=True)
class FirstSteps:
    """losses:  of the first batch, with initial weights, under the kind's names for plans
    step_s:  a step of the whole batch
    total_s: training, validations and test
    """

    losses: dict[str, float]
    step_s: float
    total_s: float


def try_first_steps(
    hparams: Hparams,
    expt_dir: Path,
    *,
    device: str,
    num_at_once: int = 1,
    inputs: Mapping[str, nn.Module] | None = None,
) -> FirstSteps:
    """Return losses and times of a run's first steps.  Leaves torch's random state unchanged.

    device:      "cpu" or "cuda"
    num_at_once: GPUs or machines that share the work; processes on a CPU share its cores as well
    inputs:      as for `build_model`
    """
    dataset = make_dataset(hparams, expt_dir, "train")
    with torch.random.fork_rng():
        torch.manual_seed(hparams.seed)
        std = calc_image_std(dataset, NUM_STD_IMAGES)
        model = build_model(hparams, image_std=std, inputs=inputs)
    get_kind(hparams.kind).load_objective().calibrate(model, dataset)
    module = TrainingModule(model, hparams, dataset).to(device)
    num_crops = min(hparams.optim.batch_size, MAX_CROPS)
    crops = collate_crops([dataset[i] for i in range(num_crops)])
    batch = move_batch(crops, torch.device(device))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=hparams.optim.learning_rate)
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
        module.held_out_objective.begin_held_out()
        module.validation_step(batch, 0)
    validation_s = _read_clock(device) - start_s

    train = hparams.train
    first = dict(zip(module.kind.losses, losses[0]["losses"].tolist(), strict=True))
    # The first step warms up; the fastest of the others is the least disturbed.
    step_s = min(times_s[1:]) * hparams.optim.batch_size / (num_crops * num_at_once)
    num_held_out = train.epochs * train.num_val_crops + train.num_test_crops
    num_held_out += module.held_out_objective.estimate_test()
    return FirstSteps(
        losses=module.kind.first_losses(first, hparams),
        step_s=step_s,
        total_s=train.epochs * train.steps_per_epoch * step_s
        + num_held_out * validation_s / (num_crops * num_at_once),
    )


def _read_clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
