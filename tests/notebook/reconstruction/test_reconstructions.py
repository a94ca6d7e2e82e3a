import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from atompaint_vae.figures.colours import (
    CHANNEL_COLOURS,
    MORE_COLOURS,
    RESIDUAL_COLOURMAP,
    RESIDUAL_COLOURS,
)
from atompaint_vae.notebook.reconstruction.slices import (
    choose_slab,
    colour_slab,
    pick_colours,
)
from atompaint_vae.notebook.reconstruction.stored import (
    ReconstructionError,
    pack_crop,
    read_crops,
)

ROOT = Path(__file__).parents[3]


def unpack(text, dtype):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


def unpack_density(packed, what):
    data = unpack(packed[what]["data"], np.int8).reshape(len(packed["channels"]), *packed["size"])
    return data * packed["step"] + packed[what]["offset"]


def test_crops_are_as_they_were_stored(tmp_path, write_reconstructions):
    stored = write_reconstructions(tmp_path / "a", names=("C", "other"), resolution_A=0.8)
    worst, median, best = read_crops(tmp_path / "a")
    assert [x.rank for x in (worst, median, best)] == ["worst", "median", "best"]
    assert (median.sample_index, median.structure, median.r2) == (3, "2DEF", 0.5)
    assert median.channel_names == ["C", "other"]
    assert median.resolution_A == 0.8
    assert median.blocks == []
    np.testing.assert_array_equal(median.reconstruction, stored["reconstruction"][1])
    np.testing.assert_array_equal(best.coords_A, stored["coords_A_2"])


def test_packed_crops_hold_the_same_numbers(tmp_path, write_reconstructions):
    stored = write_reconstructions(tmp_path / "a")
    text, step = pack_crop(read_crops(tmp_path / "a")[0])
    packed = json.loads(text)
    assert step == packed["step"] == 1 / 128
    for what in ("image", "reconstruction"):
        np.testing.assert_allclose(unpack_density(packed, what), stored[what][0], atol=1 / 256)
    coords_A = 0.01 * unpack(packed["atoms"]["coords"], "<i2").reshape(-1, 3)
    np.testing.assert_allclose(coords_A, stored["coords_A_0"], atol=0.0051)
    np.testing.assert_array_equal(unpack(packed["atoms"]["channels"], "u1"), stored["channels_0"])


@pytest.mark.parametrize(
    "low, high, step",
    [(0, 1.99, 1 / 128), (-0.5, 1.49, 1 / 128), (-3, -1.01, 1 / 128), (-1, 1, 1 / 64)],
)
def test_the_step_is_the_finest_that_holds_the_range(
    tmp_path, write_reconstructions, low, high, step
):
    arrays = write_reconstructions(tmp_path / "a")
    arrays["image"][0] = low
    arrays["image"][0, 0, 0, 0, 0] = high
    np.savez_compressed(tmp_path / "a/reconstructions.npz", **arrays)
    text, found = pack_crop(read_crops(tmp_path / "a")[0])
    assert found == step
    np.testing.assert_allclose(
        unpack_density(json.loads(text), "image"), arrays["image"][0], atol=step / 2
    )


def test_a_large_crop_is_rounded_until_it_fits(tmp_path, write_reconstructions):
    arrays = write_reconstructions(tmp_path / "a", size=35, names=tuple("CNOPS"))
    noise = np.random.default_rng(0).uniform(0, 0.99, arrays["image"].shape)
    arrays["image"] = arrays["reconstruction"] = noise.astype(np.float16)
    np.savez_compressed(tmp_path / "a/reconstructions.npz", **arrays)
    text, step = pack_crop(read_crops(tmp_path / "a")[0])
    assert step == 1 / 64  # 428,750 numbers of 6 bits, in base64
    assert len(text) < 450_000


def test_a_crop_that_is_too_large(tmp_path, write_reconstructions):
    arrays = write_reconstructions(tmp_path / "a", size=45, names=tuple("CNOPS"))
    noise = np.random.default_rng(0).uniform(0, 0.99, arrays["image"].shape)
    arrays["image"] = arrays["reconstruction"] = noise.astype(np.float16)
    np.savez_compressed(tmp_path / "a/reconstructions.npz", **arrays)
    with pytest.raises(ReconstructionError, match=r"a crop of 5×45×45×45 values is too large for"):
        pack_crop(read_crops(tmp_path / "a")[0])


def test_runs_without_atoms(tmp_path, write_reconstructions):
    write_reconstructions(tmp_path / "a", has_atoms=False)
    crop = read_crops(tmp_path / "a")[0]
    assert crop.coords_A is None
    assert json.loads(pack_crop(crop)[0])["atoms"] is None


def test_blocks_are_packed_with_their_places(tmp_path, write_reconstructions):
    write_reconstructions(tmp_path / "a", blocks=[(0, 1, (0, 1, 2), (3, 4, 5), 0.75)])
    packed = json.loads(pack_crop(read_crops(tmp_path / "a")[0])[0])
    (block,) = packed["blocks"]
    assert block == {
        "center_A": [-4.5, -3.5, -2.5], "first": [0, 1, 2], "last": [3, 4, 5],
        "volume_A3": 64.0, "mean_filled": 0.75, "channel": "N",
    }  # fmt: skip


