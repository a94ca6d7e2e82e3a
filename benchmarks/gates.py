"""Training steps of networks with gates and of others: with compiled code against Python, against
unconstrained networks, and what they consist of.

The gated model has the fields of the published `finer-small-8`, on crops of 35³ voxels.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from e3nn.o3 import Irreps
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from atompaint_vae.models.blocks import NORMS, SYMMETRIES
from atompaint_vae.models.diffusion.unet import UNet
from atompaint_vae.models.vae.loss import calc_loss
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.nn import SteerableConv, compiled, parse_field_type

from ._turns import time_in_turns
from .peers.client import make_row

LAYERS = ("16x0e+8x1e+4x2e", "32x0e+16x1e+8x2e")
LATENT = "8x0e+4x1e+2x2e"
FOURIER_LAYERS = {
    "frequency 1": ("4xfourier1", "8xfourier1"),
    "frequency 2": ("2xfourier2", "4xfourier2"),
}
SIZE_VOXELS = 35
DENOISER_LAYERS = ("32x0e", "48x0e", "64x0e")
DENOISER_SIZE_VOXELS = 21
NUM_CHANNELS = 6
BATCH_SIZE = 4
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

PARTS = {
    "convolutions": ("aten::convolution", "ConvolutionBackward0"),
    "normalisations and gates": ("_Moments", "_MomentsBackward", "_InChunks", "_InChunksBackward"),
    "making kernels": ("making kernels",),
    "Adam": ("Optimizer.step#Adam.step",),
}
"""What the profiler calls the parts of a step, none of which contains another.  Gradients of the
kernels are among the rest."""


def run(quick: bool) -> list[dict]:
    """Return rows for the time of a step: forward, backward, Adam."""
    num_turns = 2 if quick else 10
    size = 11 if quick else SIZE_VOXELS
    rows = []
    for name, precision in PRECISIONS.items():
        torch.manual_seed(0)
        gated, cnn = (make_vae_step(size, precision, symmetry=x) for x in ("rotation", "none"))
        denoiser = make_denoiser_step(11 if quick else DENOISER_SIZE_VOXELS, precision)
        steps = {
            "gated VAE": gated, "unconstrained VAE": cnn, "unconstrained denoiser": denoiser,
            **{
                f"VAE of Fourier fields of {name}": make_vae_step(size, precision, layers=layers)
                for name, layers in FOURIER_LAYERS.items()
            },
        }  # fmt: skip
        slow = {f"{key}, Python": without_code(step) for key, step in steps.items()}
        times_ms = time_in_turns(steps | slow, num_turns)
        medians_ms = {key: statistics.median(values) for key, values in times_ms.items()}
        options = {"unit": "ms", "n": num_turns}
        rows += [
            make_row(
                f"step of the {key}: {name}", medians_ms[key], medians_ms[f"{key}, Python"],
                "without a compiler", **options,
            )
            for key in steps
        ]  # fmt: skip
        rows.append(
            make_row(
                f"step of the gated VAE: {name}", medians_ms["gated VAE"],
                medians_ms["unconstrained VAE"], "torch, unconstrained", **options,
            )
        )  # fmt: skip
        rows += describe_parts(gated, f"step of the gated VAE: {name}", num_turns)
    return rows


def make_vae_step(
    size_voxels: int,
    precision: torch.dtype,
    *,
    symmetry: str = "rotation",
    layers: Sequence[str] = LAYERS,
) -> Callable:
    options = {"size_voxels": size_voxels, "conv": SYMMETRIES[symmetry]}
    vae = VAE(layers, LATENT, num_channels=NUM_CHANNELS, **options)
    image = torch.rand(BATCH_SIZE, *vae.image_shape)
    noise = torch.randn(BATCH_SIZE, *vae.latent_shape)

    def calc() -> torch.Tensor:
        posterior = vae.encode(image)
        reconstruction = vae.decode(posterior.sample(noise))
        return calc_loss(image, reconstruction, posterior, reduction="sum", beta=1.0).total

    return make_step(vae, calc, precision)


def make_denoiser_step(size_voxels: int, precision: torch.dtype) -> Callable:
    layers = [parse_field_type(layer) for layer in DENOISER_LAYERS]
    channels = Irreps(f"{NUM_CHANNELS}x0e")
    network = UNet(
        channels, layers, channels, size_voxels=size_voxels, conv=SYMMETRIES["none"],
        norm=NORMS["instance"], function="elu",
    )  # fmt: skip
    image = torch.rand(BATCH_SIZE, NUM_CHANNELS, *[size_voxels] * 3)
    c_noise = torch.zeros(BATCH_SIZE)
    return make_step(network, lambda: network(image, c_noise).square().mean(), precision)


def make_step(model: nn.Module, calc: Callable[[], torch.Tensor], precision: torch.dtype):
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = calc()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def without_code(step: Callable) -> Callable:
    """Return the same step, as it is where there is no compiler."""

    def slow_step():
        load = compiled.load_library
        compiled.load_library = lambda: None
        try:
            step()
        finally:
            compiled.load_library = load

    return slow_step


def describe_parts(step: Callable, name: str, num_turns: int) -> list[dict]:
    """Return rows for the time of each part of a step, without a reference."""
    with name_kernels(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(num_turns):
            with record_function("step"):
                step()
    totals_ms: dict[str, float] = {}
    for event in profiler.key_averages():
        totals_ms[event.key] = event.cpu_time_total / 1000 / num_turns
    parts_ms = {part: sum(totals_ms.get(x, 0) for x in names) for part, names in PARTS.items()}
    parts_ms["the rest"] = totals_ms["step"] - sum(parts_ms.values())
    empty = {"reference": None, "reference_name": None, "ratio": None}
    return [
        {"name": f"{name}: {part}", "ours": ms, "unit": "ms", "n": num_turns, **empty}
        for part, ms in parts_ms.items()
    ]


@contextmanager
def name_kernels() -> Iterator[None]:
    """Name the making of kernels for the profiler."""
    calc = SteerableConv.calc_kernel

    def calc_kernel(self):
        with record_function("making kernels"):
            return calc(self)

    SteerableConv.calc_kernel = calc_kernel
    try:
        yield
    finally:
        SteerableConv.calc_kernel = calc
