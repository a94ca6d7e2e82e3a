"""Samples of a trained denoiser, as a user draws them."""

import errno
import signal

import gemmi
import nestedtext as nt
import numpy as np
import pandas as pd
import pytest
import torch

from atompaint_vae.cli import run_command
from atompaint_vae.commands.generate import sample
from atompaint_vae.commands.generate.folder import ImageFolder
from atompaint_vae.data import images as image_files
from atompaint_vae.data.images import load_images, read_image_maps
from atompaint_vae.models.diffusion.denoiser import Denoiser
from atompaint_vae.text import files

DIFFUSION = {
    "shared:\n": "shared:\n  kind: diffusion\n",
    "      - 1xfourier1+2x0e\n    latent: 2x0e+1x1e\n":
        "      - 4x0e+2x1e\n    symmetry: none\n    sampler:\n      num_steps: 3\n",
}  # fmt: skip
MODEL = "20240101_x/a"


@pytest.fixture(scope="module")
def trained(make_expt):
    expt = make_expt(DIFFUSION, inside="expts")
    code, _, stderr = expt.train()
    assert code == 0, stderr
    return expt


@pytest.fixture
def call(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.paths.expt_dir)

    def call(*arguments):
        code = run_command(["sample", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_files_of_samples(call, tmp_path):
    out = tmp_path / "out"
    code, stdout, stderr = call(MODEL, "--out", out, "--num", 3, "--batch", 2)
    assert code == 0, stderr
    assert stdout == f"{out}/index.html: 3 samples\n"
    stored = load_images(out / "images.npz")
    assert stored.images.shape == (3, 6, 11, 11, 11)
    assert np.isfinite(stored.images).all()
    assert len(np.unique(stored.images[:, 0], axis=0)) == 3
    for index, image in enumerate(stored.images):
        maps = read_image_maps((out / "maps").glob(f"sample-00{index}_*.mrc"))
        np.testing.assert_array_equal(maps.image, image)
        atoms = gemmi.read_structure(str(out / f"sample-00{index}.cif"))
        assert len(atoms) == 1
    page = (out / "index.html").read_text()
    assert "3 samples of 20240101_x/a" in page
    assert "Test crop" in page
    settings = nt.load(out / "settings.nt")
    assert settings["seed"] == "0"
    assert settings["num_steps"] == "3"
    assert len(settings["weights SHA-256"]) == 64


def test_a_second_call_draws_what_is_missing(call, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert call(MODEL, "--out", whole, "--num", 3, "--batch", 3)[0] == 0
    assert not (whole / "scores.csv").exists()
    assert call(MODEL, "--out", parts, "--num", 1)[0] == 0
    first = (parts / "maps" / "sample-000_C.mrc").stat().st_mtime_ns

    write, written = ImageFolder.add, []

    def interrupt(self, index, *others):
        if written:
            raise KeyboardInterrupt
        written.append(index)
        write(self, index, *others)

    monkeypatch.setattr(ImageFolder, "add", interrupt)
    code = call(MODEL, "--out", parts, "--num", 3)[0]
    assert code == 128 + signal.SIGINT
    assert written == [1]
    monkeypatch.setattr(ImageFolder, "add", write)
    code, stdout, _ = call(MODEL, "--out", parts, "--num", 3)
    assert code == 0
    assert stdout.startswith(f"{parts}: 2 of 3 samples are there\n")
    assert (parts / "maps" / "sample-000_C.mrc").stat().st_mtime_ns == first
    # In batches of one and of three, convolutions round differently, and σ is up to 80.
    images = (load_images(x / "images.npz").images for x in (whole, parts))
    np.testing.assert_allclose(*images, rtol=0, atol=1e-4)


def test_a_smaller_number_leaves_the_others(call, tmp_path):
    out = tmp_path / "out"
    assert call(MODEL, "--out", out, "--num", 3)[0] == 0
    code, stdout, _ = call(MODEL, "--out", out, "--num", 2)
    assert code == 0
    assert stdout.splitlines()[-1] == f"{out}/index.html: 3 samples"
    assert len(load_images(out / "images.npz").images) == 3


def test_a_run_is_compared_with_its_own_structures(trained, call, tmp_path, monkeypatch):
    # A relative `data.source` starts at the experiment's folder, wherever the command runs.
    other = trained.paths.expt_dir.parent / "20240102_y"
    other.mkdir()
    monkeypatch.chdir(other)
    seen = []
    monkeypatch.setattr(sample, "load_crops", lambda *args: seen.append(args[1]))
    assert call(MODEL, "--out", tmp_path / "out", "--num", 1)[0] == 0
    assert seen == [trained.paths.expt_dir]


def test_structures_that_are_not_here(call, tmp_path, monkeypatch):
    def fail(*args):
        raise ValueError("mine.parquet: no such file")

    monkeypatch.setattr("atompaint_vae.config.datasets.make_dataset", fail)
    out = tmp_path / "out"
    code, _, stderr = call(MODEL, "--out", out, "--num", 4)
    assert code == 0
    assert stderr == "no test crops to compare with: mine.parquet: no such file\n"
    assert "Test crop" not in (out / "index.html").read_text()


def test_scores_beside_samples(call, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "NUM_SCORED_CROPS", 4)
    out = tmp_path / "out"
    assert call(MODEL, "--out", out, "--num", 4)[0] == 0
    table = pd.read_csv(out / "scores.csv").set_index("images")
    assert [*table.index][:3] == ["samples", "other crops", "training crops"]
    assert table.loc["other crops", "bonded"] > 0.8
    assert table.loc["training crops", "copied"] == 1
    assert "other crops" in (out / "index.html").read_text()


def test_a_sampler_of_ones_own(call, tmp_path):
    out = tmp_path / "out"
    options = ("--steps", 2, "--sigma-max", 20, "--churn", 5, "--seed", 7)
    assert call(MODEL, "--out", out, "--num", 1, *options)[0] == 0
    found = nt.load(out / "settings.nt")
    assert found["seed"] == "7"
    assert {key: found[key] for key in ("num_steps", "sigma_max", "S_churn")} == {
        "num_steps": "2", "sigma_max": "20.0", "S_churn": "5.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finer-10"], "finer-10: a model of kind vae; expected diffusion"),
        (["finer-11"], "'finer-11': neither a published model nor experiment/run"),
        ([MODEL, "--num", "0"], "--num: expected a whole number >= 1, got '0'"),
        ([MODEL, "--sigma-min", "x"], "--sigma-min: 'x' is not a value of sigma_min"),
        ([MODEL, "--sigma-min", "99"], "--sigma-min: 99 isn't below --sigma-max 80"),
        ([MODEL, "--device", "tpu"], "--device: expected auto, cpu or cuda, got 'tpu'"),
        ([MODEL, "--features", "finer-10"], "--features: finer-10 "),
        ([], "the arguments don't fit the usage; see atompaint-vae sample --help"),
    ],
)
def test_mistakes(call, tmp_path, arguments, message):
    out = tmp_path / "out"
    code, stdout, stderr = call(*arguments, "--out", out)
    assert (code, stdout) == (2, "")
    assert message in stderr
    assert stderr.count("\n") == 1
    assert not out.exists()


