"""What runs of neighbor location leave, and what is said of hyperparameters that don't fit."""

import math

import pandas as pd
import pytest
import torch
from small_expt import train_pair

from atompaint_vae.analysis.intervals import calc_interval
from atompaint_vae.cli import run_command
from atompaint_vae.config.checks import check_experiment
from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.hparams import HparamsError, load_resolved
from atompaint_vae.config.schema import Hparams
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.models.kind import get_kind
from atompaint_vae.models.neighbor_location import robustness
from atompaint_vae.models.neighbor_location.views import FACES, iter_views
from atompaint_vae.models.noise import NoNoise
from atompaint_vae.publishing.model_card import make_card
from atompaint_vae.records.record import load_record
from atompaint_vae.training.evaluate import calc_test_metrics
from atompaint_vae.training.plan import build_model
from atompaint_vae.training.weights import load_run_weights, make_trained

EDITS = {
    "shared:\n": "shared:\n  kind: neighbor_location\n",
    "size_voxels: 11": "size_voxels: 19",
    "    latent: 2x0e+1x1e\n":
        "    features: 2x0e+1x1e\n    views:\n      size_voxels: 7\n      max_gap_A: 2\n",
    "num_test_crops: 3": "num_test_crops: 7",
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(make_expt):
    expt = make_expt(EDITS)
    code, stdout, stderr = expt.train()
    assert code == 0, stderr
    assert stdout.startswith("a: finished, best validation accuracy 0.")
    return expt


@pytest.fixture(scope="module")
def model(trained):
    return make_trained(trained.paths, load_run_weights(trained.paths))


@pytest.fixture(scope="module")
def hparams(trained):
    return load_resolved(trained.paths.hparams)


def test_what_a_run_leaves(trained):
    paths = trained.paths
    assert paths.train_metrics.read_text().startswith("step,epoch,elapsed_s,loss,learning_rate\n")
    assert paths.val_metrics.read_text().startswith("step,epoch,elapsed_s,loss,accuracy\n")
    row = pd.read_csv(paths.test_metrics).iloc[0]
    intervals = ["loss_low", "loss_high", "accuracy_low", "accuracy_high"]
    assert [*row.index] == ["step", "loss", "accuracy", *intervals]
    assert row.accuracy_low <= row.accuracy <= row.accuracy_high
    record = load_record(paths.record)
    assert record.best.metric == "accuracy"
    assert record.sizes == {"features_shape": (5, 3, 3, 3)}


def test_confusion_and_noise_tell_the_same_as_the_test(trained):
    row = pd.read_csv(trained.paths.test_metrics).iloc[0]
    confusion = pd.read_csv(trained.paths.run_dir / "confusion.csv").set_index("face")
    assert [*confusion.index] == [*confusion.columns] == list(FACES)
    assert confusion.to_numpy().sum() == 7
    assert confusion.to_numpy().trace() / 7 == pytest.approx(row.accuracy)
    noise = pd.read_csv(trained.paths.run_dir / "noise.csv")
    assert [*noise.columns] == ["noise", "level", "accuracy", "low", "high", "num_pairs"]
    assert [*noise.noise] == ["atoms"] * 7 + ["voxels"] * 6
    assert {*noise.num_pairs} == {7}
    for clean in noise[noise.level == 0].itertuples():
        assert clean.accuracy == pytest.approx(row.accuracy)
        assert clean.low == pytest.approx(row.accuracy_low)
        assert clean.high == pytest.approx(row.accuracy_high)


def test_kill_and_resume(make_expt, trained):
    expt = make_expt(EDITS)
    process = expt.start("a")
    process.wait_for("runs/a/val.csv")
    process.kill()
    assert expt.train("a")[0] == 0
    expt.assert_same_run(trained)
    for name in get_kind("neighbor_location").artifacts:
        files = [x.paths.run_dir / name for x in (expt, trained)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_two_processes_measure_what_one_does(make_expt, trained):
    expt = make_expt(EDITS)
    code, _, stderr = train_pair(expt)
    assert code == 0, stderr
    for name in ("val_metrics", "test_metrics"):
        table, other = (
            pd.read_csv(getattr(x.paths, name)).drop(columns="elapsed_s", errors="ignore")
            for x in (expt, trained)
        )
        pd.testing.assert_frame_equal(table, other, rtol=1e-4, atol=1e-5)


def test_any_crops_can_be_tested(trained, model, hparams):
    metrics = calc_test_metrics(model, hparams, make_dataset(hparams, trained.path, "test"))
    row = pd.read_csv(trained.paths.test_metrics).iloc[0]
    assert metrics == pytest.approx(row.drop("step").to_dict(), rel=1e-5)


def test_the_interval_of_the_loss_is_over_the_structures(trained, model, hparams):
    dataset = make_dataset(hparams, trained.path, "test")
    (views, face), = iter_views(dataset, hparams.model.views, batch_size=len(dataset))
    with torch.no_grad():
        losses = -model(views).log_softmax(dim=1)[range(len(face)), face].double()
    row = pd.read_csv(trained.paths.test_metrics).iloc[0]
    assert row.loss == pytest.approx(losses.mean().item(), rel=1e-5)
    expected = calc_interval(losses.numpy(), robustness.list_structures(dataset))
    assert (row.loss_low, row.loss_high) == pytest.approx(expected, rel=1e-4)
    assert row.loss_low < row.loss < row.loss_high


def test_views_of_a_dataset_are_those_that_its_test_sees(trained, model, hparams):
    dataset = make_dataset(hparams, trained.path, "test")
    objective = get_kind("neighbor_location").load_objective()(model, hparams, dataset)
    seen = objective.make_inputs(collate_crops(list(dataset)), dataset.seed)
    found = iter_views(dataset, hparams.model.views, batch_size=3)
    for whole, batches in zip(seen, zip(*found, strict=True), strict=True):
        assert [len(x) for x in batches] == [3, 3, 1]
        torch.testing.assert_close(torch.cat(batches), whole)


def test_plan(trained, capsys):
    assert run_command(["plan", str(trained.path), "a"]) == 0
    out = capsys.readouterr().out
    assert "5×3×3×3" in out
    for layer in ("encoder.blocks.0", "encoder.head", "head"):
        assert f"\n{layer} " in out


def test_views_of_images_are_as_far_apart_as_those_in_training_on_average(model):
    assert model.gap_A == (1 + 2) / 2


def test_the_first_loss_is_that_of_chance(hparams):
    """Of a head whose last layer is zero, which makes all faces alike."""
    model = build_model(hparams)
    torch.nn.init.zeros_(model.head.layers[-1].weight)
    torch.nn.init.zeros_(model.head.layers[-1].bias)
    objective = get_kind("neighbor_location").load_objective()(model, hparams, None)
    inputs = objective.make_empty_inputs(model, 4)._replace(images=torch.rand(4, 2, 6, 7, 7, 7))
    loss = objective.calc_losses(inputs, NoNoise(), 0)["loss"]
    assert loss.item() == pytest.approx(math.log(6))


def test_noise_is_the_same_for_any_batch_and_as_large_as_it_says(
    trained, model, hparams, monkeypatch
):
    dataset = make_dataset(hparams, trained.path, "test")
    views = hparams.model.views
    calls, seen = [], []
    make_views = robustness.make_views

    def watch_atoms(dataset, batch, *args):
        calls.append(batch)
        return make_views(dataset, batch, *args)

    def watch_images(module, inputs):
        seen.append(inputs[0])

    monkeypatch.setattr(robustness, "make_views", watch_atoms)
    handle = model.register_forward_pre_hook(watch_images)
    options = {"device": torch.device("cpu"), "batch_size": 7}
    predictions = robustness.predict_under_noise(model, dataset, views, **options)
    handle.remove()

    clean = calls[0]
    assert torch.equal(clean.coords_A, collate_crops(list(dataset)).coords_A)
    for level, batch in zip(robustness.LEVELS["atoms"], calls, strict=True):
        displacements_A = batch.coords_A - clean.coords_A
        assert displacements_A.std().item() == pytest.approx(level, rel=0.03)
    levels = robustness.LEVELS["voxels"]
    for level, images in zip(levels, seen[-len(levels):], strict=True):
        std = (images - seen[0]).std().item()
        assert std == pytest.approx(level * model.image_std.item(), rel=0.03)

    options["batch_size"] = 3
    again = robustness.predict_under_noise(model, dataset, views, **options)
    assert [*again] == [*predictions]
    for key, faces in predictions.items():
        assert torch.equal(again[key], faces)


def test_tables_count_what_is_predicted():
    """Of four pairs, one at +y is taken for -z."""
    faces = torch.tensor([[0, 0], [1, 1], [2, 5], [2, 2]])
    predictions = {("atoms", 0.0): faces, ("voxels", 2.0): faces.flip(1)[:, [0, 0]]}
    confusion = robustness.tabulate_confusion(predictions).set_index("face")
    found = {(i, j): n for i, row in confusion.iterrows() for j, n in row.items() if n}
    assert found == {("+x", "+x"): 1, ("-x", "-x"): 1, ("+y", "+y"): 1, ("+y", "-z"): 1}
    table = robustness.tabulate_accuracy(predictions, ["a", "a", "b", "b"])
    assert table.accuracy.tolist() == [0.75, 1.0]
    # All of structure a are right, one half of b: two structures say little, if they differ.
    assert table.low.tolist() == [0.0, 1.0]
    assert table.high.tolist() == [1.0, 1.0]


CARD = {
    "kind": "neighbor_location", "data": {"size_voxels": 43, "min_density_atoms_nm3": 40},
    "model": {"layers": ["4x0e", "3x0e+1x1e"], "features": "2x0e", "head": "equivariant"},
    "train": {"epochs": 1, "steps_per_epoch": 1, "num_test_crops": 19},
}  # fmt: skip


def test_the_card_says_what_the_hyperparameters_are():
    metrics = ["loss", "accuracy", "accuracy_low"]
    card = make_card("small", "20240101_x/a", Hparams.model_validate(CARD), metrics)
    card = " ".join(card.split())
    for text in (
        "A classifier of neighbor location, rotation-equivariant:",
        "15³ voxels of 1 Å, 1 to 5 Å apart, the second then turned by up to 20°.",
        "``4x0e`` → ``3x0e+1x1e``",
        "an equivariant multilayer perceptron of width 128",
        "random crops of 43³ voxels", "Crops have 40 atoms/nm³ where", "19 pairs of views",
        "- :metric:`20240101_x/a test.accuracy_low .3g`",
        "``2x0e``: :metric:`20240101_x/a features_shape` numbers", "don't change when an image is",
    ):
        assert text in card
    rough = {**CARD, "model": {**CARD["model"], "alignment": "none"}}
    card = " ".join(make_card("rough", "x/a", Hparams.model_validate(rough), metrics).split())
    assert "rotation-equivariant except for even sides, as ``alignment`` is ``none``:" in card
    assert "don't change when an image is" not in card
    plain = {**CARD, "model": {**CARD["model"], "head": "mlp", "symmetry": "none"}}
    card = " ".join(make_card("cnn", "x/a", Hparams.model_validate(plain), metrics).split())
    assert "neighbor location, without symmetry, for comparison:" in card
    assert "an ordinary multilayer perceptron" in card
    assert "don't change when an image is" not in card


FILE = """\
shared:
  kind: neighbor_location
  data:
    size_voxels: 43
  model:
    layers:
      - 4x0e
    features: 2x0e
  train:
    epochs: 1
    steps_per_epoch: 60
runs:
  a:
"""


@pytest.mark.parametrize(("old", "new", "error"), [
    ("size_voxels: 43", "size_voxels: 35",
     "4:18: data.size_voxels: 35 is too small for two views of 15 voxels, up to 5 Å apart and "
     "turned by up to 20°; expected at least 43"),
    ("  data:\n    size_voxels: 43\n", "",
     "11:5: data.size_voxels: 35 is too small for two views of 15 voxels, up to 5 Å apart and "
     "turned by up to 20°; expected at least 43"),
    ("features: 2x0e", "features: 2x0e\n    head: equivariant\n    symmetry: none",
     "9:11: model.head: an equivariant head needs model.symmetry rotation, not none"),
    ("features: 2x0e", "features: 2x0e\n    alignment: none\n    downsampling: pooled",
     "9:16: model.alignment: none is for strided convolutions, but model.downsampling is pooled; "
     "expected exact"),
    ("features: 2x0e", "features: 2x0e\n    views:\n      min_gap_A: 6",
     "10:18: model.views.min_gap_A: 6 is above model.views.max_gap_A 5"),
    ("      - 4x0e\n", "      - 4x0e\n" * 4,
     "10:9: model.layers: 4 layers, but 15 voxels can be halved only 3 times: 15 → 7 → 3 → 1"),
    ("features: 2x0e", "features: 2x0e\n    views:\n      min_density_atoms_nm3: 500",
     "10:30: model.views.min_density_atoms_nm3: expected a density [atoms/nm³, atoms/Å³] >= 0, got "
     "'500'; at most 176, the density of diamond"),
    ("features: 2x0e", "features: 2x0e\n    views:\n      size_voxels: 14",
     "10:20: model.views.size_voxels: expected an odd number of voxels >= 5, got '14'; an even "
     "side breaks the symmetry of the cube; the nearest are 13 and 15"),
])  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place(old, new, error, tmp_path):
    path = tmp_path / "hparams.nt"
    assert old in FILE
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(HparamsError) as raised:
        check_experiment(path)
    assert str(raised.value) == f"{path}:{error}"


def test_what_fits_has_no_problems(tmp_path):
    path = tmp_path / "hparams.nt"
    path.write_text(FILE)
    assert check_experiment(path).warnings == []
