import numpy as np
import pytest

from atompaint_vae.figures.stored_crops import StoredImageError, read_crops


def test_crops_are_as_they_were_stored(tmp_path, write_reconstructions):
    stored = write_reconstructions(tmp_path / "a", names=("C", "other"), resolution_A=0.8)
    worst, median, best = read_crops(tmp_path / "a")
    assert [x.rank for x in (worst, median, best)] == ["worst", "median", "best"]
    assert (median.sample_index, median.structure, median.r2) == (3, "2DEF", 0.5)
    assert median.channel_names == ["C", "other"]
    assert median.resolution_A == 0.8
    assert median.blocks == []
    np.testing.assert_array_equal(median.reconstruction, stored["reconstruction"][1])
    for k, crop in enumerate((worst, median, best)):
        np.testing.assert_array_equal(crop.image, stored["image"][k])
        np.testing.assert_array_equal(crop.coords_A, stored[f"coords_A_{k}"])
        np.testing.assert_array_equal(crop.atom_channels, stored[f"channels_{k}"])


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
            " (3, 3, 13, 13, 13), expected the same shape [crops, channels, x, y, z]",
        ),
        (
            lambda run: change_array(run, "reconstruction", lambda x: x * np.nan),
            "a/reconstructions.npz: densities that are not finite",
        ),
        (
            lambda run: write_text(run, "hparams.nt", "data:\n  size_voxels: 13\n"),
            "a/hparams.nt: data.resolution_A is missing or not a number",
        ),
        (
            lambda run: write_text(run, "hparams.nt", "data:\n  resolution_A: fine\n"),
            "a/hparams.nt: data.resolution_A is missing or not a number",
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
            "a/test.csv: 1 columns r2_<channel>, but the images have 3 channels",
        ),
    ],
)
def test_broken_runs(tmp_path, write_reconstructions, break_run, message):
    write_reconstructions(tmp_path / "a")
    break_run(tmp_path / "a")
    with pytest.raises(StoredImageError) as error:
        read_crops(tmp_path / "a")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_no_such_run(tmp_path, write_reconstructions):
    for name in ("b", "a"):
        write_reconstructions(tmp_path / name)
    with pytest.raises(StoredImageError, match=r"^no such run: c; known: a, b$"):
        read_crops(tmp_path / "c")
