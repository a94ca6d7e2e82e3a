"""What training computes, against what is computed here by hand."""

import csv

import pytest
import torch

from atompaint_vae.config.hparams import load_hparams
from atompaint_vae.data.crops.dataset import EpochSampler, collate_crops
from atompaint_vae.data.sets.sources import find_atoms_path
from atompaint_vae.models.noise import Noise
from atompaint_vae.records.record import RunPaths, load_record
from atompaint_vae.training.feed import CropFeed
from atompaint_vae.training.module import TrainingModule
from atompaint_vae.training.plan import build_model


def make_module(expt, image_std: float = 0.5) -> tuple[TrainingModule, CropFeed]:
    hparams = load_hparams(expt.path / "hparams.nt")["a"]
    feed = CropFeed(hparams, expt.path, num_workers=0)
    torch.manual_seed(hparams.seed)
    model = build_model(hparams, image_std=image_std)
    return TrainingModule(model, hparams, feed.datasets["train"]), feed


def calc_loss_by_hand(module, batch, reduction: str, beta: float):
    images = module.dataset.make_images(batch)
    posterior = module.model.encode(images)
    seed = module.run_hparams.seed
    noise = Noise(seed, batch.sample_index).draw_normal(posterior.mean, "posterior")
    reconstruction = module.model.decode(posterior.mean + (posterior.logvar / 2).exp() * noise)
    errors = ((images - reconstruction) / module.model.image_std) ** 2
    num_images = len(images)
    data = errors.sum() / num_images
    if reduction == "mean":
        data = data / (6 * 11**3)
    variance = posterior.logvar.exp()
    kl = -0.5 * (1 + posterior.logvar - posterior.mean**2 - variance)
    prior = kl.sum() / num_images
    return data + beta * prior, data, prior


def make_expt_with(make_expt, reduction, precision="32-true"):
    return make_expt({
        "optim:": f"loss:\n    reduction: {reduction}\n    beta: 0.25\n  optim:",
        "epochs: 3": f"epochs: 3\n    precision: {precision}",
    })


def test_splits_of_the_feed_are_those_of_the_table(make_expt):
    feed = make_module(make_expt())[1]
    with find_atoms_path("starter").with_name("structures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    used = {split: feed.datasets[split].crop_sampler.structures for split in feed.datasets}
    assert len(used) == 3
    for split, structures in used.items():
        assert sorted(structures) == sorted(r["pdb_id"] for r in rows if r["split"] == split)
    assert sum(map(len, used.values())) == len(set().union(*used.values())) == len(rows)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_a_step(make_expt, reduction):
    module, feed = make_module(make_expt_with(make_expt, reduction))
    batch = collate_crops([feed.datasets["train"][i] for i in (3, 8)])
    module.eval()  # the same statistics twice
    found = module.training_step(batch, 0)
    total, data, prior = calc_loss_by_hand(module, batch, reduction, 0.25)
    # Sums of 16,000 float32, in another order.
    torch.testing.assert_close(found["loss"], total, rtol=1e-5, atol=0)
    expected = torch.stack([total, data, prior]).detach()
    torch.testing.assert_close(found["losses"], expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("reduction", "clip"), [("mean", None), ("sum", None), ("sum", 0.5)])
def test_one_step_of_training(make_expt, reduction, clip):
    """With gradients as they are, where a wrong scale shows, and clipped."""
    expt = make_expt_with(make_expt, reduction)
    expt.edit({"batch_size: 2": f"batch_size: 2\n    gradient_clip: {clip or 0}"})
    code, _, stderr = expt.train("--max-steps", "1", "--device", "cpu")
    assert code == 0, stderr
    paths = RunPaths(expt.path / "runs/a")
    checkpoint = torch.load(paths.last, weights_only=True)
    trained = checkpoint["state_dict"]
    (optimizer,) = checkpoint["optimizer_states"]
    moments = [optimizer["state"][i] for i in range(len(optimizer["state"]))]

    module, feed = make_module(expt, image_std=load_record(paths.record).image_std)
    sampler = EpochSampler(len(feed.datasets["train"]), batch_size=2)
    sampler.set_epoch(0)
    indices = list(sampler)[:2]
    batch = collate_crops([feed.datasets["train"][i] for i in indices])
    names, parameters = zip(*module.named_parameters(), strict=True)
    loss = calc_loss_by_hand(module, batch, reduction, 0.25)[0]
    gradients = torch.autograd.grad(loss, parameters)
    norm = torch.cat([g.flatten() for g in gradients]).norm().item()
    scale = clip / norm if clip else 1
    assert scale <= 1
    # The first of 2 steps of warm-up, and Adam's first step: lr · g / (|g| + ε).
    learning_rate = 2e-2 / 3
    num_compared = 0
    for name, parameter, gradient, moment in zip(
        names, parameters, gradients, moments, strict=True
    ):
        g = scale * gradient
        # The step forgets the scale of the gradient, its moments don't: (1 - β₁) g, (1 - β₂) g².
        largest = g.abs().max().item()
        torch.testing.assert_close(
            moment["exp_avg"], 0.1 * g, rtol=1e-4, atol=1e-5 * largest)
        torch.testing.assert_close(
            moment["exp_avg_sq"], 0.001 * g**2, rtol=2e-4, atol=1e-8 * largest**2)
        expected = parameter - learning_rate * g / (g.abs() + 1e-8)
        # Where the gradient is lost in rounding, so is its sign.
        is_clear = g.abs() > 1e-4 * g.abs().max().clamp(min=1e-6)
        num_compared += int(is_clear.sum())
        torch.testing.assert_close(
            trained[name][is_clear], expected[is_clear].detach(), rtol=1e-4, atol=1e-5)
    assert num_compared > 0.9 * sum(parameter.numel() for parameter in parameters)


def test_precision_is_honoured(make_expt):
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        expt = make_expt_with(make_expt, "sum", precision)
        code, _, stderr = expt.train("--max-steps", "5", "--device", "cpu")
        assert code == 0, stderr
        with (expt.path / "runs/a/val.csv").open(newline="") as file:
            losses.append(float(next(csv.DictReader(file))["data_loss"]))
        state = torch.load(expt.path / "runs/a/checkpoints/last.ckpt", weights_only=True)
        weights = [w for w in state["state_dict"].values() if w.is_floating_point()]
        assert {w.dtype for w in weights} == {torch.float32}
    # bfloat16 has 8 bits: relative errors of 2⁻⁸ in each number, other steps after five.
    assert 1e-7 < abs(losses[0] / losses[1] - 1) < 0.2
