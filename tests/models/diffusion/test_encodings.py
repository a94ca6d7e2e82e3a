"""Encodings that are kept are those of their crops, and nothing that differs is trusted."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from e3nn.o3 import Irreps
from small_expt import read_table, train_pair

from atompaint_vae.config.schema import Hparams
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops
from atompaint_vae.models.diffusion.encodings import find_encodings
from atompaint_vae.models.diffusion.objective import DiffusionObjective
from atompaint_vae.models.noise import Noise
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.nn.rotations import make_octahedral_group, rotate_each, rotate_voxels
from atompaint_vae.training.plan import build_model

CPU = torch.device("cpu")
NUM_CROPS = 11


def make_dataset(**options):
    rng = np.random.default_rng(0)
    atoms = pd.DataFrame(rng.uniform(-12, 12, (600, 3)), columns=["x", "y", "z"])
    atoms = atoms.assign(structure="1ABC", element=rng.choice(["C", "N", "O"], 600))
    params = {"num_samples": 24, "seed": 1, "num_crops": NUM_CROPS, "size_voxels": 9}
    return CropDataset(atoms, min_density_atoms_nm3=10.0, **(params | options))


def make_vae(seed=0, latent="1x0e+1x1e+1x2e", **options):
    torch.manual_seed(seed)
    vae = VAE(["4x0e+2x1e+1x2e"], latent, num_channels=6, size_voxels=9, **options)
    vae(torch.rand(4, *vae.image_shape))  # moves the running statistics off their start
    vae.eval().requires_grad_(False)
    for parameter in vae.encoder.head.parameters():
        parameter.mul_(10)  # latents that differ more than their noise
    return vae


def make_objective(vae, dataset):
    hparams = Hparams.model_validate({
        "kind": "diffusion", "data": {"size_voxels": 9}, "model": {"layers": ["4x0e+2x1e"]},
        "train": {"epochs": 1, "steps_per_epoch": 1},
    })  # fmt: skip
    torch.manual_seed(1)
    model = build_model(hparams, inputs={"autoencoder": vae})
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.scaling.std.copy_(torch.tensor([2.0, 3.0, 5.0]))
    return DiffusionObjective(model, hparams, dataset)


def encode(vae, dataset, index):
    return vae.encode(dataset.make_images(collate_crops([dataset[index]])))


def count_encoded(vae):
    """A list that grows by the number of images of each call of `encode`."""
    counts, encode = [], vae.encode
    vae.encode = lambda image: counts.append(len(image)) or encode(image)
    return counts


def assert_of_crops(found, vae, dataset):
    assert len(found.mean) == dataset.num_crops
    for i in range(dataset.num_crops):
        expected = encode(vae, dataset, i)
        # Rounding errors, of images that are encoded together or alone.
        for name in ("mean", "logvar"):
            of_this = getattr(found.select(torch.tensor([i]), CPU), name)
            torch.testing.assert_close(of_this, getattr(expected, name), rtol=1e-4, atol=1e-4)


def test_encodings_are_those_of_the_crops_and_are_computed_once(tmp_path, capfd):
    vae, dataset = make_vae(), make_dataset()
    folder = tmp_path / "a/b"
    computed = find_encodings(vae, dataset, folder, CPU)
    assert_of_crops(computed, vae, dataset)
    (path,) = folder.iterdir()
    counts = count_encoded(vae)
    kept = find_encodings(vae, dataset, folder, CPU)
    assert counts == [8]  # only the first, to compare them
    assert torch.equal(kept.mean, computed.mean)
    assert torch.equal(kept.copy_logvar, computed.copy_logvar)
    assert [*folder.iterdir()] == [path]
    assert capfd.readouterr() == ("", "")


OTHERS = {
    "weights": ({"seed": 1}, {}),
    "architecture": ({"posterior_std": "softplus", "latent": "9x0e"}, {}),
    "crops": ({}, {"seed": 2}),
    "number of crops": ({}, {"num_crops": 5}),
    "nonlinearity": ({"function": "relu"}, {}),
    "radius, by less than what is compared": ({}, {"radius_A": 0.75001}),
    "resolution": ({}, {"resolution_A": 1.1}),
    "density": ({}, {"density": "gaussian"}),
}


@pytest.mark.parametrize("other", OTHERS)
def test_those_of_others_are_not_taken(tmp_path, other):
    find_encodings(make_vae(), make_dataset(), tmp_path, CPU)
    of_vae, of_dataset = OTHERS[other]
    vae, dataset = make_vae(**of_vae), make_dataset(**of_dataset)
    assert_of_crops(find_encodings(vae, dataset, tmp_path, CPU), vae, dataset)
    assert len([*tmp_path.iterdir()]) == 2


class ChangedDataset(CropDataset):
    """Its last crop differs."""

    def __getitem__(self, index):
        index, crop = super().__getitem__(index)
        return index, crop._replace(**self.change(crop)) if index == NUM_CROPS - 1 else crop


CHANGES = {
    "coordinates": lambda crop: {"coords_A": -crop.coords_A},
    "channels": lambda crop: {"channels": 2 - crop.channels},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_crops_are_compared_to_the_last_atom(tmp_path, change):
    vae, dataset = make_vae(), make_dataset()
    find_encodings(vae, dataset, tmp_path, CPU)
    dataset.__class__, dataset.change = ChangedDataset, change
    assert_of_crops(find_encodings(vae, dataset, tmp_path, CPU), vae, dataset)


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def put_another_in_its_place(path):
    folder = path.with_name("other")
    find_encodings(make_vae(), make_dataset(seed=2), folder, CPU)
    (other,) = folder.iterdir()
    shutil.copy(other, path)
    shutil.rmtree(folder)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, put_another_in_its_place])
def test_damaged_files_are_replaced(tmp_path, damage):
    vae, dataset = make_vae(), make_dataset()
    expected = find_encodings(vae, dataset, tmp_path, CPU)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    damage(path)
    assert path.read_bytes() != content
    found = find_encodings(vae, dataset, tmp_path, CPU)
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.copy_logvar, expected.copy_logvar)
    counts = count_encoded(vae)
    find_encodings(vae, dataset, tmp_path, CPU)
    assert counts == [8]


def test_a_change_of_the_code_is_noticed(tmp_path, monkeypatch):
    vae, dataset = make_vae(), make_dataset()
    find_encodings(vae, dataset, tmp_path, CPU)
    make_images = CropDataset.make_images
    monkeypatch.setattr(CropDataset, "make_images", lambda *args: 1.01 * make_images(*args))
    assert_of_crops(find_encodings(vae, dataset, tmp_path, CPU), vae, dataset)
    counts = count_encoded(vae)
    find_encodings(vae, dataset, tmp_path, CPU)
    assert counts == [8]


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, capfd):
    vae, dataset = make_vae(), make_dataset()
    (tmp_path / "file").touch()
    found = find_encodings(vae, dataset, tmp_path / "file/encodings", CPU)
    assert_of_crops(found, vae, dataset)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        f"warning: {tmp_path}/file/encodings: not a directory; the encodings of training crops "
        "aren't kept\n"
    )


def test_a_folder_in_place_of_the_file_is_no_obstacle(tmp_path, capfd):
    vae, dataset = make_vae(), make_dataset()
    find_encodings(vae, dataset, tmp_path, CPU)
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    assert_of_crops(find_encodings(vae, dataset, tmp_path, CPU), vae, dataset)
    assert [*tmp_path.iterdir()] == [path]
    err = capfd.readouterr().err
    assert err.startswith(f"warning: {path}: is a directory; ") and err.count("\n") == 1


def test_an_interruption_leaves_nothing(tmp_path):
    vae, dataset = make_vae(), make_dataset()
    encode = vae.encode

    def interrupt(image):
        if len(image) < 8:
            raise KeyboardInterrupt
        return encode(image)

    vae.encode = interrupt
    with pytest.raises(KeyboardInterrupt):
        find_encodings(vae, dataset, tmp_path / "encodings", CPU)
    assert [*tmp_path.iterdir()] == []


def test_turned_latents_are_those_of_the_turned_image():
    vae, group = make_vae().double(), make_octahedral_group()
    image = encode_dataset_image(make_dataset())
    expected = torch.cat([vae.encode(rotate_voxels(image, x)).mean for x in group])
    latents = vae.encode(image).mean.expand(len(group), -1, -1, -1, -1)
    turned = rotate_each(latents, vae.latent.irreps, range(len(group)))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-10)
    assert (expected[1:] - expected[0]).flatten(1).norm(dim=1).min() > 0.1


def encode_dataset_image(dataset):
    return dataset.make_images(collate_crops([dataset[0]])).double()


def test_turns_are_those_of_the_samples():
    model = make_objective(make_vae(), make_dataset()).model
    data = torch.randn(1, *model.data_shape).expand(2000, *model.data_shape)
    indices = torch.arange(len(data))
    turned = model.turn(data, Noise(3, indices))
    group = rotate_each(data[:24], model.irreps, range(24))
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(turned.flatten(1), group.flatten(1), compute_mode=exact)
    assert distances.min(dim=1).values.max() < 1e-3
    numbers = distances.argmin(dim=1)
    # Chi squared of 23 degrees of freedom: 23 ± 6.8.
    expected = len(data) / 24
    assert ((numbers.bincount(minlength=24) - expected) ** 2 / expected).sum() < 50
    # Any batch, another seed, and bfloat16, which would turn components coarsely.
    with torch.autocast("cpu", torch.bfloat16):
        alone = model.turn(data[:1], Noise(3, indices[7:8]))
    assert torch.equal(alone, turned[7:8])
    assert not torch.equal(model.turn(data, Noise(4, indices)), turned)


class WatchedNoise(Noise):
    def __init__(self, *args):
        super().__init__(*args)
        self.streams = []

    def make_generators(self, stream):
        self.streams.append(stream)
        return super().make_generators(stream)


def test_losses_of_encodings_are_those_of_images(tmp_path):
    dataset = make_dataset()
    ours, theirs = (make_objective(make_vae(), dataset) for _ in range(2))
    ours.prepare(tmp_path, CPU)
    assert [x.name for x in tmp_path.iterdir()] == ["encodings"]
    losses = []
    for samples in ([3, 4], [14, 15]):  # crops 3 and 4 again
        batch = collate_crops([dataset[i] for i in samples])
        noise = WatchedNoise(0, batch.sample_index)
        found, expected = (
            x.calc_losses(x.make_training_inputs(batch), noise, 0)["loss"] for x in (ours, theirs)
        )
        assert len({*noise.streams}) == len(noise.streams) // 2 == 4
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
        losses.append(found.item())
    assert losses[0] != losses[1]


def test_data_are_turned_only_if_crops_are_seen_again():
    vae, seen = make_vae(), []
    for num_crops in (0, NUM_CROPS):
        objective = make_objective(vae, make_dataset(num_crops=num_crops))
        batch = collate_crops([objective.dataset[i] for i in range(4)])
        noise = Noise(0, batch.sample_index)
        images = objective.make_training_inputs(batch)
        y = objective.model.encode(images, noise)
        objective._calc_training_loss = lambda y, noise: seen.append(y) or y
        objective.calc_losses(images, noise, 0)
        assert torch.equal(seen[-1], y) == (num_crops == 0)
        objective.begin_held_out()
        objective._calc_training_loss = lambda y, noise: seen.append(y) or y.new_zeros(len(y))
        objective.add_held_out(images, noise)
        held_out = objective.model.encode(images, Noise(0, torch.arange(4)))
        assert torch.equal(seen[-1], held_out)


def test_images_are_turned_too():
    hparams = Hparams.model_validate({
        "kind": "diffusion", "data": {"size_voxels": 9}, "model": {"layers": ["4x0e"]},
        "train": {"epochs": 1, "steps_per_epoch": 1},
    })  # fmt: skip
    model = build_model(hparams)
    assert model.irreps == Irreps("6x0e")
    images = torch.rand(5, *model.image_shape)
    turned = model.turn(images, Noise(0, torch.arange(5)))
    rotated = [rotate_voxels(images, x) for x in make_octahedral_group()]
    for i in range(5):
        assert sum(torch.equal(turned[i], x[i]) for x in rotated) == 1


RUNS = {
    "    latent: 2x0e+1x1e\n": "",
    "      - 1xfourier1+2x0e\n": "      - 4x0e+2x1e\n",
    "  optim:\n": "  optim:\n    ema_decay: 0.75\n",
    "  a:\n": """\
  a:
    model:
      latent: 2x0e+1x1e
  b:
    kind: diffusion
    data:
      num_train_crops: 9
    model:
      autoencoder: 20240101_x/a
      normalisation: batch
      sampler:
        num_steps: 2