@pytest.mark.parametrize(
    "stored", sorted(ROOT.glob("expts/*/runs/*/reconstructions.npz")), ids=lambda x: x.parent.name
)
def test_committed_runs_fit_on_a_page(stored):
    library = ROOT / "atompaint_vae/notebook/static"
    names = ["3Dmol-min.js", "isosurface.js", "slices.js", "controls.js", "viewer.js"]
    num_bytes = sum((library / name).stat().st_size for name in names)
    assert num_bytes < 565_000
    for crop in read_crops(stored.parent):
        text, step = pack_crop(crop)
        assert num_bytes + len(text.encode()) < 1_000_000
        assert step == 1 / 128


def write_text(run, name, text):
    (run / name).write_text(text, "utf-8")


def change_array(run, name, change):
    with np.load(run / "reconstructions.npz") as stored:
        arrays = dict(stored)
    arrays[name] = change(arrays[name])
    np.savez_compressed(run / "reconstructions.npz", **{k: v for k, v in arrays.items() if len(v)})


@pytest.mark.parametrize(
    "break_run, message",
    [
        (lambda run: (run / "test.csv").unlink(), "no such file: a/test.csv"),
        (lambda run: (run / "hparams.nt").unlink(), "no such file: a/hparams.nt"),
        (
            lambda run: (run / "reconstructions.npz").unlink(),
            "no such file: a/reconstructions.npz",
        ),
        (
            lambda run: write_text(run, "reconstructions.npz", "none"),
            "a/reconstructions.npz: not a readable npz file",
        ),
        (
            lambda run: np.save((run / "reconstructions.npz").open("wb"), np.zeros(3)),
            "a/reconstructions.npz: not a readable npz file",
        ),
        (
            lambda run: change_array(run, "rank", lambda x: x[:2]),
            "a/reconstructions.npz: 'rank' is of shape (2,), expected one for each of the 3 crops",
        ),
        (
            lambda run: change_array(run, "r2", lambda x: x.astype(str)),
            "a/reconstructions.npz: expected numbers in sample_index, r2, image, reconstruction",
        ),
        (
            lambda run: change_array(run, "r2", lambda x: x[:0]),
            "a/reconstructions.npz: no array 'r2'; expected rank, structure, sample_index, r2,",
        ),
        (
            lambda run: change_array(run, "image", lambda x: x[:, :2]),
            "a/reconstructions.npz: images (3, 2, 13, 13, 13) and reconstructions"
            " (3, 3, 13, 13, 13), expected two of the same [crops, channels, x, y, z]",
        ),
        (
            lambda run: change_array(run, "reconstruction", lambda x: x * np.nan),
            "a/reconstructions.npz: densities that are not finite",
        ),
        (
            lambda run: write_text(run, "hparams.nt", "data:\n  size_voxels: 13\n"),
            "a/hparams.nt: no number data.resolution_A",
        ),
        (
            lambda run: write_text(run, "hparams.nt", "data:\n  resolution_A: fine\n"),
            "a/hparams.nt: no number data.resolution_A",
        ),
        (
            lambda run: write_text(run, "hparams.nt", "data:\n  resolution_A: 0\n"),
            "a/hparams.nt: data.resolution_A is 0, not positive",
        ),
        (
            lambda run: write_text(run, "hparams.nt", "data: 1\n  resolution_A: 1\n"),
            "a/hparams.nt:2: invalid indentation",
        ),
        (
            lambda run: write_text(run, "test.csv", "r2,r2_C\n1,1\n"),
            "a/test.csv: 1 columns r2_<channel>, but images of 3 channels",
        ),
    ],
)
def test_broken_runs(tmp_path, write_reconstructions, break_run, message):
    write_reconstructions(tmp_path / "a")
    break_run(tmp_path / "a")
    with pytest.raises(ReconstructionError) as error:
        read_crops(tmp_path / "a")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_no_such_run(tmp_path, write_reconstructions):
    for name in ("b", "a"):
        write_reconstructions(tmp_path / name)
    with pytest.raises(ReconstructionError, match=r"^no such run: c; known: a, b$"):
        read_crops(tmp_path / "c")


def test_channels_of_other_names_have_colours():
    assert pick_colours(["FE", "C"]) == [MORE_COLOURS[0], CHANNEL_COLOURS["C"]]


def test_residuals_have_the_colours_of_their_map():
    ends = [colormaps[RESIDUAL_COLOURMAP](x)[:3] for x in (0.1, 0.9)]
    np.testing.assert_allclose(ends, [to_rgb(x) for x in RESIDUAL_COLOURS], atol=1.5 / 255)


def test_the_slab_cuts_the_largest_block(tmp_path, write_reconstructions):
    write_reconstructions(tmp_path / "a", blocks=[(0, 1, (0, 1, 8), (3, 4, 12), 0.75)])
    with_block, without, _ = read_crops(tmp_path / "a")
    assert choose_slab(with_block) == slice(9, 12)
    assert choose_slab(without) == slice(5, 8)


def test_a_slab_is_as_dark_as_it_is_full(tmp_path, write_reconstructions):
    write_reconstructions(tmp_path / "a")
    crop = read_crops(tmp_path / "a")[0]
    slab = np.zeros((3, 2, 4, 3))
    slab[2, 1, 3] = 0.5  # oxygen, at x = 1 and y = 3
    colours = colour_slab(slab, crop)
    assert colours.shape == (4, 2, 3)
    np.testing.assert_allclose(colours[3, 1], np.array([230, 26, 26]) / 255)
    assert (colours[:3] == 1).all()
