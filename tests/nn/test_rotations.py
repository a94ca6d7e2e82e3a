import e3nn.o3
import pytest
import torch
from e3nn.o3 import Irreps, wigner_3j

from atompaint_vae.nn.rotations import (
    calc_representation,
    calc_wigner,
    make_octahedral_group,
    rotate_each,
    rotate_voxels,
)


def test_octahedral_group_is_the_group_of_the_cube():
    group = make_octahedral_group()
    assert group.shape == (24, 3, 3)
    assert torch.allclose(torch.linalg.det(group), torch.ones(24, dtype=torch.float64))
    products = torch.einsum("aij,bjk->abik", group, group).reshape(-1, 1, 9)
    distances = (products - group.reshape(1, -1, 9)).abs().amax(-1)
    assert distances.amin(1).max() == 0
    assert len(torch.unique(group.reshape(24, 9), dim=0)) == 24


def test_wigner_matrices_agree_with_e3nn():
    # e3nn's start from single precision.
    rotations = e3nn.o3.rand_matrix(5).double()
    rotations = torch.linalg.svd(rotations).U @ torch.linalg.svd(rotations).Vh
    for l in range(5):
        theirs = Irreps([(1, (l, 1))]).D_from_matrix(rotations.float())
        assert torch.allclose(calc_wigner(l, rotations).float(), theirs, atol=2e-5)


def test_wigner_matrices_leave_the_coupling_coefficients_alone():
    rotation = _make_rotation(0)
    for l1, l2, l3 in [(1, 1, 2), (2, 3, 1), (3, 3, 3), (2, 2, 4)]:
        d1, d2, d3 = (calc_wigner(l, rotation[None])[0] for l in (l1, l2, l3))
        coupling = wigner_3j(l1, l2, l3, dtype=torch.float64)
        rotated = torch.einsum("ijk,ai,bj,ck->abc", coupling, d1, d2, d3)
        assert torch.allclose(rotated, coupling, atol=1e-12)


def test_representation_of_a_vector_is_the_rotation():
    rotation = _make_rotation(1)
    matrix = calc_representation(Irreps("1x0e+1x1e"), rotation)
    assert torch.allclose(matrix[1:, 1:], rotation, atol=1e-12)
    assert matrix[0, 0].item() == pytest.approx(1)


def test_rotated_image_of_one_voxel():
    # A voxel at position p (about the centre) must arrive at R p.
    position = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    for rotation in make_octahedral_group():
        image = torch.zeros(1, 1, 5, 5, 5)
        image[0, 0, 4, 3, 2] = 1
        x, y, z = (rotation @ position + 2).long().tolist()
        assert rotate_voxels(image, rotation)[0, 0, x, y, z] == 1


def test_each_image_has_a_rotation_of_its_own():
    # A vector v at position p must arrive at R p as R v, and l = 2 as the harmonics of R v.
    irreps, group = Irreps("1x0e+1x1e+1x2e"), make_octahedral_group()
    position = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    vector = torch.tensor([0.3, -0.7, 0.5], dtype=torch.float64)
    numbers = [5, 23, 0, 5, 12]

    def calc_harmonics(x):
        return torch.cat([e3nn.o3.spherical_harmonics(l, x, False) for l in (0, 1, 2)])

    images = torch.zeros(len(numbers), irreps.dim, 5, 5, 5, dtype=torch.float64)
    images[:, :, 4, 3, 2] = calc_harmonics(vector)
    for image, number in zip(rotate_each(images, irreps, numbers), numbers, strict=True):
        x, y, z = (group[number] @ position + 2).long().tolist()
        expected = calc_harmonics(group[number] @ vector)
        torch.testing.assert_close(image[:, x, y, z], expected, rtol=0, atol=1e-12)
        assert image.count_nonzero() == image[:, x, y, z].count_nonzero()


def test_free_rotation_turns_the_same_way_as_an_exact_one():
    # A smooth image, so that interpolation does little harm.
    axis = torch.linspace(-1, 1, 21, dtype=torch.float64)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    rotation = _make_rotation(2)

    def blob(points):
        return torch.exp(-4 * ((points - torch.tensor([0.4, -0.1, 0.2])) ** 2).sum(-1))

    points = torch.stack([x, y, z], dim=-1)
    expected = blob(points @ rotation)  # value at p is the old value at R⁻¹ p
    got = rotate_voxels(blob(points)[None, None], rotation)[0, 0]
    inside = (points**2).sum(-1) < 0.8
    assert (got - expected)[inside].abs().max() < 0.03


def _make_rotation(seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    q, _ = torch.linalg.qr(matrix)
    return q * torch.linalg.det(q).sign()
