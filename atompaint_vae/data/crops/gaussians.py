"""Atoms to smooth voxel images: each atom is a Gaussian with the volume and variance of a ball.

n: atoms, b: images, c: channels, x y z: voxels, k: voxels that one atom reaches along an axis
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from atompaint_vae.data.crops.voxelize import check_grid, check_indices

# The variance of a ball along an axis is r²/5.
STD_PER_RADIUS = 1 / math.sqrt(5)
# Truncates 6e-5 of an atom along each axis.
REACH_STD = 4.0


def calc_reach(radius_A: float) -> float:
    """Return the distance at which a Gaussian atom is truncated [Å]."""
    return radius_A * STD_PER_RADIUS * REACH_STD


def voxelize_gaussians(
    coords_A: Float[Tensor, "n 3"],
    channels: Int[Tensor, "n"],
    image_index: Int[Tensor, "n"],
    *,
    num_images: int,
    num_channels: int,
    size_voxels: int,
    resolution_A: float = 1.0,
    radius_A: float = 0.75,
) -> Float[Tensor, "b c x y z"]:
    """Voxelize atoms as `voxelize` does, but as Gaussians: a voxel is their mean over its volume.

    A Gaussian has the volume of a ball of the given radius, and the ball's variance, r²/5 along
    each axis. Where atoms are dense, a voxel may exceed 1. The integral over a voxel is a product
    of three differences of the normal distribution function. It is therefore exact and smooth in
    the coordinates, and takes O(atoms) memory.

    raises: ValueError as `voxelize`
    """
    check_indices(coords_A, channels, image_index, num_channels, num_images)
    check_grid(size_voxels, resolution_A, radius_A)
    if coords_A.dtype not in (torch.float32, torch.float64):
        coords_A = coords_A.float()
    std_voxels = radius_A * STD_PER_RADIUS / resolution_A
    volume_voxels = 4 / 3 * math.pi * (radius_A / resolution_A) ** 3

    position = coords_A / resolution_A + (size_voxels - 1) / 2
    nearest = position.detach().round()
    num_beyond = math.ceil(REACH_STD * std_voxels + 0.5)
    steps = torch.arange(-num_beyond, num_beyond + 1, device=position.device)
    voxels = nearest.long()[:, :, None] + steps
    faces = torch.arange(-num_beyond, num_beyond + 2, device=position.device) - 0.5
    distances = faces.to(position) - (position - nearest)[:, :, None]
    shares = torch.special.ndtr(distances / std_voxels).diff(dim=2)

    # Voxels outside are masked, not dropped: counting those that remain would wait for the GPU.
    is_inside = (voxels >= 0) & (voxels < size_voxels)
    a, b, c = (shares * is_inside).unbind(1)
    x, y, z = voxels.clamp(0, size_voxels - 1).unbind(1)
    start = (image_index.long() * num_channels + channels) * size_voxels
    row = (start[:, None] + x)[:, :, None] * size_voxels + y[:, None, :]
    flat_index = row[:, :, :, None] * size_voxels + z[:, None, None, :]
    values = volume_voxels * a[:, :, None, None] * b[:, None, :, None] * c[:, None, None, :]

    shape = num_images, num_channels, size_voxels, size_voxels, size_voxels
    image = torch.zeros(math.prod(shape), dtype=position.dtype, device=position.device)
    image.index_add_(0, flat_index.flatten(), values.flatten())
    return image.view(shape)
