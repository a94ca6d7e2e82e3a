"""Patches of voxels: against strided convolutions that pick one voxel each, and there and back."""

import hypothesis.strategies as st
import torch
from e3nn.o3 import Irreps
from hypothesis import given

from atompaint_vae.models.blocks import SYMMETRIES
from atompaint_vae.models.diffusion.unet import UNet, join_patches, split_patches
from atompaint_vae.nn.fields import parse_field_type


def test_each_channel_of_patches_is_one_place_in_them():
    image = torch.rand(2, 3, 6, 6, 6)
    # A kernel for each place of a cube of 2³ voxels, the last axis first to change.
    kernel = torch.eye(8).view(8, 1, 2, 2, 2).repeat(3, 1, 1, 1, 1)
    expected = torch.nn.functional.conv3d(image, kernel, stride=2, groups=3)
    torch.testing.assert_close(split_patches(image, 2), expected)


@given(st.integers(1, 9), st.integers(1, 4))
def test_patches_join_to_the_same_image(size_voxels, patch_size):
    image = torch.arange(2.0 * size_voxels**3).view(1, 2, *[size_voxels] * 3)
    patches = split_patches(image, patch_size)
    assert patches.sum() == image.sum()  # what is added is zero
    torch.testing.assert_close(join_patches(patches, patch_size, size_voxels), image)


def test_a_network_on_patches_has_the_resolutions_of_patches():
    layers = [parse_field_type(f"{n}x0e") for n in (4, 5, 6)]
    network = UNet(
        Irreps("6x0e"), layers, Irreps("6x0e"), size_voxels=21, patch_size=2,
        conv=SYMMETRIES["none"], function="elu",
    )  # fmt: skip
    sizes = []
    for level in network.down:
        level[0].register_forward_hook(lambda _, x, y: sizes.append(y.shape[-1]))
    image = network(torch.rand(2, 6, 21, 21, 21), torch.zeros(2))
    assert image.shape == (2, 6, 21, 21, 21)
    assert sizes == [11, 5, 3]
