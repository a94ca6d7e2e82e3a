import itertools

import numpy as np
import pytest

from atompaint_vae.analysis.blocks import find_solid_blocks, find_solid_voxels
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops, load_split


def make_empty(num_channels=3, size=15):
    return np.zeros((num_channels, size, size, size), dtype=np.float32)


def make_pair(first=(3, 4, 5), last=(6, 8, 7), channel=1, filled=0.5):
    """An empty input, and a reconstruction with one box of voxels filled."""
    image, reconstruction = make_empty(), make_empty()
    region = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
    reconstruction[(channel, *region)] = filled
    return image, reconstruction


def test_a_cube_of_ones():
    image, reconstruction = make_pair((6, 6, 6), (8, 8, 8), filled=1)
    (block,) = find_solid_blocks(image, reconstruction, 1.0)
    assert len(block.voxels) == 27
    assert sorted(map(tuple, block.voxels)) == sorted(map(tuple, np.argwhere(reconstruction[1])))
    assert block.center_A.tolist() == [0, 0, 0]
    assert (block.volume_A3, block.mean_filled, block.channel) == (27, 1, 1)


def test_units_are_angstroms():
    image, reconstruction = make_pair((3, 4, 5), (8, 9, 10))
    (block,) = find_solid_blocks(image, reconstruction, 0.5)
    assert block.volume_A3 == 6**3 * 0.125
    assert block.center_A.tolist() == [-0.75, -0.25, 0.25]
    # The same 5³ voxels are too small a cube if voxels are smaller: 2.5 Å is not 3 Å.
    image, reconstruction = make_pair((3, 4, 5), (7, 8, 9))
    assert find_solid_blocks(image, reconstruction, 0.5) == []


def test_a_box_is_larger_than_the_cube_that_finds_it():
    image, reconstruction = make_pair((3, 4, 5), (6, 8, 7))
    (block,) = find_solid_blocks(image, reconstruction, 1.0)
    assert block.volume_A3 == 4 * 5 * 3
    assert block.voxels.min(axis=0).tolist() == [3, 4, 5]
    assert block.voxels.max(axis=0).tolist() == [6, 8, 7]


def test_a_block_at_the_border():
    image, reconstruction = make_pair((0, 0, 12), (2, 2, 14))
    (block,) = find_solid_blocks(image, reconstruction, 1.0)
    assert block.center_A.tolist() == [-6, -6, 6]


@pytest.mark.parametrize(
    "first, last, filled",
    [
        ((6, 6, 6), (7, 8, 8), 1.0),  # 2 Å thick
        ((6, 6, 6), (8, 8, 8), 0.24),  # too faint
    ],
)
def test_no_block(first, last, filled):
    image, reconstruction = make_pair(first, last, filled=filled)
    assert find_solid_blocks(image, reconstruction, 1.0) == []


def test_a_block_is_nearly_constant():
    image, reconstruction = make_pair((6, 6, 6), (8, 8, 8), filled=0.4)
    reconstruction[2, 7, 7, 7] = 0.39
    assert len(find_solid_blocks(image, reconstruction, 1.0)) == 1
    reconstruction[2, 7, 7, 7] = 0.41  # 0.4 is less than half of 0.81
    assert find_solid_blocks(image, reconstruction, 1.0) == []


def test_channels_together_make_a_block():
    image, reconstruction = make_pair(filled=0.2)
    reconstruction[2] = 0.5 * reconstruction[1]
    (block,) = find_solid_blocks(image, reconstruction, 1.0)
    assert block.mean_filled == pytest.approx(0.3)
    assert block.channel == 1


def test_what_the_input_has_is_no_finding():
    image, reconstruction = make_pair((3, 3, 3), (6, 6, 6))
    image[0, 6:9, 6:9, 6:9] = 1  # one voxel in common
    assert find_solid_blocks(image, reconstruction, 1.0) == []
    assert len(find_solid_blocks(np.roll(image, 1, axis=1), reconstruction, 1.0)) == 1


def test_blocks_that_touch_at_an_edge_are_two_the_largest_first():
    image, reconstruction = make_pair((1, 1, 1), (3, 3, 3))
    reconstruction[0, 4:8, 4:8, 1:4] = 0.5
    assert [x.volume_A3 for x in find_solid_blocks(image, reconstruction, 1.0)] == [48, 27]


def test_too_small_a_crop():
    image = np.ones((1, 2, 2, 2), dtype=np.float32)
    assert find_solid_blocks(0 * image, image, 1.0) == []


@pytest.mark.parametrize("resolution_A", [0.75, 1.0, 1.5])  # cubes of 4, 3 and 2 voxels
def test_rotated_images_have_rotated_blocks(resolution_A):
    rng = np.random.default_rng(0)
    density = rng.uniform(0.2, 0.6, size=(12, 12, 12)).astype(np.float32)
    density[2:9, 3:7, 1:6] = 0.5
    found = find_solid_voxels(density, resolution_A)
    assert 0 < found.sum() < found.size
    rotations = [
        (axes, flips)
        for axes in itertools.permutations(range(3))
        for flips in itertools.product((1, -1), repeat=3)
        if np.linalg.det(np.eye(3)[list(axes)] * flips) > 0
    ]
    assert len(rotations) == 24
    for axes, flips in rotations:
        flipped = [i for i in range(3) if flips[i] < 0]
        rotated = np.flip(density.transpose(axes), flipped)
        expected = np.flip(found.transpose(axes), flipped)
        np.testing.assert_array_equal(find_solid_voxels(rotated, resolution_A), expected)


def test_real_atoms_are_no_blocks():
    dataset = CropDataset(load_split("starter", "test"), num_samples=24, seed=0, size_voxels=35)
    images = dataset.make_images(collate_crops([dataset[i] for i in range(24)])).numpy()
    assert images.sum() > 10_000
    for image in images:
        assert find_solid_blocks(0 * image, image, 1.0) == []
