"""Compare diffusion on latents with diffusion on voxels, and our network with a plain one.

The denoiser is the same on all: three resolutions, without symmetry.  Images have 35³ voxels.  The
autoencoders aren't trained, which takes the same time.

The last row compares training with encodings that are kept with training that encodes at each step,
for the hyperparameters of an experiment.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.hparams import load_hparams
from atompaint_vae.config.schema import Hparams
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.models.diffusion.denoiser import Denoiser
from atompaint_vae.models.diffusion.objective import DiffusionObjective
from atompaint_vae.models.diffusion.samples import draw_images
from atompaint_vae.models.encoder import calc_sizes
from atompaint_vae.models.noise import Noise
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.nn.conv import choose_padding
from atompaint_vae.training.cost import calc_cost
from atompaint_vae.training.weights import load_inputs

from ._turns import time_in_turns

SIZE_VOXELS = 35
QUICK_SIZE_VOXELS = 21
LAYERS = ("32x0e", "64x0e", "64x0e")
FIELDS = "16x0e+8x1e+4x2e"
LATENT = "2x0e+1x1e"
NUM_LAYERS = {"latents, one layer": 1, "latents, two layers": 2}
BATCH_SIZE = 2
EXPT_DIR = Path(__file__).parents[1] / "expts/20261129_quick_samples"
NUM_TRAIN_CROPS = 64
NUM_STEPS = 18
"""Noise levels of a sample."""


def run(quick: bool) -> list[dict]:
    """Return rows for a training step, a sample and memory, of latents against voxels; then for a
    training step of our network against a plain one, and with encodings that are kept."""
    size_voxels = QUICK_SIZE_VOXELS if quick else SIZE_VOXELS
    num_turns = 2 if quick else 5
    hparams = _make_hparams(size_voxels)
    models = {"voxels": _make_denoiser(hparams, None)}
    models |= {
        name: _make_denoiser(hparams, _make_vae(size_voxels, num_layers))
        for name, num_layers in NUM_LAYERS.items()
    }
    images = torch.rand(BATCH_SIZE, 6, *[size_voxels] * 3)
    noise = Noise(0, torch.arange(BATCH_SIZE))
    objectives = {name: DiffusionObjective(x, hparams, None) for name, x in models.items()}

    def train(objective: DiffusionObjective):
        objective.calc_losses(images, noise, 0)["loss"].backward()

    def sample(model: Denoiser):
        draw_images(model, hparams.model.sampler, seed=0, indices=range(BATCH_SIZE))

    rows = []
    for name, function, arguments in (
        ("training step", train, objectives),
        (f"sample, {hparams.model.sampler.num_steps} noise levels, decoded", sample, models),
    ):
        times_ms = time_in_turns(
            {key: lambda x=x, f=function: f(x) for key, x in arguments.items()}, num_turns
        )
        rows += [
            _make_row(
                f"{name}, {_describe(models[key])}", times_ms[key], times_ms["voxels"],
                "on voxels", "ms", num_turns, BATCH_SIZE,
            )
            for key in NUM_LAYERS
        ]  # fmt: skip
    memory_MB = {
        name: [calc_cost(hparams, x, batch_size=BATCH_SIZE).saved_bytes / 1e6]
        for name, x in models.items()
    }
    rows += [
        _make_row(
            f"memory of a training step, {_describe(models[key])}", memory_MB[key],
            memory_MB["voxels"], "on voxels", "MB", 1, BATCH_SIZE,
        )
        for key in NUM_LAYERS
    ]  # fmt: skip
    rows.append(_compare_networks(models["latents, one layer"], num_turns))
    return [*rows, _compare_encodings(10 * num_turns)]


def _make_hparams(size_voxels: int) -> Hparams:
    return Hparams.model_validate({
        "kind": "diffusion",
        "data": {"size_voxels": size_voxels},
        "model": {"layers": LAYERS, "symmetry": "none", "sampler": {"num_steps": NUM_STEPS}},
        "train": {"epochs": 1, "steps_per_epoch": 1},
    })  # fmt: skip


def _make_vae(size_voxels: int, num_layers: int) -> VAE:
    torch.manual_seed(0)
    vae = VAE([FIELDS] * num_layers, LATENT, num_channels=6, size_voxels=size_voxels)
    return vae.eval().requires_grad_(False)


def _make_denoiser(hparams: Hparams, autoencoder: VAE | None) -> Denoiser:
    torch.manual_seed(0)
    inputs = {} if autoencoder is None else {"autoencoder": autoencoder}
    return DiffusionObjective.build_model(hparams, inputs=inputs)


def _describe(model: Denoiser) -> str:
    return f"latents of {model.data_shape[0]}×{model.data_shape[1]}³"


def _compare_networks(model: Denoiser, num_turns: int) -> dict:
    """Return the row of our network against one of torch's layers, of equal multiply-adds."""
    x = torch.randn(BATCH_SIZE, *model.data_shape)
    plain = PlainUNet(*model.data_shape[:2])
    c_noise = torch.zeros(BATCH_SIZE)
    networks = {"ours": lambda: model.network(x, c_noise), "plain": lambda: plain(x)}
    multiply_adds = {}
    for name, function in networks.items():
        with FlopCounterMode(display=False) as counter:
            function()
        multiply_adds[name] = counter.get_total_flops() / 2
    times_ms = time_in_turns(
        {name: lambda f=f: f().square().mean().backward() for name, f in networks.items()},
        num_turns,
    )
    ratio = multiply_adds["plain"] / multiply_adds["ours"]
    return _make_row(
        f"network, forward and backward, {_describe(model)}, {ratio:.2f} times the multiply-adds",
        times_ms["ours"], times_ms["plain"], "plain U-Net of torch", "ms", num_turns, BATCH_SIZE,
    )  # fmt: skip


