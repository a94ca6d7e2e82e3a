"""`atompaint-vae score`: what it prints, and what it says of images that can't be scored."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch

from atompaint_vae.cli import run_command
from atompaint_vae.config.hparams import dump_hparams, load_hparams
from atompaint_vae.data.crops.dataset import CropDataset, load_split
from atompaint_vae.models.references import make_crop_set
from atompaint_vae.training import weights as pretrained

NEIGHBORS = """\
shared:
  kind: neighbor_location
  data:
    size_voxels: 15
  model:
    layers:
      - 4x0e+1x1e
    features: 2x0e
    views:
      size_voxels: 5
      max_gap_A: 2
      max_turn_deg: 0
  optim:
    learning_rate: 0.003
    batch_size: 2
  train:
    epochs: 1
    steps_per_epoch: 1
    num_val_crops: 1
    num_test_crops: 1
runs:
  a:
"""

VAE = """\
shared:
  data:
    size_voxels: 21
  model:
    layers:
      - 2x0e
    latent: 1x0e
  loss:
    beta: 0.1
  optim:
    learning_rate: 0.003
    batch_size: 2
  train:
    epochs: 1
    steps_per_epoch: 1
    num_val_crops: 1
    num_test_crops: 1
runs:
  a:
"""


def publish(folder, text):
    """Put an untrained model where published ones are."""
    folder.mkdir(parents=True)
    path = folder.parent.parent / f"20240101_{folder.name}/hparams.nt"
    path.parent.mkdir()
    path.write_text(text)
    hparams = load_hparams(path)["a"]
    (folder / "hparams.nt").write_text(dump_hparams(hparams))
    torch.manual_seed(0)
    objective = pretrained.get_kind(hparams.kind).load_objective()
    content = pretrained.pack_weights(objective.build_model(hparams).state_dict())
    (folder / "weights.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (folder / "weights.sha256").write_text(f"{digest}  weights.safetensors\n")


@pytest.fixture(scope="module")
def images():
    crops = CropDataset(load_split("starter", "test"), num_samples=6, seed=7, size_voxels=15)
    return make_crop_set(crops, range(6)).images.numpy()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "PRETRAINED_DIR", tmp_path / "pretrained")
    return tmp_path


def save(images, name="a.npz", resolution_A=1.0, **arrays):
    np.savez(name, image=images, resolution_A=resolution_A, **arrays)


def test_rows_are_the_images_and_then_the_references(folder, images, capsys):
    publish(folder / "pretrained/views", NEIGHBORS)
    publish(folder / "pretrained/vae", VAE)
    save(images, structure=np.array(["x", "x", "x", "y", "y", "z"]))
    save(np.zeros_like(images), "empty.npz")
    command = "score a.npz empty.npz --crops 4 --features views --references --vae vae --csv t.csv"
    assert run_command(command.split()) == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert head.split()[:3] == ["images", "n", "bonded"]
    table = pd.read_csv("t.csv", index_col="images")
    assert list(table.index) == [
        "a.npz", "empty.npz", "other crops", "training crops", "atoms displaced by 0.2 Å",
        "atoms displaced by 0.5 Å", "atoms displaced by 1 Å", "reconstructed crops",
        "prior samples", "PCA-Gaussian latents",
    ]  # fmt: skip
    assert [line.split("  ")[0] for line in lines] == list(table.index)
    assert table["num_images"].tolist() == [6, 6, *[4] * 8]
    assert table.loc["training crops", "copied"] == 1
    assert table.loc["a.npz", "bonded"] > 0.9
    assert np.isnan(table.loc["empty.npz", "bonded"])
    bonded = table.loc["a.npz", ["bonded", "bonded_low", "bonded_high"]]
    assert "{:.3g} [{:.3g}, {:.3g}]".format(*bonded) in lines[0]
    assert {"kernel_distance", "frechet_infinity", "neighbor_accuracy"} <= set(table)
    assert err == ""


def test_without_a_model_there_are_no_features(folder, images, capsys):
    save(images)
    assert run_command(["score", "a.npz", "--crops", "4"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert line.startswith("a.npz")
    assert head.split()[-3:] == ["atoms_nm3", "training_distance", "copied"]


@pytest.mark.parametrize("density", ["sphere", "gaussian"])
def test_images_say_how_their_atoms_look(folder, density, capsys):
    crops = CropDataset(
        load_split("starter", "test"), num_samples=6, seed=7, size_voxels=15, radius_A=1.0,
        density=density,
    )  # fmt: skip
    images = make_crop_set(crops, range(6)).images.numpy()
    # Others may store it in single precision.
    save(images, resolution_A=np.float32(1), radius_A=np.float32(1), density=density)
    assert run_command(["score", "a.npz", "--crops", "4", "--csv", "t.csv"]) == 0
    assert pd.read_csv("t.csv")["bonded"][0] > 0.9


def change(images, index, value):
    images = images.copy()
    images.flat[index] = value
    return images


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (
            lambda x: save(change(x, x[:4].size, np.nan)), "",
            "a.npz: image 4 has values that aren't finite",
        ),
        (
            lambda x: save(x[:, :5]), "",
            "a.npz: images of shape 6×5×15×15×15; expected n×6×x×x×x, x odd",
        ),
        (
            lambda x: save(x[..., :14, :14, :14]), "",
            "a.npz: images of shape 6×6×14×14×14; expected n×6×x×x×x, x odd",
        ),
        (lambda x: save(x[:3]), "", "a.npz: 3 images; expected at least 4"),
        (
            lambda x: save(x, resolution_A=0), "",
            "a.npz: resolution_A: input should be greater than 0",
        ),
        (
            lambda x: save(x[..., :3, :3, :3]), "",
            "a.npz: size_voxels: input should be greater than or equal to 5",
        ),
        (
            lambda x: save(x, density="cube"), "",
            "a.npz: density: input should be 'sphere' or 'gaussian'",
        ),
        (
            lambda x: (save(x), save(x, "b.npz", radius_A=1.0)), "b.npz",
            "b.npz: radius_A is 1.0, but a.npz has 0.75",
        ),
        (
            lambda x: save(x, structure=np.array(["x"])), "",
            "a.npz: 1 structures of 6 images",
        ),
        (
            lambda x: save(x, channels=np.array([*"NCOPS", "other"])), "",
            "a.npz: channels N, C, O, P, S, other; expected C, N, O, P, S, other",
        ),
        (
            lambda x: np.savez("a.npz", image=x), "",
            "a.npz: no array resolution_A",
        ),
        (
            lambda x: (save(x), save(x, "b.npz", resolution_A=0.5)), "b.npz",
            "b.npz: resolution_A is 0.5, but a.npz has 1.0",
        ),
        (
            lambda x: (save(x), save(x[..., :13, :13, :13], "b.npz")), "b.npz",
            "b.npz: size_voxels is 13, but a.npz has 15",
        ),
        (
            lambda x: save(x, resolution_A=0.5), "--features views",
            "--features: views was trained on images of resolution_A 1.0, but here it is 0.5",
        ),
        (
            lambda x: save(x), "--vae views",
            "--vae: views is of kind neighbor_location; expected vae",
        ),
        (
            lambda x: save(x), "--features nothing",
            "--features: 'nothing': neither a published model nor experiment/run; known: views",
        ),
        (lambda x: save(x), "--crops 3", "--crops: expected a number of at least 4, got '3'"),
        (lambda x: None, "", "a.npz: no such file"),
        (lambda x: save(x), "--against x.parquet", "x.parquet: no such file or directory"),
        (lambda x: save(x), "--against=", "--against: expected structures, got ''"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_says_why(make, options, message, folder, images, capsys):
    publish(folder / "pretrained/views", NEIGHBORS)
    make(images)
    assert run_command(["score", "a.npz", *options.split()]) == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_other_files_are_not_taken_for_arrays(folder, capsys):
    (folder / "a.npz").write_text("x" * 100)
    assert run_command(["score", "a.npz"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("a.npz: not an npz file of images: ")
    assert err.count("\n") == 1
