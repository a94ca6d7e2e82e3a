"""Copies of training images. Truth: numpy's correlation, images turned by numpy's rot90."""

from itertools import product

import numpy as np
import pytest
import torch

from atompaint_vae.analysis.copies import TrainingImages
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops, load_split
from atompaint_vae.nn.rotations import make_octahedral_group, rotate_voxels


def make_images(num, seed, size=9):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num, 2, size, size, size, generator=generator)


def list_turned(image):
    """All 24 orientations of an image [c, x, x, x], some of them several times."""
    for x, y, z in product(range(4), repeat=3):
        turned = np.rot90(image, x, (2, 3))
        turned = np.rot90(turned, y, (1, 3))
        yield np.rot90(turned, z, (1, 2))


def average_cells(image):
    """The means of blocks of 3³ voxels, without each channel's mean."""
    cells = image.reshape(2, 3, 3, 3, 3, 3, 3).mean(axis=(2, 4, 6))
    return (cells - cells.mean(axis=(1, 2, 3), keepdims=True)).ravel()


def test_the_distance_is_that_of_the_most_alike_cells_in_any_orientation():
    training, images = make_images(5, 0), make_images(3, 1)
    found = TrainingImages(training.split(2), resolution_A=1.0).calc_distances(images)
    for distance, image in zip(found, images.numpy(), strict=True):
        turned = [average_cells(x) for x in list_turned(image)]
        cells = [average_cells(x) for x in training.numpy()]
        correlations = [np.corrcoef(a, b)[0, 1] for a in turned for b in cells]
        assert distance.item() == pytest.approx(1 - max(correlations), abs=1e-5)


def test_images_in_any_orientation_and_of_any_brightness_are_copies():
    training = make_images(4, 0)
    turned = torch.cat([rotate_voxels(training[:1], x) for x in make_octahedral_group()])
    distances = TrainingImages([training], resolution_A=1.0).calc_distances(0.3 * turned + 0.1)
    assert distances.abs().max() < 1e-5


def test_an_empty_image_is_like_nothing():
    found = TrainingImages([make_images(4, 0)], resolution_A=1.0)
    assert found.calc_distances(torch.zeros(1, 2, 9, 9, 9)).tolist() == [1]


def test_cells_have_the_same_side_at_any_resolution():
    coarse = make_images(2, 0)
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    other = make_images(3, 1)
    other_fine = other.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    expected = TrainingImages([coarse], resolution_A=1.0).calc_distances(other)
    found = TrainingImages([fine], resolution_A=0.5).calc_distances(other_fine)
    torch.testing.assert_close(found, expected)


def test_training_crops_are_recognised_where_they_lie_elsewhere_by_an_angstrom():
    train, test = (
        CropDataset(load_split("starter", split), num_samples=40, seed=0, size_voxels=21)
        for split in ("train", "test")
    )

    def make(crops, offset_A=0.0):
        batch = collate_crops([crops[i] for i in range(40)])
        return crops.make_images(batch._replace(coords_A=batch.coords_A + offset_A))

    training = TrainingImages([make(train)], resolution_A=1.0)
    unseen = training.calc_distances(make(test))
    # 1 Å in all: 0.58 Å along each axis.
    assert training.calc_distances(make(train, 3**-0.5)).max() < unseen.min()
    assert training.calc_distances(make(train, 3**0.5)).median() > unseen.min()
