import numpy as np
import pytest
import torch

from atompaint_vae.analysis.baselines import PatchPCA, coarsen


def test_components_of_patches_are_numpys():
    torch.manual_seed(0)
    mixing = torch.randn(2, 2)
    images = torch.einsum("ij,bjxyz->bixyz", mixing, torch.rand(3, 2, 6, 6, 6))
    pca = PatchPCA(images.split(2), side=3)
    # The patches, cut by hand, and their best approximation of rank 5.
    patches = np.array([
        image[:, x : x + 3, y : y + 3, z : z + 3].numpy().ravel()
        for image in images for x in (0, 3) for y in (0, 3) for z in (0, 3)
    ])  # fmt: skip
    deviations = patches - patches.mean(axis=0)
    u, s, vt = np.linalg.svd(deviations, full_matrices=False)
    error = np.square(s[5:]).sum()
    assert (pca.reconstruct(images, 5) - images).square().sum().item() == pytest.approx(
        error, rel=1e-4
    )
    nearest = u[:, :5] * s[:5] @ vt[:5] + patches.mean(axis=0)
    cube = pca.reconstruct(images, 5)[0, :, :3, 3:, :3].numpy()
    assert np.allclose(cube.ravel(), nearest[2], atol=1e-5)


def test_all_components_lose_nothing():
    images = torch.rand(4, 1, 4, 4, 4)
    assert torch.allclose(PatchPCA([images], side=2).reconstruct(images, 8), images, atol=1e-5)


def test_coarser_voxels():
    # What is constant stays so; half as many voxels keep a wave of four voxels' length no more.
    assert torch.allclose(coarsen(torch.full((1, 2, 9, 9, 9), 0.3), 3), torch.tensor(0.3))
    x = torch.arange(8)
    wave = (x // 4 % 2).float().view(1, 1, 8, 1, 1).expand(1, 1, 8, 8, 8)
    assert coarsen(wave, 2)[0, 0, :, 0, 0].tolist() == pytest.approx(
        [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    )
    assert torch.equal(coarsen(wave, 8), wave)
