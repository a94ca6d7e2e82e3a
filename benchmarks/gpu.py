"""Measure training, sampling and images on a GPU, within ten minutes, the most telling first.

What there is no time left for is left out; a line on stderr names it.  Without a CUDA GPU, nothing
is measured.  Whole VAEs and layers are those of `training.py` and `layers.py`, in larger batches.
"""

import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.schema import Hparams
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops
from atompaint_vae.models.diffusion.samples import draw_images
from atompaint_vae.text.errors import UserError
from atompaint_vae.training.feed import NUM_WORKERS, move_batch
from atompaint_vae.training.module import TrainingModule
from atompaint_vae.training.plan import build_model

from . import layers, training
from .peers.client import Servers, list_libraries, make_row, make_rows

LIMIT_S = 480
"""No measurement begins later; the longest takes half a minute."""

BATCH_SIZE = 32
SIZE_VOXELS = 35
NUM_TURNS, QUICK_NUM_TURNS = 5, 2
NUM_STEPS = 10
"""Steps in each turn, between which the GPU isn't waited for, as in training."""

EXPT_DIR = Path(__file__).parents[1] / "expts" / "20241217_train_vae"
LAYERS = ["16x0e+8x1e+4x2e", "32x0e+16x1e+8x2e"]
LATENT = "10x0e+5x1e+3x2e"
KINDS = {
    "VAE": {"kind": "vae", "model": {"layers": LAYERS, "latent": LATENT}},
    "neighbor location": {
        "kind": "neighbor_location", "data": {"size_voxels": 43},
        "model": {"layers": LAYERS, "features": LATENT},
    },
    "denoiser of voxels": {"kind": "diffusion", "model": {"layers": LAYERS}},
}  # fmt: skip
SAMPLED = "denoiser of voxels"
UNCONSTRAINED = "without symmetry"
PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16"}

Rows = Iterator[dict]


