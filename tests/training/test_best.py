"""The best weights of a run whose best validation isn't its last: what is tested and shown of them.
"""

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.hparams import load_hparams
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.models.vae.objective import FREE_TURN, QUARTER_TURN, make_reconstructions
from atompaint_vae.nn.equivariance import calc_equivariance_error
from atompaint_vae.records.record import load_record
from atompaint_vae.training.evaluate import calc_test_metrics, write_test_results
from atompaint_vae.training.plan import build_model

EDITS = {
    # The learning rate rises until steps are far too large.
    "warmup_steps: 2": "warmup_steps: 24\n    learning_rate: 3", "epochs: 3": "epochs: 4",
    "steps_per_epoch: 5": "steps_per_epoch: 3",
    # The last batch of the test is smaller than the others.
    "num_test_crops: 3": "num_test_crops: 5", "runs:\n  a:\n": "runs:\n  a:\n    seed: 7\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def paths(make_expt):
    expt = make_expt(EDITS)
    code, _, stderr = expt.train("--device", "cpu")
    assert code == 0, stderr
    return expt.paths


@pytest.fixture(scope="module")
def hparams(paths):
    return load_hparams(paths.expt_dir / "hparams.nt")["a"]


@pytest.fixture(scope="module")
def load_model(paths, hparams):
    """A function that returns the model of a checkpoint."""

    def load(checkpoint):
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        model = build_model(hparams, image_std=load_record(paths.record).image_std)
        model.load_state_dict({k.removeprefix("model."): x for k, x in state.items()})
        return model.eval()

    return load


@pytest.fixture(scope="module")
def best(paths, load_model):
    return load_model(paths.best)


@pytest.fixture(scope="module")
def dataset(paths, hparams):
    return make_dataset(hparams, paths.expt_dir, "test")


@pytest.fixture(scope="module")
def images(dataset):
    return dataset.make_images(collate_crops(list(dataset)))


@pytest.fixture(scope="module")
def posteriors(best, images):
    """The mean of each crop's posterior, and its reconstruction."""
    with torch.no_grad():
        means = best.encode(images).mean
        return means, best.decode(means)


def read_rows(path):
    with path.open(newline="") as file:
        return [
            {k: float(x) if x else np.nan for k, x in row.items()} for row in csv.DictReader(file)
        ]


def test_the_best_step_is_not_the_last(paths):
    r2 = {row["step"]: row["r2"] for row in read_rows(paths.val_metrics)}
    step = max(r2, key=r2.get)
    assert step < max(r2) == 12
    assert torch.load(paths.best, weights_only=True)["global_step"] == step
    assert torch.load(paths.last, weights_only=True)["global_step"] == 12
    record = load_record(paths.record)
    assert (record.best.step, record.best.value) == (step, r2[step])
    (row,) = read_rows(paths.test_metrics)
    assert row["step"] == step


def test_the_test_is_of_the_best_weights(paths, hparams, dataset, best, load_model):
    (row,) = read_rows(paths.test_metrics)
    del row["step"]
    metrics = calc_test_metrics(best, hparams, dataset)
    assert list(metrics) == list(row)
    # Written with 9 digits; sums of float32 in another order.
    assert metrics == pytest.approx(row, rel=1e-4, abs=1e-6, nan_ok=True)
    last = calc_test_metrics(load_model(paths.last), hparams, dataset)
    for key in ("r2", "loss", "data_loss", "prior_loss", "equivariance_error_free", "r2_C"):
        assert last[key] != pytest.approx(row[key], rel=1e-2), key


def test_metrics_by_hand(paths, images, posteriors, best):
    (row,) = read_rows(paths.test_metrics)
    means, reconstructions = posteriors
    errors = (images - reconstructions).double().square()
    variation = (images - images.mean((0, 2, 3, 4), keepdim=True)).double().square()
    assert row["r2"] == pytest.approx(1 - (errors.sum() / variation.sum()).item(), rel=1e-4)
    num_active = (means.double().var((0, 2, 3, 4), correction=0) > 0.01).sum().item()
    assert row["active_units"] == num_active
    # Of the first crop.
    for name, turn in (("90", QUARTER_TURN), ("free", FREE_TURN)):
        irreps = best.irreps_in
        expected = calc_equivariance_error(
            best, images[:1], irreps_in=irreps, irreps_out=irreps, rotation=turn
        )
        # Those of a quarter turn are rounding errors.
        assert row[f"equivariance_error_{name}"] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_metrics_are_of_eval_mode(hparams, dataset, best):
    expected = calc_test_metrics(best, hparams, dataset)
    assert not best.training
    found = calc_test_metrics(best.train(), hparams, dataset)
    assert not any(module.training for module in best.modules())
    assert found == pytest.approx(expected, nan_ok=True)


def test_reconstructions_are_of_the_best_weights(paths, dataset, images, posteriors):
    """The worst, the median and the best of the test's crops, each with what is its own."""
    reconstructions = posteriors[1].numpy()
    errors = ((images.numpy() - reconstructions) ** 2).sum((1, 2, 3, 4))
    variation = images.numpy() - images.numpy().mean((2, 3, 4), keepdims=True)
    r2 = 1 - errors / (variation**2).sum((1, 2, 3, 4))
    expected = {"worst": r2.min(), "median": np.median(r2), "best": r2.max()}
    with np.load(paths.reconstructions) as stored:
        assert stored["rank"].tolist() == list(expected)
        np.testing.assert_allclose(stored["r2"], list(expected.values()), rtol=1e-4)
        for k, index in enumerate(stored["sample_index"].tolist()):
            assert r2[index] == pytest.approx(list(expected.values())[k])
            _, crop = dataset[index]
            assert stored["structure"][k] == crop.structure
            np.testing.assert_array_equal(stored[f"coords_A_{k}"], crop.coords_A)
            np.testing.assert_array_equal(stored[f"channels_{k}"], crop.channels)
            # Rounded to 1/128.
            for name, exact in (("image", images[index].numpy()),
                                ("reconstruction", reconstructions[index])):  # fmt: skip
                np.testing.assert_allclose(stored[name][k], exact, rtol=1e-3, atol=0.5 / 128 + 1e-5)


def test_reconstructions_are_of_eval_mode(dataset, best):
    device = torch.device("cpu")
    expected = make_reconstructions(best.eval(), dataset, device)
    weights = {name: x.clone() for name, x in best.state_dict().items()}
    found = make_reconstructions(best.train(), dataset, device)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    assert all(torch.equal(x, weights[name]) for name, x in best.state_dict().items())


def test_artifacts_are_of_the_test_crops_and_the_model_in_eval_mode(paths, tmp_path):
    class Objective:
        model = torch.nn.Linear(1, 1)

        def make_artifacts(self, dataset, device):
            assert device == "a device"
            return {"mode.txt": f"{dataset}, training {self.model.training}".encode()}

    module = SimpleNamespace(held_out_objective=Objective(), objective=None, device="a device")
    feed = SimpleNamespace(datasets={"train": "train", "validation": "val", "test": "test"})
    run = type(paths)(tmp_path)
    shutil.copy(paths.test_metrics, tmp_path)  # of an earlier test
    write_test_results({"step": 4, "r2": 0.5}, module, feed, run)
    assert (tmp_path / "mode.txt").read_text() == "test, training False"
    assert run.test_metrics.read_text() == "step,r2\n4,0.5\n"
