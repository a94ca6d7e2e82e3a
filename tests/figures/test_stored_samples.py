import numpy as np
import pytest

from atompaint_vae.data.crops.voxelize import CHANNELS
from atompaint_vae.figures.stored_crops import StoredImageError
from atompaint_vae.figures.stored_samples import CHANNEL_NAMES, read_samples


def test_channels_are_those_of_images():
    assert CHANNEL_NAMES == CHANNELS


def test_samples_are_as_they_were_stored(tmp_path, write_samples):
    arrays = write_samples(tmp_path / "a", num_crops=2, resolution_A=0.8)
    stored = read_samples(tmp_path / "a")
    np.testing.assert_array_equal(stored.samples, arrays["sample"])
    np.testing.assert_array_equal(stored.crops, arrays["crop"])
    np.testing.assert_array_equal(stored.path, arrays["path"])
    np.testing.assert_array_equal(stored.path_sigmas, arrays["path_sigma"])
    assert stored.resolution_A == 0.8


FAILURES = [
    ({"crop": None}, "a/samples.npz: no array 'crop'; expected sample, crop, path, path_sig"),
    ({"sample": lambda x: x[:, :5]}, "a/samples.npz: 'sample' is of shape (3, 5, 9, 9, 9), exp"),
    ({"path": lambda x: x[..., :8]}, "a/samples.npz: 'path' is of shape (4, 6, 9, 9, 8), expected"),
    ({"crop": lambda x: x[0]}, "a/samples.npz: 'crop' is of shape (6, 9, 9, 9), expected [ima"),
    ({"crop": lambda x: x * np.nan}, "a/samples.npz: 'crop' has densities that are not finite"),
    ({"sample": lambda x: x[:0]}, "a/samples.npz: no samples"),
    ({"path_sigma": lambda x: x[:3]}, "a/samples.npz: 'path_sigma' is of shape (3,), expected one"),
    ({"path_sigma": lambda x: x.astype(str)}, "a/samples.npz: expected numbers in sample, crop"),
    ({"resolution_A": lambda x: 0 * x}, "a/samples.npz: 'resolution_A' is not a positive number"),
    ({"resolution_A": lambda x: [x, x]}, "a/samples.npz: 'resolution_A' is not a positive number"),
]


@pytest.mark.parametrize("changes, message", FAILURES, ids=[x[1][15:45] for x in FAILURES])
def test_failures_are_said_in_a_line(tmp_path, write_samples, changes, message):
    arrays = write_samples(tmp_path / "a")
    for name, change in changes.items():
        array = arrays.pop(name)
        if change:
            arrays[name] = change(array)
    np.savez_compressed(tmp_path / "a/samples.npz", **arrays)
    with pytest.raises(StoredImageError) as caught:
        read_samples(tmp_path / "a")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_broken(tmp_path, write_samples):
    write_samples(tmp_path / "a")
    with pytest.raises(StoredImageError, match="no such run: b; known: a"):
        read_samples(tmp_path / "b")
    (tmp_path / "a/samples.npz").write_text("none")
    with pytest.raises(StoredImageError, match=r"a/samples\.npz: not a readable npz file"):
        read_samples(tmp_path / "a")
    (tmp_path / "a/samples.npz").unlink()
    with pytest.raises(StoredImageError, match=r"no such file: a/samples\.npz"):
        read_samples(tmp_path / "a")