def run(quick: bool, device: str = "cuda") -> list[dict]:
    """Return rows for training steps, feeding, sampling, images and layers.

    device: "cpu" to try the program itself
    raises: UserError if there is no GPU
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("benchmarks gpu: torch finds no CUDA GPU here")
    end_s = time.monotonic() + LIMIT_S
    num_turns = QUICK_NUM_TURNS if quick else NUM_TURNS
    rows, left_out = [], []
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(list_libraries()))
        for name, measure in _list_measurements(servers, device, num_turns):
            if time.monotonic() > end_s:
                left_out.append(name)
            else:
                rows += measure()
    if left_out:
        print(f"no time left for: {'; '.join(left_out)}", file=sys.stderr)
    return rows


def _list_measurements(
    servers: Servers, device: str, num_turns: int
) -> Iterator[tuple[str, Callable[[], Rows]]]:
    """Yield what to measure, by name, in the order of importance."""
    options = {"device": device, "num_turns": num_turns}
    vaes = {
        training._describe(case): case
        for model in training.MODELS
        for precision in training.PRECISIONS
        for case in [
            dataclasses.replace(
                training._make_case(*model, batch_size=BATCH_SIZE), precision=precision
            )
        ]
    }
    for name, case in vaes.items():
        yield name, partial(_compare_peers, servers, name, case, num_turns)
    for precision in PRECISIONS:
        for kind in KINDS:
            name = f"step of {BATCH_SIZE} crops, {kind}, {PRECISIONS[precision]}"
            yield name, partial(_compare_kinds, name, kind, precision, **options)
    name = f"step of {BATCH_SIZE} crops, VAE, bfloat16, with the loader"
    yield name, partial(_compare_feeding, name, **options)
    name = f"sample of {BATCH_SIZE}, {SAMPLED}"
    yield name, partial(_compare_sampling, name, **options)
    name = f"images of {BATCH_SIZE} crops"
    yield name, partial(_compare_images, name, **options)
    for frequency, *fields in layers.WIDTHS:
        for name, case in layers._make_cases(frequency, *fields, batch_size=BATCH_SIZE).items():
            for precision in training.PRECISIONS:
                full_name = f"{name}, L = {frequency}, batch {BATCH_SIZE}: {precision}"
                own = dataclasses.replace(case, precision=precision)
                yield full_name, partial(_compare_peers, servers, full_name, own, num_turns)


def _compare_peers(servers: Servers, name: str, case, num_turns: int) -> Rows:
    yield from make_rows(
        name, servers.measure(case, num_repeats=num_turns, num_steps=NUM_STEPS)
    )


def _make_module(kind: str, symmetry: str, precision: str, device: str) -> TrainingModule:
    values = KINDS[kind]
    hparams = Hparams.model_validate(
        {
            **values,
            "data": {"size_voxels": SIZE_VOXELS} | values.get("data", {}),
            "model": {**values["model"], "symmetry": symmetry},
            "optim": {"batch_size": BATCH_SIZE},
            "train": {"epochs": 1, "steps_per_epoch": 1, "precision": precision},
        }
    )
    dataset = make_dataset(hparams, EXPT_DIR, "train")
    torch.manual_seed(0)
    return TrainingModule(build_model(hparams, image_std=0.1), hparams, dataset).to(device)


def _make_step(module: TrainingModule) -> Callable:
    """Return the function that trains on a batch of crops that are on the device."""
    optimizer = torch.optim.Adam(module.parameters())
    is_mixed = module.run_hparams.train.precision == "bf16-mixed"

    def step(batch):
        optimizer.zero_grad()
        with torch.autocast(module.device.type, torch.bfloat16, enabled=is_mixed):
            loss = module.training_step(batch, 0)["loss"]
        loss.backward()
        optimizer.step()

    return step


def _make_batch(dataset: CropDataset, device: str):
    crops = collate_crops([dataset[i] for i in range(BATCH_SIZE)])
    return move_batch(crops, torch.device(device))


def _compare_kinds(name: str, kind: str, precision: str, *, device: str, num_turns: int) -> Rows:
    """Yield the row of a step with symmetry against one without, on the same crops."""
    steps = {}
    for symmetry in ("rotation", "none"):
        module = _make_module(kind, symmetry, precision, device)
        batch = _make_batch(module.dataset, device)
        steps[symmetry] = partial(_make_step(module), batch)
    ours, reference = _time_in_turns(steps, device, num_turns).values()
    yield make_row(name, ours, reference, UNCONSTRAINED, unit="ms", n=num_turns * NUM_STEPS)


def _compare_feeding(name: str, *, device: str, num_turns: int) -> Rows:
    """Yield the row of steps fed by the loader against those on one batch."""
    module = _make_module("VAE", "rotation", "bf16-mixed", device)
    step, fixed = _make_step(module), _make_batch(module.dataset, device)
    loader = DataLoader(
        module.dataset, batch_size=BATCH_SIZE, collate_fn=collate_crops, persistent_workers=True,
        num_workers=NUM_WORKERS[device], pin_memory=device == "cuda",
    )  # fmt: skip
    batches = iter(itertools.cycle(loader))
    steps = {
        "fed": lambda: step(move_batch(next(batches), torch.device(device))),
        "fixed": lambda: step(fixed),
    }
    ours, reference = _time_in_turns(steps, device, num_turns).values()
    yield make_row(
        name, ours, reference, "without the loader", unit="ms", n=num_turns * NUM_STEPS
    )


def _compare_sampling(name: str, *, device: str, num_turns: int) -> Rows:
    """Yield the row of a batch of samples with symmetry against one without."""
    draws = {}
    for symmetry in ("rotation", "none"):
        module = _make_module(SAMPLED, symmetry, "32-true", device).eval()
        sampler = module.run_hparams.model.sampler
        draws[symmetry] = partial(
            draw_images, module.model, sampler, seed=0, indices=range(BATCH_SIZE)
        )
    ours, reference = _time_in_turns(draws, device, num_turns, num_steps=1).values()
    full_name = f"{name}, {sampler.num_steps} noise levels"
    yield make_row(full_name, ours, reference, UNCONSTRAINED, unit="ms", n=num_turns)


def _compare_images(name: str, *, device: str, num_turns: int) -> Rows:
    """Yield the row of making images on the device against making them on the CPU."""
    dataset = _make_module("VAE", "none", "32-true", "cpu").dataset
    makes = {
        where: partial(dataset.make_images, _make_batch(dataset, where))
        for where in dict.fromkeys([device, "cpu"])
    }
    times_ms = _time_in_turns(makes, device, num_turns)
    reference = f"CPU, {torch.get_num_threads()} threads"
    yield make_row(
        name, times_ms[device], times_ms["cpu"], reference, unit="ms", n=num_turns * NUM_STEPS
    )


def _time_in_turns(
    functions: Mapping[str, Callable], device: str, num_turns: int, *, num_steps: int | None = None
) -> dict[str, float]:
    """Return the median times of a call [ms]; the functions take turns, and the first warms up."""
    num_steps = num_steps or NUM_STEPS
    times_ms: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(num_turns + 1):
        for name, function in functions.items():
            _synchronize(device)
            start_s = time.perf_counter()
            for _ in range(num_steps):
                function()
            _synchronize(device)
            if turn > 0:
                times_ms[name].append(1e3 * (time.perf_counter() - start_s) / num_steps)
    return {name: statistics.median(times) for name, times in times_ms.items()}


def _synchronize(device: str):
    if device == "cuda":
        torch.cuda.synchronize()
