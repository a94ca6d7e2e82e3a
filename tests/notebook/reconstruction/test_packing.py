import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from atompaint_vae.figures.stored_crops import StoredImageError, read_crops
from atompaint_vae.notebook.reconstruction import packing
from atompaint_vae.notebook.reconstruction.packing import pack_crop

ROOT = Path(__file__).parents[3]


def unpack(text, dtype):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


def unpack_density(packed, k):
    data, offset = packed["images"][k]["data"], packed["images"][k]["offset"]
    data = unpack(data, np.int8).reshape(len(packed["channels"]), *packed["size"])
    return data * packed["step"] + offset


def test_packed_crops_hold_the_same_numbers(tmp_path, write_reconstructions):
    stored = write_reconstructions(tmp_path / "a")
    text, step = pack_crop(read_crops(tmp_path / "a")[0])
    packed = json.loads(text)
    assert step == packed["step"] == 1 / 128
    for k, what in enumerate(("image", "reconstruction")):
        np.testing.assert_allclose(unpack_density(packed, k), stored[what][0], atol=1 / 256)
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
        unpack_density(json.loads(text), 0), arrays["image"][0], atol=step / 2
    )


def test_a_large_crop_is_rounded_until_it_fits(tmp_path, write_reconstructions):
    arrays = write_reconstructions(tmp_path / "a", size=35, names=tuple("CNOPS"))
    noise = np.random.default_rng(0).uniform(0, 0.99, arrays["image"].shape)
    arrays["image"] = arrays["reconstruction"] = noise.astype(np.float16)
    np.savez_compressed(tmp_path / "a/reconstructions.npz", **arrays)
    text, step = pack_crop(read_crops(tmp_path / "a")[0])
    assert step == 1 / 64  # 428,750 numbers of 6 bits, in base64
    assert len(text) < 450_000


def test_a_crop_that_is_too_large(tmp_path, write_reconstructions, monkeypatch):
    monkeypatch.setattr(packing, "MAX_SCRIPT_BYTES", 1000)
    write_reconstructions(tmp_path / "a")
    with pytest.raises(StoredImageError, match=r"a crop of 3×13×13×13 values is too large for"):
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
    # The fullest crop is the largest script.
    crop = max(read_crops(stored.parent), key=lambda x: (abs(x.reconstruction) > 1 / 256).sum())
    text, step = pack_crop(crop)
    assert num_bytes + len(text.encode()) < 1_000_000
    assert step == 1 / 128