def _compare_encodings(num_turns: int) -> dict:
    """Return the row of training steps with encodings that are kept, against encoding at each."""
    (hparams,) = load_hparams(EXPT_DIR / "hparams.nt").values()
    data = hparams.data.model_copy(update={"num_train_crops": NUM_TRAIN_CROPS})
    dataset = make_dataset(hparams.model_copy(update={"data": data}), EXPT_DIR, "train")
    batch = collate_crops([dataset[i] for i in range(hparams.optim.batch_size)])
    noise = Noise(0, batch.sample_index)

    def prepare_step(is_kept: bool) -> Callable:
        torch.manual_seed(0)
        inputs = load_inputs(hparams, EXPT_DIR)
        model = DiffusionObjective.build_model(hparams, inputs=inputs.modules)
        model.autoencoder.eval()
        objective = DiffusionObjective(model, hparams, dataset)
        if is_kept:
            with tempfile.TemporaryDirectory() as folder:
                objective.prepare(Path(folder), torch.device("cpu"))
        optimizer = torch.optim.Adam(x for x in model.parameters() if x.requires_grad)

        def step():
            is_mixed = hparams.train.precision == "bf16-mixed"
            with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
                inputs = objective.make_training_inputs(batch)
                loss = objective.calc_losses(inputs, noise, 0)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    steps = {"kept": prepare_step(True), "at each step": prepare_step(False)}
    times_ms = time_in_turns(steps, num_turns)
    return _make_row(
        f"training step with encodings that are kept, {EXPT_DIR.name}", times_ms["kept"],
        times_ms["at each step"], "encoding at each step", "ms", num_turns,
        hparams.optim.batch_size,
    )  # fmt: skip


def _make_row(
    name: str, ours: list[float], reference: list[float], reference_name: str, unit: str,
    num_turns: int, batch_size: int,
) -> dict:  # fmt: skip
    mine, other = (statistics.median(x) / batch_size for x in (ours, reference))
    return {
        "name": name,
        "ours": mine,
        "reference": other,
        "reference_name": reference_name,
        "ratio": other / mine,
        "unit": f"{unit} for one crop",
        "n": num_turns,
    }


class PlainBlock(nn.Module):
    """A convolution, a group normalisation and SiLU."""

    def __init__(self, num_in: int, num_out: int, conv: type[nn.Module] = nn.Conv3d, **options):
        super().__init__()
        self.conv = conv(num_in, num_out, 3, bias=False, **{"padding": 1, **options})
        self.norm = nn.GroupNorm(8, num_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class PlainResidual(nn.Module):
    def __init__(self, num: int):
        super().__init__()
        self.first, self.second = PlainBlock(num, num), PlainBlock(num, num)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class PlainUNet(nn.Module):
    """A U-Net of torch's layers, with the widths of `LAYERS` and as many convolutions as ours."""

    def __init__(self, num_channels: int, size_voxels: int):
        super().__init__()
        fine, middle, coarse = (int(layer.removesuffix("x0e")) for layer in LAYERS)
        first, second = (
            {"stride": 2, "padding": choose_padding(size)}
            for size in calc_sizes(size_voxels, len(LAYERS) - 1)[:-1]
        )
        self.down = nn.ModuleList([
            nn.Sequential(PlainBlock(num_channels, fine), PlainResidual(fine)),
            nn.Sequential(PlainBlock(fine, middle, **first), PlainResidual(middle)),
            nn.Sequential(PlainBlock(middle, coarse, **second), PlainResidual(coarse)),
        ])  # fmt: skip
        self.grow = nn.ModuleList([
            PlainBlock(coarse, middle, nn.ConvTranspose3d, **second),
            PlainBlock(middle, fine, nn.ConvTranspose3d, **first),
        ])  # fmt: skip
        self.up = nn.ModuleList([
            nn.Sequential(PlainBlock(2 * middle, middle), PlainResidual(middle)),
            nn.Sequential(PlainBlock(2 * fine, fine), PlainResidual(fine)),
        ])  # fmt: skip
        self.head = nn.Conv3d(fine, num_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        skips.pop()
        for grow, layer in zip(self.grow, self.up, strict=True):
            x = layer(torch.cat([grow(x), skips.pop()], dim=1))
        return self.head(x)
