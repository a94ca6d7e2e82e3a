"""Reference sets. Truth: numpy's moments, the crops' own atoms, the model itself."""

import numpy as np
import pytest
import torch

from atompaint_vae.data.crops.dataset import CropDataset, load_split
from atompaint_vae.models.references import (
    iter_crop_references,
    iter_vae_references,
    make_crop_set,
    sample_gaussian,
)
from atompaint_vae.models.vae.vae import VAE


@pytest.fixture(scope="module")
def crops():
    return [
        CropDataset(load_split("starter", split), num_samples=20, seed=0, size_voxels=15)
        for split in ("test", "train")
    ]


def test_sets_of_crops_are_those_that_they_say(crops):
    test, train = crops
    sets = dict(iter_crop_references(test, train, range(10, 20)))
    assert list(sets) == [
        "other crops", "training crops", "atoms displaced by 0.2 Å", "atoms displaced by 0.5 Å",
        "atoms displaced by 1 Å",
    ]  # fmt: skip
    real = sets["other crops"]
    assert list(real.groups) == [test[i][1].structure for i in range(10, 20)]
    assert list(sets["training crops"].groups) == [train[i][1].structure for i in range(10)]
    assert {x.images.shape for x in sets.values()} == {(10, 6, 15, 15, 15)}
    changes = [(x.images - real.images).square().sum() for x in list(sets.values())[2:]]
    assert 0 < changes[0] < changes[1] < changes[2]
    assert not set(sets["training crops"].groups) & set(real.groups)


def test_atoms_move_by_the_standard_deviation_along_each_axis():
    """The centroid of an image with one atom tells where the atom is."""

    class OneAtom(CropDataset):
        def __getitem__(self, index):
            crop = self.crop_sampler.sample(0, 0)
            atom = np.zeros((1, 3), np.float32), np.zeros(1, np.int64)
            return index, crop._replace(coords_A=atom[0], channels=atom[1])

    one = OneAtom(load_split("starter", "test"), num_samples=400, seed=0, size_voxels=15)
    images = make_crop_set(one, range(400), displacement_A=0.5).images[:, 0].double()
    axis = torch.arange(15) - 7.0
    total = images.sum(dim=(1, 2, 3))
    for dims in ((2, 3), (1, 3), (1, 2)):
        position = (images.sum(dim=dims) * axis).sum(dim=1) / total
        # The standard error is 0.018; the centroid of a ball on the grid is off by less.
        assert position.std().item() == pytest.approx(0.5, abs=0.07)


def test_gaussian_latents_have_the_moments_of_the_latents():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(6, 2, 2, 1, 1, generator=generator, dtype=torch.float64) + 3
    found = sample_gaussian(latents, 40_000, generator=generator).flatten(1).numpy()
    expected = np.cov(latents.flatten(1).numpy(), rowvar=False)
    assert found.mean(axis=0) == pytest.approx(latents.flatten(1).numpy().mean(axis=0), abs=0.03)
    assert np.cov(found, rowvar=False) == pytest.approx(expected, abs=0.05)


def test_sets_of_a_vae_are_decoded(crops):
    torch.manual_seed(0)
    vae = VAE(["4x0e"], "2x0e", num_channels=6, size_voxels=15).eval()
    real = make_crop_set(crops[0], range(10))
    training = make_crop_set(crops[1], range(10)).images
    sets = dict(iter_vae_references(vae, real, training.split(4), seed=0))
    assert list(sets) == ["reconstructed crops", "prior samples", "PCA-Gaussian latents"]
    with torch.no_grad():
        torch.testing.assert_close(sets["reconstructed crops"].images, vae(real.images))
        generator = torch.Generator().manual_seed(0)
        torch.testing.assert_close(
            sets["prior samples"].images, vae.sample(10, generator=generator)
        )
    assert sets["reconstructed crops"].groups == real.groups
    assert len(set(sets["prior samples"].groups)) == 10
    again = dict(iter_vae_references(vae, real, [training], seed=0))
    for name, images in sets.items():
        torch.testing.assert_close(again[name].images, images.images)


def test_gaussian_latents_of_one_crop_are_its_own(crops):
    torch.manual_seed(0)
    vae = VAE(["4x0e"], "2x0e", num_channels=6, size_voxels=15).eval()
    real = make_crop_set(crops[0], range(4))
    *_, (name, found) = iter_vae_references(vae, real, [real.images[:1]] * 3, seed=0)
    assert name == "PCA-Gaussian latents"
    with torch.no_grad():
        expected = vae(real.images[:1]).expand_as(found.images)
    torch.testing.assert_close(found.images, expected)
