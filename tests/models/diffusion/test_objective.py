"""What runs of diffusion leave, and what is said of hyperparameters that don't fit."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from small_expt import HPARAMS

from atompaint_vae.config.checks import check_experiment
from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.hparams import load_resolved
from atompaint_vae.config.schema import Hparams
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.models.diffusion import samples
from atompaint_vae.models.diffusion.denoiser import Denoiser
from atompaint_vae.models.diffusion.kind import BANDS
from atompaint_vae.models.diffusion.objective import DiffusionObjective
from atompaint_vae.models.noise import Noise
from atompaint_vae.records.record import RunPaths, load_record
from atompaint_vae.training.plan import build_model
from atompaint_vae.training.weights import check_inputs, load_run_weights, make_trained

VOXELS = {
    "shared:\n": "shared:\n  kind: diffusion\n",
    "      - 1xfourier1+2x0e\n    latent: 2x0e+1x1e\n":
        "      - 4x0e+2x1e\n      - 4x0e\n    sampler:\n      num_steps: 3\n",
}  # fmt: skip


def make_hparams(**model):
    return Hparams.model_validate({
        "kind": "diffusion",
        "data": {"size_voxels": 11},
        "model": {"layers": ["4x0e+2x1e", "4x0e"], **model},
        "train": {"epochs": 1, "steps_per_epoch": 1},
    })  # fmt: skip


@pytest.fixture(scope="module")
def trained(make_expt):
    expt = make_expt(VOXELS)
    code, stdout, stderr = expt.train()
    assert code == 0, stderr
    assert stdout.startswith("a: finished, best validation band loss 0.")
    return expt


def test_what_a_run_leaves(trained):
    paths = trained.paths
    columns = ["loss", "band_loss", *BANDS]
    assert [*BANDS] == [
        "loss_0.03_0.1", "loss_0.1_0.3", "loss_0.3_1", "loss_1_3", "loss_3_10"
    ]  # fmt: skip
    assert [*pd.read_csv(paths.val_metrics).columns] == ["step", "epoch", "elapsed_s", *columns]
    row = pd.read_csv(paths.test_metrics).iloc[0]
    assert row.band_loss == pytest.approx(row[list(BANDS)].mean())
    assert row.bonded_low <= row.bonded <= row.bonded_high
    assert 0.9 < row.bonded_true <= 1
    assert row.sample_s > 0
    record = load_record(paths.record)
    assert record.best.metric == "band_loss"
    assert record.sizes == {"data_shape": (6, 11, 11, 11)}
    with np.load(io.BytesIO((paths.run_dir / "samples.npz").read_bytes())) as stored:
        num = len(stored["sample"])
        assert stored["sample"].shape == (num, 6, 11, 11, 11)
        assert stored["crop"].shape[1:] == stored["path"].shape[1:] == (6, 11, 11, 11)
        assert len(stored["path_sigma"]) == len(stored["path"])
        assert (np.diff(stored["path_sigma"]) < 0).all()
        assert stored["path_sigma"][-1] == 0


def test_data_that_do_not_vary_are_refused_before_old_results_are_removed(make_expt):
    expt = make_expt(VOXELS)
    expt.paths.run_dir.mkdir(parents=True)
    expt.paths.test_metrics.write_text("step\n1\n")
    code, _, stderr = expt.train(
        prepare=lambda: setattr(Denoiser, "find_data", lambda self, images, noise: 0 * images)
    )
    message = "the data of l = 0 don't vary, so they can't be scaled"
    assert (code, stderr) == (2, f"runs/a: {message}\n")
    assert expt.paths.test_metrics.read_text() == "step\n1\n"
    assert not expt.paths.record.exists()


def test_trained_weights_have_their_scale(trained):
    model = make_trained(trained.paths, load_run_weights(trained.paths))
    hparams = load_resolved(trained.paths.hparams)
    dataset = make_dataset(hparams, trained.paths.expt_dir, "train")
    images = dataset.make_images(collate_crops([dataset[i] for i in range(64)]))
    assert model.scaling.std.item() == pytest.approx(images.std().item(), rel=1e-4)
    assert model.scaling.mean.item() == pytest.approx(images.mean().item(), rel=1e-4)


def test_metrics_of_samples_do_not_depend_on_the_order_of_processes(trained, monkeypatch):
    hparams = load_resolved(trained.paths.hparams)
    dataset = make_dataset(hparams, trained.paths.expt_dir, "test")
    model = build_model(hparams)

    def draw(model, sampler, *, seed, indices):
        return dataset.make_images(collate_crops([dataset[i] for i in indices]))

    monkeypatch.setattr(samples, "draw_images", draw)
    expected = samples.SampleMetrics(dataset).calc(model, hparams)
    monkeypatch.setattr(samples, "gather_from_processes", lambda x: dict(reversed(x.items())))
    found = samples.SampleMetrics(dataset).calc(model, hparams)
    assert expected["bonded_low"] < expected["bonded"] < expected["bonded_high"]
    del expected["sample_s"], found["sample_s"]
    assert found == expected


def make_objective(**model):
    hparams = make_hparams(**model)
    torch.manual_seed(0)
    return DiffusionObjective(build_model(hparams), hparams, None)


def test_a_network_that_knows_nothing_has_loss_one():
    # λ(σ) |c_skip x − y|² has mean 1 for data of unit variance, whatever σ is.
    objective = make_objective()
    y = torch.randn(32, 6, 11, 11, 11, generator=torch.Generator().manual_seed(0))
    noise = Noise(0, torch.arange(32))
    assert objective.calc_losses(y, noise, 0)["loss"].item() == pytest.approx(1, abs=0.01)
    objective.begin_held_out()
    objective.add_held_out(y, noise)
    metrics = objective.calc_metrics()
    assert [*metrics] == ["loss", "band_loss", *BANDS]
    assert all(value == pytest.approx(1, abs=0.01) for value in metrics.values())


@pytest.mark.parametrize("self_conditioning", [False, True])
def test_the_rest_of_a_test_in_evaluations_of_the_denoiser(trained, self_conditioning):
    sampler = {"num_steps": 3}
    objective = make_objective(self_conditioning=self_conditioning, sampler=sampler)
    dataset = make_dataset(objective.hparams, trained.paths.expt_dir, "test")
    counts, y = [], torch.randn(1, 6, 11, 11, 11)
    objective.model.register_forward_hook(lambda model, inputs, output: counts.append(len(output)))
    objective.begin_held_out(dataset)
    objective.add_held_out(y, Noise(0, torch.arange(1)))
    num_of_crop = len(counts)
    objective.calc_metrics()
    objective.make_artifacts(dataset, torch.device("cpu"))
    assert objective.estimate_test() == sum(counts[num_of_crop:]) / num_of_crop


def test_a_perfect_denoiser_of_bands():
    # D returning the true y has no loss; noise levels lie in their bands.
    objective = make_objective()
    y = torch.randn(4, 6, 11, 11, 11)
    seen = []

    def denoise(x, sigma, previous=None):
        seen.append(sigma)
        return y

    objective.model.forward = denoise
    encoded, encode = [], objective.model.encode
    objective.model.encode = lambda *args: encoded.append(args) or encode(*args)
    objective.begin_held_out()
    objective.add_held_out(y, Noise(3, torch.arange(4)))
    assert len(encoded) == 1
    assert set(objective.calc_metrics().values()) == {0.0}
    for sigmas, (low, high) in zip(seen[1:], BANDS.values(), strict=True):
        assert low < sigmas.min() < sigmas.max() < high
    assert all(len(sigmas.unique()) == 4 for sigmas in seen)


def test_held_out_noise_is_the_same_in_all_runs():
    y = torch.randn(4, 6, 11, 11, 11)
    metrics = []
    for seed in (0, 1):
        objective = make_objective()
        for parameter in objective.model.network.parameters():
            torch.nn.init.constant_(parameter, 0.05)
        objective.begin_held_out()
        objective.add_held_out(y, Noise(seed, torch.arange(4)))
        metrics.append(objective.calc_metrics())
    assert metrics[0] == metrics[1]
    # Crops may come in any batches.
    objective.begin_held_out()
    for chosen in ([0, 1, 2], [3]):
        objective.add_held_out(y[chosen], Noise(9, torch.tensor(chosen)))
    assert objective.calc_metrics() == pytest.approx(metrics[0], rel=1e-5)


def test_half_of_the_images_see_an_earlier_estimate():
    objective = make_objective(self_conditioning=True)
    calls = []
    forward = objective.model.forward

    def watch(x, sigma, previous=None):
        calls.append(previous)
        return forward(x, sigma, previous) + 1

    objective.model.forward = watch
    y = torch.randn(64, 6, 11, 11, 11)
    objective.calc_losses(y, Noise(0, torch.arange(64)), 0)
    first, second = calls
    assert first is None
    is_seen = second.flatten(1).abs().sum(dim=1) > 0
    # Standard deviation of the count: 4.
    assert abs(int(is_seen.sum()) - 32) < 14
    assert not second.requires_grad


LATENTS = {
    "    latent: 2x0e+1x1e\n": "",
    "      - 1xfourier1+2x0e\n": "      - 4x0e+2x1e\n",
    "  a:\n": """\
  a:
    model:
      latent: 2x0e+1x1e
  b:
    kind: diffusion
    model:
      autoencoder: 20240101_x/a
      sampler:
        num_steps: 2