def test_samples_of_other_settings_are_kept(call, tmp_path):
    out = tmp_path / "out"
    assert call(MODEL, "--out", out, "--num", 1)[0] == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    code, _, stderr = call(MODEL, "--out", out, "--num", 2, "--seed", 1, "--steps", 4)
    assert code == 2
    assert "settings.nt: the samples there have seed 0, not 1; choose another --out" in stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_two_processes_do_not_share_a_folder(call, tmp_path):
    out = tmp_path / "out"
    assert call(MODEL, "--out", out, "--num", 1)[0] == 0
    folder = ImageFolder(out, "sample", num_digits=3, resolution_A=1.0)
    with folder.claim(nt.load(out / "settings.nt")):
        code, _, stderr = call(MODEL, "--out", out, "--num", 2)
        assert (code, stderr) == (2, f"{out}: another process is writing there\n")
        assert folder.list_missing(2) == [1]
    assert call(MODEL, "--out", out, "--num", 2)[0] == 0


def test_samples_that_lost_a_file_are_drawn_again(call, tmp_path):
    out = tmp_path / "out"
    assert call(MODEL, "--out", out, "--num", 2)[0] == 0
    lost = out / "maps/sample-001_C.mrc"
    content = lost.read_bytes()
    lost.unlink()
    code, stdout, _ = call(MODEL, "--out", out, "--num", 2)
    assert code == 0
    assert stdout.startswith(f"{out}: 1 of 2 samples are there\n")
    # A map of the same image, drawn in another batch.
    found, expected = (np.frombuffer(x[1024:], "<f4") for x in (lost.read_bytes(), content))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "settings.nt:1:1: the file is empty"),
        (b"- a\n", "settings.nt:1:1: expected keys, got "),
        (b"model", "settings.nt:1:1: unrecognized line"),
        (b"\xff", "settings.nt:1:1: not UTF-8 text: byte 0xff"),
        (b"model: x\n", "settings.nt: the samples there have model x, not 20240101_x/a; choose "),
    ],
)
def test_damaged_settings(call, tmp_path, content, message):
    out = tmp_path / "out"
    out.mkdir()
    (out / "settings.nt").write_bytes(content)
    code, stdout, stderr = call(MODEL, "--out", out)
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert message in stderr
    assert [*out.iterdir()] == [out / "settings.nt"]


def test_weights_that_diverged_leave_no_sample(call, tmp_path, monkeypatch):
    def decode(self, data):
        return torch.full((len(data), *self.image_shape), torch.nan)

    monkeypatch.setattr(Denoiser, "decode", decode)
    out = tmp_path / "out"
    code, _, stderr = call(MODEL, "--out", out, "--num", 1)
    assert code == 2
    assert stderr == "sample-000: not finite; the sampler or the weights diverged\n"
    assert [*out.glob("*.cif"), *out.rglob("*.mrc")] == []


@pytest.mark.parametrize("place", ["maps/sample-001", "sample-001"])
def test_a_full_disk_keeps_the_samples_before(call, tmp_path, monkeypatch, place):
    out = tmp_path / "out"
    write = files.write_together

    def fail(contents, **options):
        if any(str(path).startswith(str(out / place)) for path in contents):
            path = next(iter(contents))
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(contents, **options)

    monkeypatch.setattr(files, "write_together", fail)
    monkeypatch.setattr(image_files, "write_together", fail)
    code, _, stderr = call(MODEL, "--out", out, "--num", 2)
    assert (code, stderr.count("\n")) == (2, 1)
    assert stderr.endswith(": no space left on device\n")
    assert [path.name for path in out.glob("*.cif")] == ["sample-000.cif"]


@pytest.mark.parametrize("inner", ["", "x"])
def test_a_folder_that_is_a_file(call, tmp_path, inner):
    out = tmp_path / "out"
    out.write_text("mine")
    code, stdout, stderr = call(MODEL, "--out", out / inner)
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert str(out) in stderr
    assert out.read_text() == "mine"
