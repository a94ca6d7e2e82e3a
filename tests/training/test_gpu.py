"""What a GPU computes is what the CPU computes; `make test-gpu` runs this on one.

Each test has a twin on the CPU, which shows that the test itself works.
"""

import os
import subprocess
import sys
from contextlib import contextmanager

import lightning as L
import pandas as pd
import pytest
import torch
from small_expt import SmallExpt
from small_steps import STEPS, make_hparams, make_training, take_step

from atompaint_vae.data.crops.dataset import CropBatch
from atompaint_vae.models.diffusion.samples import draw_images
from atompaint_vae.training.feed import CropFeed, move_batch
from atompaint_vae.training.module import TrainingModule

TOLERANCE = {"32-true": 1e-3, "bf16-mixed": 0.1}
"""Relative errors of a loss and of all gradients together. Float32 has 24 bits, and convolutions
sum thousands of numbers; bfloat16 has 8."""


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA GPU here")
    return request.param


@pytest.fixture(autouse=True)
def _use_all_bits(monkeypatch):
    """GPUs would round the numbers that convolutions multiply to 10 bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@contextmanager
def forbid_waiting(device: str):
    """Raise RuntimeError if the CPU waits for a GPU; on the CPU, do nothing."""
    if device == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def move_training(training: tuple[TrainingModule, CropBatch], device: str):
    module, batch = training
    if (encodings := getattr(module.objective, "_encodings", None)) is not None:
        object.__setattr__(encodings, "copy_of_channel", encodings.copy_of_channel.to(device))
    return module.to(device), move_batch(batch, torch.device(device))


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", STEPS)
def test_losses_and_gradients_are_those_of_double_precision(name, precision, device, tmp_path):
    if (name, precision) == ("VAE of products", "bf16-mixed"):
        pytest.skip("its loss is the logarithm of an error that is all rounding")
    hparams = make_hparams(STEPS[name])
    module, batch = make_training(hparams, tmp_path)
    module.double()
    exact = module.training_step(batch._replace(coords_A=batch.coords_A.double()), 0)
    exact["loss"].backward()
    expected = [x.grad for x in module.model.parameters() if x.requires_grad]

    module, batch = move_training(make_training(hparams, tmp_path), device)
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16-mixed"):
        found = module.training_step(batch, 0)
    found["loss"].backward()
    assert found["loss"].device.type == device
    torch.testing.assert_close(
        found["losses"].cpu().double(), exact["losses"].double(),
        rtol=TOLERANCE[precision], atol=1e-6,
    )  # fmt: skip
    grads = [x.grad.cpu() for x in module.model.parameters() if x.requires_grad]
    pairs = list(zip(grads, expected, strict=True))
    error = sum((x - y).square().sum() for x, y in pairs) ** 0.5
    assert error <= TOLERANCE[precision] * sum(y.square().sum() for y in expected) ** 0.5


@pytest.mark.parametrize("name", STEPS)
def test_a_step_never_waits(name, device, tmp_path):
    module, batch = move_training(make_training(make_hparams(STEPS[name]), tmp_path), device)
    optimizer = torch.optim.Adam(x for x in module.parameters() if x.requires_grad)
    take_step(module, batch, optimizer)  # tables that are made once
    with forbid_waiting(device):
        losses = [take_step(module, batch, optimizer)["loss"] for _ in range(2)]
    assert all(x.isfinite() for x in losses)


class StepWatch(L.Callback):
    """Forbids to wait from a step's beginning to its end, but not in the first two."""

    def __init__(self):
        self.num_steps = 0

    def on_train_batch_start(self, trainer, module, batch, index):
        self.context = forbid_waiting(module.device.type if index > 1 else "cpu")
        self.context.__enter__()

    def on_train_batch_end(self, *arguments):
        self.context.__exit__(None, None, None)
        self.num_steps += 1


@pytest.mark.parametrize("precision", TOLERANCE)
def test_lightning_never_waits_in_a_step(precision, device, tmp_path):
    values = {"model": STEPS["VAE"]["model"]}
    hparams = make_hparams(values)
    train = hparams.train.model_copy(update={"steps_per_epoch": 6, "precision": precision})
    hparams = hparams.model_copy(update={"train": train})
    module, _ = make_training(hparams, tmp_path)
    feed, watch = CropFeed(hparams, tmp_path, device), StepWatch()
    trainer = L.Trainer(
        accelerator=device, devices=1, precision=precision, max_epochs=1, gradient_clip_val=1.0,
        callbacks=[watch], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )  # fmt: skip
    try:
        trainer.fit(module, feed)
    finally:
        feed.end_workers()
    assert watch.num_steps == 6


def test_the_same_samples_on_each_device(device, tmp_path):
    hparams = make_hparams({"kind": "diffusion", "model": {"layers": ["2x0e+1x1e", "2x0e"]}})
    sampler = hparams.model.sampler.model_copy(update={"num_steps": 4})
    model = make_training(hparams, tmp_path)[0].model.eval()
    torch.nn.init.normal_(model.network.head.weights["0to0"], std=0.1)  # zeros at first
    images = draw_images(model.to(device), sampler, seed=3, indices=[5, 6]).cpu()
    (alone,) = draw_images(model.double().cpu(), sampler, seed=3, indices=[6])
    error = (images[1] - alone).norm() / alone.norm()
    assert 0 < error < TOLERANCE["32-true"]


def test_crops_are_the_same_images(device, tmp_path):
    module, batch = make_training(make_hparams(STEPS["VAE"]), tmp_path)
    expected = module.dataset.make_images(batch._replace(coords_A=batch.coords_A.double()))
    images = module.dataset.make_images(move_batch(batch, torch.device(device)))
    assert images.device.type == device
    torch.testing.assert_close(images.cpu().double(), expected, rtol=0, atol=1e-5)


PRELUDE = """
import runpy, sys, torch
torch.use_deterministic_algorithms(True, warn_only=True)
torch.backends.cudnn.allow_tf32 = False
torch.set_num_threads(1)
sys.argv = ["train.py", *sys.argv[1:]]
runpy.run_path("train.py", run_name="__main__")
"""


def train(expt: SmallExpt, *args: str):
    """Train in a new process, as CUDA can't be used in one that is forked from this."""
    env = os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONWARNINGS": "ignore"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", PRELUDE, *args]
    done = subprocess.run(
        command, cwd=expt.path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow),
               pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)  # fmt: skip
def test_resume_is_exact(device, make_expt):
    """With kernels that are, which torch's option chooses."""
    whole, cut = make_expt(), make_expt()
    train(whole, "--device", device)
    train(cut, "--device", device, "--max-steps", "7")
    train(cut, "--device", device)
    cut.assert_same_run(whole)


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow),
               pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)  # fmt: skip
def test_two_devices_train_what_one_does(device, make_expt):
    if device == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("torch finds only one CUDA GPU here")
    one, two = make_expt(), make_expt()
    train(one, "--device", device)
    train(two, "--device", device, "--devices", "2")
    for name in ("train_metrics", "val_metrics"):
        expected, found = (pd.read_csv(getattr(x.paths, name)) for x in (one, two))
        columns = expected.columns.drop(["elapsed_s", "equivariance_error_90"], errors="ignore")
        pd.testing.assert_frame_equal(found[columns], expected[columns], rtol=1e-3, atol=1e-4)