""",
}


def test_latents_of_a_run(make_expt):
    expt = make_expt(LATENTS, inside="expts")
    code, _, stderr = expt.train()
    assert code == 0, stderr
    paths = RunPaths(expt.paths.expt_dir / "runs/b")
    record = load_record(paths.record)
    assert record.sizes == {"data_shape": (5, 5, 5, 5)}
    assert [*record.inputs] == ["model.autoencoder"]
    assert "bonded_reconstructed" in pd.read_csv(paths.test_metrics).columns
    model = make_trained(paths, load_run_weights(paths))
    source = make_trained(expt.paths, load_run_weights(expt.paths))
    image = torch.rand(1, 6, 11, 11, 11)
    assert torch.equal(model.autoencoder.encode(image).mean, source.encode(image).mean)
    assert not any(p.requires_grad for p in model.autoencoder.parameters())


MISFITS = [
    (
        {"      autoencoder: 20240101_x/a": "      autoencoder: neighbor"},
        "'neighbor': neither a published model nor experiment/run",
    ),
    (
        {"    kind: diffusion\n": "    kind: diffusion\n    data:\n      size_voxels: 13\n"},
        "data.size_voxels: 13, but the images of 20240101_x/a have 11",
    ),
    (
        {"      latent: 2x0e+1x1e\n": "      latent: 2x0e+1x1e\n      symmetry: none\n"},
        "model.symmetry: rotation, but the latents of 20240101_x/a don't rotate",
    ),
    (
        {"      latent: 2x0e+1x1e\n": "      latent: 2x0e+1x1e\n      symmetry: none\n",
         "        num_steps: 2\n": "        num_steps: 2\n      symmetry: none\n",
         "    kind: diffusion\n": "    kind: diffusion\n    data:\n      num_train_crops: 4\n"},
        "24: data.num_train_crops: 4, but crops that are seen again are turned, and the encoder of "
        "20240101_x/a has no symmetry; expected 0",
    ),
    (
        {"        num_steps: 2\n":
         "        num_steps: 2\n      layers:\n" + "        - 4x0e\n" * 4},
        "model.layers: 4 layers, but data of 5 voxels have at most 3 resolutions: 5 → 3 → 1",
    ),
    (
        {"      latent: 2x0e+1x1e\n  b:\n    kind: diffusion\n": "      autoencoder: \n  b:\n",
         "shared:\n": "shared:\n  kind: diffusion\n"},
        "model.autoencoder: 20240101_x/a is of kind diffusion; expected vae",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("edits", "message"), MISFITS)
def test_autoencoders_that_do_not_fit(tmp_path, edits, message):
    text = HPARAMS
    for old, new in (LATENTS | edits).items():
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "expts/20240101_x/hparams.nt"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    problems = [*check_inputs(check_experiment(path), path.parent)]
    assert [message in str(x) for x in problems] == [True], problems


WRONG = [
    (
        {"      num_steps: 3": "      sigma_min: 90"},
        "model.sampler.sigma_min: 90 isn't below model.sampler.sigma_max, 80",
    ),
    (
        {"      - 4x0e\n": "      - 4x0e\n" * 5},
        "model.layers: 6 layers, but data of 11 voxels have at most 4 resolutions: 11 → 5 → 3 → 1",
    ),
]


@pytest.mark.parametrize(("edits", "message"), WRONG)
def test_hyperparameters_that_do_not_fit(make_expt, edits, message):
    expt = make_expt(VOXELS | edits)
    code, _, stderr = expt.train()
    assert code == 2
    assert message in stderr
