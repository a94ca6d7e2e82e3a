"""Truth: the same images made with tensors, which is what makes them where gradients are needed."""

import math
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atompaint_vae.data.crops import compiled
from atompaint_vae.data.crops.voxelize import voxelize

pytestmark = pytest.mark.skipif(
    compiled.load_library() is None and "CI" not in os.environ, reason="there is no C++ compiler"
)

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
"""Tensors calculate overlaps in their own precision, as differences of a ball's volumes."""
NUM_CHANNELS = 3


def make_images(coords_A, channels, image_index, **params):
    return voxelize(
        coords_A, channels, image_index, num_images=2, num_channels=NUM_CHANNELS, **params
    )


@given(
    seed=st.integers(0, 2**32),
    size_voxels=st.integers(1, 9),
    # Few, since each has a table of its own.
    radius_A=st.sampled_from([0.4, 2.0]),
    resolution_A=st.sampled_from([0.5, 1.0]),
    is_per_atom=st.booleans(),
    precision=st.sampled_from([*TOLERANCE]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_images_are_those_of_tensors(
    seed, size_voxels, radius_A, resolution_A, is_per_atom, precision
):
    generator = torch.manual_seed(seed)
    num_atoms = 40
    # Some far outside; some at centres, faces and corners of voxels.
    coords_A = torch.randn(num_atoms, 3, generator=generator) * size_voxels * resolution_A / 2
    coords_A[:10] = (coords_A[:10] * 2 / resolution_A).round() * resolution_A / 2
    coords_A = coords_A.to(precision)
    channels = torch.randint(NUM_CHANNELS, (num_atoms,), generator=generator, dtype=torch.int32)
    image_index = torch.randint(2, (num_atoms,), generator=generator)
    if is_per_atom:
        radius_A = radius_A * (0.1 + torch.rand(num_atoms, generator=generator))
    params = {"size_voxels": size_voxels, "resolution_A": resolution_A, "radius_A": radius_A}
    images = make_images(coords_A, channels, image_index, **params)
    expected = make_images(coords_A.clone().requires_grad_(), channels, image_index, **params)
    assert images.dtype == precision
    assert not images.requires_grad
    assert expected.requires_grad
    largest_voxels = float(torch.as_tensor(radius_A).max()) / resolution_A
    tolerance = TOLERANCE[precision] * max(1, 4 / 3 * math.pi * largest_voxels**3)
    torch.testing.assert_close(images, expected.detach(), rtol=0, atol=tolerance)


def test_compiled_code_is_what_makes_them(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr("atompaint_vae.data.crops.voxelize.calc_overlaps", fail)
    monkeypatch.setattr("atompaint_vae.data.crops.voxelize._look_up_overlaps", fail)
    atom = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    for radius_A in (torch.tensor([0.75]), 2.0):
        assert make_images(*atom, size_voxels=3, radius_A=radius_A).sum() > 0
        with torch.no_grad():
            coords_A = atom[0].clone().requires_grad_()
            assert make_images(coords_A, *atom[1:], size_voxels=3, radius_A=radius_A).sum() > 0


def test_radii_have_gradients():
    radius_A = torch.tensor([0.75], dtype=torch.float64, requires_grad=True)
    atom = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([0]), torch.tensor([0])
    make_images(*atom, size_voxels=5, radius_A=radius_A).sum().backward()
    # Of the volume, the surface.
    assert float(radius_A.grad) == pytest.approx(4 * math.pi * 0.75**2)


@pytest.mark.parametrize("radius_A", [0.75, 2.0])
def test_an_atom_without_coordinates_is_seen(radius_A):
    coords_A = torch.tensor([[0.0, math.nan, 0.0], [0.0, 0.0, 0.0]])
    channels, image_index = torch.tensor([1, 0]), torch.tensor([1, 0])
    images = make_images(coords_A, channels, image_index, size_voxels=3, radius_A=radius_A)
    assert images.isnan().flatten(2).any(2).tolist() == [[False] * 3, [False, True, False]]


def test_without_a_compiler_tensors_make_them(monkeypatch):
    monkeypatch.setattr(compiled, "load_library", lambda: None)
    atom = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    images = make_images(*atom, size_voxels=5)
    assert float(images.sum()) == pytest.approx(4 / 3 * math.pi * 0.75**3, abs=2e-3)
