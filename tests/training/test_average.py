"""An exponential moving average of the weights, against what is computed here by hand."""

import csv

import pytest
import safetensors.torch
import torch

from atompaint_vae.config.hparams import load_hparams
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.nn.norm import IrrepsNorm
from atompaint_vae.publishing.publish import make_weights
from atompaint_vae.records.record import load_record
from atompaint_vae.training.evaluate import calc_test_metrics
from atompaint_vae.training.feed import CropFeed
from atompaint_vae.training.plan import build_model
from atompaint_vae.training.weights import load_run_weights

DECAY = 0.75
EDITS = {"optim:": f"optim:\n    ema_decay: {DECAY}", "epochs: 3": "epochs: 2"}


@pytest.fixture(scope="module")
def averaged(make_expt):
    expt = make_expt(EDITS)
    code, _, stderr = expt.train()
    assert code == 0, stderr
    return expt


@pytest.fixture(scope="module")
def model(averaged):
    """That of the best validation."""
    hparams = load_hparams(averaged.path / "hparams.nt")["a"]
    model = build_model(hparams, image_std=load_record(averaged.paths.record).image_std)
    model.load_state_dict(load_run_weights(averaged.paths))
    return model.eval()


def test_the_average_of_all_steps_also_where_training_is_cut(make_expt, averaged):
    expt, states = make_expt(EDITS), []
    for step in range(1, 4):
        assert expt.train("--max-steps", str(step))[0] == 0
        states.append(torch.load(expt.paths.last, weights_only=True)["state_dict"])
    name = next(x for x in states[0] if x.startswith("model.") and x.endswith("weight"))
    average = states[0][name]
    for state in states[1:]:
        average = DECAY * average + (1 - DECAY) * state[name]
    found = states[-1][name.replace("model.", "average.module.", 1)]
    torch.testing.assert_close(found, average, rtol=1e-6, atol=1e-7)
    assert not torch.equal(found, states[-1][name])
    assert expt.train()[0] == 0
    expt.assert_same_run(averaged)


def test_statistics_are_those_of_the_averaged_weights(averaged, model):
    """Of the first layer, whose inputs no weight changes: the mean of the batches' variances."""
    hparams = load_hparams(averaged.path / "hparams.nt")["a"]
    dataset = CropFeed(hparams, averaged.path, num_workers=0).datasets["train"]
    block = model.encoder.blocks[0]
    norm = block.norm
    assert isinstance(norm, IrrepsNorm)
    variances = []
    for first in range(0, len(dataset), 2):
        images = dataset.make_images(collate_crops([dataset[i] for i in (first, first + 1)]))
        with torch.no_grad():
            fields = block.conv(images / model.image_std)
        channel = fields[:, 0]  # a scalar
        variances.append((channel.square().mean() - channel.mean().square()).item())
    expected = sum(variances) / len(variances)
    assert norm.running_var[0].item() == pytest.approx(expected, rel=1e-4)


def test_validation_and_test_are_of_the_average(averaged, model):
    hparams = load_hparams(averaged.path / "hparams.nt")["a"]
    feed = CropFeed(hparams, averaged.path, num_workers=0)
    metrics = calc_test_metrics(model, hparams, feed.datasets["test"])
    with averaged.paths.test_metrics.open(newline="") as file:
        (row,) = csv.DictReader(file)
    for key in ("r2", "loss", "prior_loss", "equivariance_error_free"):
        assert metrics[key] == pytest.approx(float(row[key]), rel=1e-5, abs=1e-7), key
    best = load_record(averaged.paths.record).best
    assert int(row["step"]) == best.step
    metrics = calc_test_metrics(model, hparams, feed.datasets["validation"])
    assert metrics["r2"] == pytest.approx(best.value, rel=1e-5, abs=1e-7)


def test_the_average_is_what_is_published(averaged):
    published = safetensors.torch.load(make_weights(averaged.paths))
    state = torch.load(averaged.paths.best, weights_only=True)["state_dict"]
    assert published.keys() == {k[6:] for k in state if k.startswith("model.")}
    for name, tensor in published.items():
        assert torch.equal(tensor, state[f"average.module.{name}"])
