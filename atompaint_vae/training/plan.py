"""Plan a run: build its model, find its size, and time its first steps."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config.datasets import make_dataset
from ..config.schema import Hparams
from ..data.crops.dataset import calc_image_std, collate_crops
from ..models.kind import Size, get_kind
from ..records.record import Precision
from .feed import NUM_STD_IMAGES, move_batch
from .module import TrainingModule

NUM_TIMED_STEPS = 2

MAX_CROPS = 4
"""Crops of a timed step: enough to keep the cores busy; larger batches scale linearly."""

MIN_SPEEDUP = 1.1
"""For bfloat16 to be chosen.  It rounds to 8 bits, and less is lost in the measurement's noise."""


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


class _Trial:
    """The first steps of a run, which nothing is left of.  Leaves torch's random state unchanged.

    The arguments are those of `try_first_steps`.
    """

    def __init__(
        self,
        hparams: Hparams,
        expt_dir: Path,
        *,
        device: str,
        inputs: Mapping[str, nn.Module] | None,
    ):
        dataset = make_dataset(hparams, expt_dir, "train")
        with torch.random.fork_rng():
            torch.manual_seed(hparams.seed)
            std = calc_image_std(dataset, NUM_STD_IMAGES)
            model = build_model(hparams, image_std=std, inputs=inputs)
        get_kind(hparams.kind).load_objective().calibrate(model, dataset)
        self.device = device
        self.module = TrainingModule(model, hparams, dataset).to(device)
        self.num_crops = min(hparams.optim.batch_size, MAX_CROPS)
        crops = collate_crops([dataset[i] for i in range(self.num_crops)])
        self.batch = move_batch(crops, torch.device(device))
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=hparams.optim.learning_rate)

    def make_autocast(self, precision: str) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16-mixed")

    def take_step(self, precision: str) -> tuple[Tensor, float]:
        """Return the kind's losses and the time of the next step [s]."""
        start_s = _read_clock(self.device)
        with self.make_autocast(precision):
            losses = self.module.training_step(self.batch, 0)
        losses["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return losses["losses"], _read_clock(self.device) - start_s


def choose_precision(
    hparams: Hparams,
    expt_dir: Path,
    *,
    device: str,
    inputs: Mapping[str, nn.Module] | None = None,
) -> Precision | None:
    """Choose the number format of `precision: auto` by a few steps in each; None if it isn't auto.

    The arguments are those of `try_first_steps`.
    """
    if hparams.train.precision != "auto":
        return None
    # A model's own: they are trained, and moved to the device.
    inputs = copy.deepcopy(inputs)
    trial = _Trial(hparams, expt_dir, device=device, inputs=inputs)
    times_s = {"32-true": [], "bf16-mixed": []}
    for _ in range(1 + NUM_TIMED_STEPS):
        for precision, times in times_s.items():
            times.append(trial.take_step(precision)[1])
    exact_s, mixed_s = (min(times[1:]) for times in times_s.values())
    speedup = exact_s / mixed_s
    chosen = "bf16-mixed" if speedup >= MIN_SPEEDUP else "32-true"
    return Precision(chosen=chosen, speedup=float(f"{speedup:.3g}"))


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
    trial = _Trial(hparams, expt_dir, device=device, inputs=inputs)
    precision = hparams.train.precision
    losses, times_s = zip(
        *(trial.take_step(precision) for _ in range(1 + NUM_TIMED_STEPS)), strict=True
    )

    module, num_crops = trial.module, trial.num_crops
    module.eval()
    start_s = _read_clock(device)
    with torch.no_grad(), trial.make_autocast(precision):
        module.held_out_objective.begin_held_out()
        module.validation_step(trial.batch, 0)
    validation_s = _read_clock(device) - start_s

    train = hparams.train
    first = dict(zip(module.kind.losses, losses[0].tolist(), strict=True))
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