""",
}


def test_runs_with_and_without_files_are_the_same(make_expt):
    expt = make_expt(RUNS, inside="expts")
    to_end = "--max-steps", "10"  # of two epochs; a test would take longer
    for args in (["a"], ["b", *to_end]):
        code, _, stderr = expt.train(*args)
        assert code == 0, stderr
    cache = expt.path.parent / ".cache"
    (path,) = cache.rglob("*.*")
    assert path.parent == cache / "encodings" and path.suffix == ".safetensors"
    paths = expt.get_paths("b")
    tables = paths.train_metrics, paths.val_metrics
    expected = [read_table(x) for x in tables]
    assert [len(x.splitlines()) for x in expected] == [2, 3]

    shutil.rmtree(cache)
    cache.touch()
    code, _, stderr = expt.train("--restart", "b", "--max-steps", "7")
    assert code == 0
    assert "aren't kept" in stderr
    cache.unlink()
    code, _, stderr = expt.train("b", *to_end)  # resumes
    assert (code, "aren't kept" in stderr) == (0, False)
    assert [read_table(x) for x in tables] == expected

    expected = [pd.read_csv(x) for x in tables]
    shutil.rmtree(cache)
    code, _, stderr = train_pair(expt, "--restart", "b", *to_end)
    assert code == 0, stderr
    assert "warning" not in stderr
    assert len([*cache.rglob("*.*")]) == 1
    for table, other in zip(tables, expected, strict=True):
        pd.testing.assert_frame_equal(
            pd.read_csv(table).drop(columns="elapsed_s", errors="ignore"),
            other.drop(columns="elapsed_s", errors="ignore"),
            rtol=1e-3,
        )
