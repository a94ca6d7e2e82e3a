"""Images as files. gemmi, which knows nothing of our frames, tells where the numbers lie."""

import struct

import gemmi
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atompaint_vae.data.crops.voxelize import CHANNELS, voxelize
from atompaint_vae.data.images import (
    ImageFileError,
    load_images,
    read_image_maps,
    save_images,
    write_image_maps,
)


def make_image(shape=(6, 4, 5, 7), seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def read_header(path):
    """The header as MRC2014 lays it out, without gemmi."""
    return struct.unpack("<10i6f3i3f2i25i3f4s4sfi", path.read_bytes()[:224])


@settings(max_examples=40)
@given(
    shape=st.tuples(*3 * [st.integers(1, 9)]),
    resolution_A=st.floats(0.05, 20),
    center_A=st.tuples(*3 * [st.floats(-500, 500)]),
    channel_names=st.sampled_from([CHANNELS, ("C",), ("C", "heavy metal")]),
)
def test_maps_are_read_as_they_were_written(
    tmp_path_factory, shape, resolution_A, center_A, channel_names
):
    image = make_image((len(channel_names), *shape)) - 0.5
    names = {"channel_names": channel_names}
    paths = write_image_maps(
        image, tmp_path_factory.mktemp("maps"), "a_1.5", resolution_A, center_A=np.array(center_A),
        **names,
    )  # fmt: skip
    assert [x.name for x in paths] == [f"a_1.5_{x}.mrc" for x in channel_names]
    found = read_image_maps(reversed(paths), **names)
    np.testing.assert_array_equal(found.image, image)
    assert found.resolution_A == pytest.approx(resolution_A, rel=1e-5)
    np.testing.assert_allclose(found.center_A, center_A, atol=1e-3)


def test_the_header_is_of_mrc2014(tmp_path):
    path = write_image_maps(make_image(), tmp_path, "a", 0.5, center_A=np.array([1.0, 2, 3]))[0]
    size, mode, start, sampling, cell, angles, axes, statistics, rest = np.split(
        np.array(read_header(path)[:24], dtype=object), [3, 4, 7, 10, 13, 16, 19, 22]
    )
    assert list(size) == list(sampling) == [4, 5, 7]
    assert (*mode, *start, *axes) == (2, 0, 0, 0, 1, 2, 3)
    assert list(cell) == [2, 2.5, 3.5]
    assert list(angles) == [90, 90, 90]
    plane = make_image()[0]
    assert list(statistics) == pytest.approx([plane.min(), plane.max(), plane.mean()])
    assert rest[0] == 1  # a volume
    *origin, name, machine, _, _ = read_header(path)[-7:]
    # Of voxel 0: x lies 1.5 voxels below the centre.
    assert origin == pytest.approx([1 - 0.75, 2 - 1, 3 - 1.5])
    assert (name, machine[:2]) == (b"MAP ", b"DA"), "little-endian"
    # The first axis is the fastest.
    numbers = np.frombuffer(path.read_bytes()[-4 * plane.size :], "<f4")
    np.testing.assert_array_equal(numbers[:4], plane[:, 0, 0])


@pytest.mark.parametrize("size, resolution_A", [(15, 1.0), (16, 1.0), (24, 0.6)])
@pytest.mark.parametrize("center_A", [(0.0, 0.0, 0.0), (103.2, -57.9, 11.1)])
def test_an_atom_is_where_its_density_is(tmp_path, size, resolution_A, center_A):
    """gemmi interpolates from the first voxel on; the header's ORIGIN says where that one is."""
    coords_A = torch.tensor([[2.3, -1.1, 0.7], [-3.2, 2.4, -2.9]])
    channels = torch.tensor([2, 5])
    image = voxelize(
        coords_A, channels, torch.zeros(2, dtype=torch.long), num_images=1,
        num_channels=len(CHANNELS), size_voxels=size, resolution_A=resolution_A, radius_A=1.5,
    )[0].numpy()  # fmt: skip
    paths = write_image_maps(image, tmp_path, "a", resolution_A, center_A=np.array(center_A))
    for place_A, channel in zip(coords_A.numpy() + center_A, channels, strict=True):
        opened = gemmi.read_ccp4_map(str(paths[channel]), setup=True)
        origin_A = [opened.header_float(50 + axis) for axis in range(3)]

        def read_density(at_A, opened=opened, origin_A=origin_A):
            return opened.grid.interpolate_value(gemmi.Position(*(at_A - origin_A)), order=1)

        assert read_density(place_A) > 0.8
        # The peak: as high on either side, and lower.
        for step_A in 1.5 * np.eye(3):
            above, below = read_density(place_A + step_A), read_density(place_A - step_A)
            assert above == pytest.approx(below, abs=0.15)
            assert max(above, below) < 0.75
        # Its centre of mass, by gemmi's positions of the voxels.
        values, places = [], []
        for point in opened.grid:
            values.append(point.value)
            places.append(opened.grid.point_to_position(point).tolist())
        mean_A = np.average(places, weights=values, axis=0) + origin_A
        np.testing.assert_allclose(mean_A, place_A, atol=0.02)


def write_map(path, *, shape=(4, 5, 7), values=0.0, cell=(4, 5, 7), **words):
    opened = gemmi.Ccp4Map()
    cell = gemmi.UnitCell(*cell, *words.pop("angles", (90, 90, 90)))
    opened.grid = gemmi.FloatGrid(
        np.broadcast_to(np.float32(values), shape).copy(), cell, gemmi.SpaceGroup("P1")
    )
    opened.update_ccp4_header(2)
    for word, value in words.items():
        set_word = opened.set_header_i32 if isinstance(value, int) else opened.set_header_float
        set_word(int(word.removeprefix("word")), value)
    opened.write_ccp4_map(str(path))
    return path


def test_maps_of_other_programs(tmp_path):
    """Slowest axis first, part of a larger cell, NSTART instead of ORIGIN."""
    values = make_image()[0]
    path = write_map(
        tmp_path / "x_N.map", shape=(7, 4, 5), values=values.transpose(2, 0, 1), cell=(20, 20, 20),
        word5=-6, word6=10, word7=2, word8=40, word9=40, word10=40,
        word17=3, word18=1, word19=2,
    )  # fmt: skip
    found = read_image_maps([path])
    np.testing.assert_array_equal(found.image[1], values)
    assert not found.image[[0, 2, 3, 4, 5]].any()  # channels without a map
    assert found.resolution_A == 0.5
    np.testing.assert_allclose(found.center_A, [5 + 0.75, 1 + 1, -3 + 1.5])


FAILURES = [
    ("a_C.mrc", {"values": np.nan}, r"a_C\.mrc: a voxel is NaN"),
    ("a_C.mrc", {"values": np.inf}, r"a_C\.mrc: a voxel is infinity"),
    ("a_C.mrc", {"cell": (4, 5, 8)}, r"a_C\.mrc: voxels are not cubes: 1 × 1 × 1\.14286 Å, ang"),
    ("a_C.mrc", {"angles": (90, 90, 120)}, r"not cubes: 1 × 1 × 1 Å, angles 90 × 90 × 120°"),
    ("a_C.mrc", {"word8": 0}, r"not cubes: 4 × 1 × 1 Å"),
    ("a_C.mrc", {"shape": (4, 5, 6), "cell": (4, 5, 6)}, r"a_N\.mrc: 4×5×7 voxels, but 4×5×6"),
    ("a_C.mrc", {"cell": (8, 10, 14)}, r"a_N\.mrc: voxels of 1 Å, but of 2 Å in .*a_C\.mrc"),
    ("a_C.mrc", {"word50": 1.0}, r"a_N\.mrc: centre at 1\.5, 2, 3 Å, but at 2\.5, 2, 3 Å in .*a_C"),
    ("a_Fe.mrc", {}, r"a_Fe\.mrc: name doesn't end in _ and a channel; channels: C, N"),
    ("C.mrc", {}, r"C\.mrc: name doesn't end in _ and a channel"),
    ("a_C.png", {}, r"a_C\.png: suffix '\.png' is not a map's: \.mrc, \.map, \.ccp4"),
    ("b_N.mrc", {}, r"a_N\.mrc: a second map of N, after .*b_N\.mrc"),
]


@pytest.mark.parametrize("name, changes, message", FAILURES, ids=[x[2][:40] for x in FAILURES])
def test_what_is_no_image_is_said_in_a_line(tmp_path, name, changes, message):
    paths = [write_map(tmp_path / name, **changes), write_map(tmp_path / "a_N.mrc")]
    with pytest.raises(ImageFileError, match=message) as caught:
        read_image_maps(paths)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_maps(tmp_path):
    path = tmp_path / "a_C.mrc"
    with pytest.raises(ImageFileError, match=r"a_C\.mrc: no such file$"):
        read_image_maps([path])
    whole = write_map(path).read_bytes()
    for content, reason in [
        (b"", "Failed to read map header"),
        (b"text " * 500, "Not a CCP4 map"),
        (whole[:-1], "Failed to read all the data from the map file"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ImageFileError, match=rf"a_C\.mrc: not a CCP4 or MRC map: {reason}$"):
            read_image_maps([path])
    with pytest.raises(ImageFileError, match="no maps to read"):
        read_image_maps([])


def test_no_map_is_written_of_what_is_no_image(tmp_path):
    image = make_image()
    for wrong, resolution_A, message in [
        (image[:5], 1.0, "5 channels, but 6 names"),
        (image, 0.0, "voxels of 0 Å"),
        (image * np.float32("nan"), 1.0, "numbers that are not finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_image_maps(wrong, tmp_path, "a", resolution_A)
        with pytest.raises(ValueError, match=message):
            save_images(tmp_path / "a.npz", wrong[None], resolution_A)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_images_in_one_file(tmp_path, dtype):
    images = make_image((3, 6, 4, 5, 7)).astype(dtype)
    save_images(tmp_path / "a.npz", images, 0.7, radius_A=1.1, density="gaussian")
    found = load_images(tmp_path / "a.npz")
    assert found.images.dtype == dtype
    np.testing.assert_array_equal(found.images, images)
    assert (found.resolution_A, found.radius_A, found.density) == (0.7, 1.1, "gaussian")
    assert found.channel_names == CHANNELS
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:  # by anybody
        assert sorted(stored) == ["channels", "density", "image", "radius_A", "resolution_A"]


def test_npz_files_of_something_else(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(ImageFileError, match=r"a\.npz: no such file"):
        load_images(path)
    np.savez(path, image=make_image())
    with pytest.raises(ImageFileError, match=r"a\.npz: no array resolution_A"):
        load_images(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ImageFileError, match=r"a\.npz: not an npz file of images"):
        load_images(path)
    with path.open("wb") as file:
        np.save(file, make_image())
    with pytest.raises(ImageFileError, match=r"a\.npz: not an npz file of images"):
        load_images(path)
    for image, resolution_A in ((make_image(), 1), (np.full((1, 6, 3, 3, 3), "x"), 1),
                                (make_image((1, 6, 3, 3, 3)), [1, 2])):  # fmt: skip
        np.savez(path, image=image, resolution_A=resolution_A)
        with pytest.raises(ImageFileError, match=r"a\.npz: not an npz file of images"):
            load_images(path)


def test_npz_files_of_others_may_lack_the_channels(tmp_path):
    path = tmp_path / "a.npz"
    structure = ["x", "y"]
    image = make_image((2, 6, 3, 3, 3))
    np.savez(path, image=image, resolution_A=np.float32(0.8), structure=structure)
    found = load_images(path)
    assert (found.resolution_A, found.radius_A, found.density) == (0.8, 0.75, "sphere")
    assert found.channel_names == CHANNELS
    assert found.structures == ["x", "y"]
