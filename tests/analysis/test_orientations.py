"""Truth: rotations of the cube permute voxels; closed forms; voxels of atoms turned by hand."""

import pytest
import torch

from atompaint_vae.analysis.orientations import (
    calc_linear_r2,
    calc_sphere_r2,
    calc_vector_r2,
    make_turned_images,
    sample_rotations,
)
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops, load_split
from atompaint_vae.data.crops.voxelize import CHANNELS, voxelize
from atompaint_vae.nn.rotations import make_octahedral_group, rotate_voxels


@pytest.fixture(scope="module")
def atoms():
    return load_split("starter", "test")


@pytest.fixture(scope="module")
def dataset(atoms):
    return CropDataset(atoms, num_samples=4, seed=2, size_voxels=15)


def test_rotations_of_the_cube_permute_the_voxels(dataset, atoms):
    cube = make_octahedral_group()
    image = dataset.make_images(collate_crops([dataset[1]]))
    turned = make_turned_images(dataset, atoms, 1, cube)
    expected = torch.cat([rotate_voxels(image, rotation) for rotation in cube])
    # float32 positions of atoms, and a table of overlaps that isn't symmetric to the last bit.
    torch.testing.assert_close(turned, expected, atol=2e-4, rtol=0)


def test_atoms_turn_into_the_cube_from_outside(dataset, atoms):
    (rotation,) = rotations = sample_rotations(1, seed=1)
    _, crop = dataset[2]
    own = atoms[atoms["structure"] == crop.structure]
    coords_A = torch.tensor(own[["x", "y", "z"]].to_numpy("float64"))
    turned_A = (coords_A - torch.tensor(crop.centre_A)) @ torch.tensor(crop.rotation_ia).T
    turned_A = turned_A @ rotation.T
    channels = torch.tensor([
        {"C": 0, "N": 1, "O": 2, "P": 3, "S": 4, "SE": 4}.get(x, 5) for x in own["element"]
    ])  # fmt: skip
    image = voxelize(
        turned_A.float(), channels, torch.zeros_like(channels),
        num_images=1, num_channels=len(CHANNELS), size_voxels=15,
    )  # fmt: skip
    found = make_turned_images(dataset, atoms, 2, rotations)
    torch.testing.assert_close(found, image, atol=1e-3, rtol=0)
    assert found.sum() > 10


def test_r2_of_the_sphere_is_blind_to_the_corners():
    image = torch.rand(2, 3, 7, 7, 7, generator=torch.Generator().manual_seed(0))
    wrong = image.clone()
    wrong[:, :, 0, 0] += 1
    assert calc_sphere_r2(image, wrong).tolist() == [1, 1]
    wrong[1, :, 3, 3, 3] += 1
    first, second = calc_sphere_r2(image, wrong).tolist()
    assert (first, second < 1) == (1, True)


def test_r2_of_vectors():
    a, b = torch.randn(2, 20000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert calc_vector_r2(a, a) == 1
    assert calc_vector_r2(a + 7, torch.full_like(a, 7)) == pytest.approx(0, abs=1e-3)
    # 1 − (|a|² + |b|²) / |a|²; 100,000 numbers.
    assert calc_vector_r2(a, b) == pytest.approx(-1, abs=0.02)
    assert calc_vector_r2(a, a + b / 2) == pytest.approx(3 / 4, abs=0.02)


def test_a_matrix_predicts_what_a_matrix_made():
    before, noise = torch.randn(2, 20000, 5, generator=torch.Generator().manual_seed(0))
    found = before @ torch.randn(5, 5, generator=torch.Generator().manual_seed(1)) + 3
    assert calc_linear_r2(found, before) == pytest.approx(1, abs=1e-6)
    assert calc_linear_r2(noise, before) == pytest.approx(0, abs=0.02)


def test_r2_of_a_regression_is_of_samples_that_it_has_not_seen():
    generator = torch.Generator().manual_seed(0)
    found, before = torch.randn(2, 80, 15, generator=generator)
    # Nothing can be predicted: 15 inputs fit the 40 samples that they see, but no others.
    assert calc_linear_r2(found, before) < 0
