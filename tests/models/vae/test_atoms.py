"""The atoms in reconstructions, where images themselves are the reconstructions."""

import numpy as np
import pytest
import torch

from atompaint_vae.data.crops.dataset import CropDataset, collate_crops, load_split
from atompaint_vae.models.vae.atoms import AtomMetrics


@pytest.fixture(scope="module")
def test_crops():
    return CropDataset(load_split("starter", "test"), num_samples=6, seed=2, size_voxels=21)


def make_metrics(crops, change=lambda images: images):
    metrics = AtomMetrics(crops)
    for indices in ([0, 1, 2, 3], [4, 5]):
        images = crops.make_images(collate_crops([crops[i] for i in indices]))
        metrics.update(indices, images, change(images))
    return metrics.calc()


def test_perfect_reconstructions_keep_the_atoms(test_crops):
    found = make_metrics(test_crops)
    assert found["bonded_true"] > 0.97
    assert found["bonded"] == pytest.approx(found["bonded_true"], abs=0.02)
    assert found["bonded_low"] < found["bonded"] < found["bonded_high"]
    assert found["found_atoms"] == pytest.approx(1, abs=0.02)
    assert 1.2 < found["nearest_A"] < 1.5
    assert found["bonded"] + found["clashing"] + found["isolated"] == pytest.approx(1)
    assert found["solid_blocks"] == 0


def test_what_is_wrong_is_seen(test_crops):
    """Atoms of another crop are as bonded, noise isn't, and a block is a block."""
    assert make_metrics(test_crops, lambda images: images.roll(1, 0))["bonded"] > 0.95
    generator = torch.Generator().manual_seed(0)

    def displace(images):
        """Voxels at random, which keeps composition and density."""
        order = torch.randperm(21**3, generator=generator)
        return images.flatten(2)[:, :, order].view(images.shape)

    assert make_metrics(test_crops, displace)["bonded"] < 0.6

    def fill(images):
        images = images.clone()
        images[:, 0, :5, :5, :5] = 1
        return images

    assert make_metrics(test_crops, fill)["solid_blocks"] == 1


def test_crops_without_atoms_have_no_shares(test_crops):
    found = make_metrics(test_crops, torch.zeros_like)
    assert np.isnan(found["bonded"])
    assert found["found_atoms"] == 0
