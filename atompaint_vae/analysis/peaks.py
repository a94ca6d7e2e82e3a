"""Images to atoms: the inverse of `voxelize`.

    found = find_atoms(image)
    match = match_atoms(found.coords_A, found.channels, crop.coords_A, crop.channels)

An image is modelled as a sum of balls, each with a weight from 0 to 1. Balls are added at the peaks
of the residual image, once sharpened; all positions and weights are then fitted together; and balls
that are too close are merged. This is repeated until there is nothing to add. Bonded atoms need the
weights: without them, a fit of three carbons in a row gets stuck with two balls.

n: atoms, c: channels, x y z: voxels, p: voxels of an atom's patch along an axis
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from atompaint_vae.data.crops.voxelize import check_grid, voxelize

MAX_ROUNDS = 4
FIT_STEPS, LAST_FIT_STEPS = 30, 80
COORD_RATE_A, WEIGHT_RATE = 0.1, 0.05
ADAM_BETAS = (0.8, 0.95)  # shorter averages than the default, for so few steps

MIN_ADDED_WEIGHT = 0.2
"""Weight from which a ball is added to fit the residual image; noise has less."""

NOISE = 0.03
"""Power of the noise, relative to that of an atom at frequency zero; it limits the sharpening."""


class FoundAtoms(NamedTuple):
    """
    Atoms found in an image, in its frame.

    weights: fraction of each atom's full image that is there, 0 to 1
    """

    coords_A: Float[Tensor, "n 3"]
    channels: Int[Tensor, "n"]
    weights: Float[Tensor, "n"]

    def select(self, chosen: Bool[Tensor, "n"] | Int[Tensor, "m"]) -> "FoundAtoms":
        return FoundAtoms(*(values[chosen] for values in self))


class _Atom(NamedTuple):
    """A ball of the radius of all atoms, on a grid of voxels."""

    size_voxels: int
    resolution_A: float
    radius_A: float

    @property
    def patch_voxels(self) -> int:
        return 2 * math.ceil(self.radius_A / self.resolution_A) + 1


def find_atoms(
    image: Float[Tensor, "c x x x"],
    *,
    resolution_A: float = 1.0,
    radius_A: float = 0.75,
    min_weight: float = 0.5,
) -> FoundAtoms:
    """Find the atoms in an image, each channel by itself.

    resolution_A, radius_A: as for `voxelize`
    min_weight: atoms of less weight aren't returned; reconstructions, which are fainter than their
                inputs, may need less than 1/2
    raises:     ValueError for sizes that aren't positive
    """
    check_grid(image.shape[-1], resolution_A, radius_A)
    atom = _Atom(image.shape[-1], resolution_A, radius_A)
    atoms = FoundAtoms(
        image.new_zeros(0, 3),
        torch.zeros(0, dtype=torch.long, device=image.device),
        image.new_zeros(0),
    )
    for _ in range(MAX_ROUNDS):
        # A peak between two nodes of the grid is found at both, hence the merge.
        added = _merge(_find_peaks(image - _draw(atoms, image.shape, atom), atom), radius_A)
        if not len(added.weights):
            break
        atoms = FoundAtoms(*(torch.cat(pair) for pair in zip(atoms, added, strict=True)))
        atoms = _merge(_fit(image, atoms, atom, FIT_STEPS), radius_A)
        atoms = atoms.select(atoms.weights >= MIN_ADDED_WEIGHT / 2)
    if len(atoms.weights):
        atoms = _fit(image, atoms, atom, LAST_FIT_STEPS)
    return atoms.select(atoms.weights >= min_weight)


def _find_peaks(rest: Float[Tensor, "c x x x"], atom: _Atom) -> FoundAtoms:
    """Find the nodes of a grid of half voxels where the residual image looks like an atom."""
    sharp = _sharpen(rest, atom)
    is_peak = (sharp > 0) & (sharp == _find_highest(sharp))
    channels, *nodes = is_peak.nonzero().unbind(1)
    position = torch.stack(nodes, dim=1).to(rest) / 2 - 0.25
    coords_A = (position - (atom.size_voxels - 1) / 2) * atom.resolution_A
    patches, index = _draw_patches(coords_A, channels, atom)
    energies = patches.square().sum(dim=(1, 2, 3))
    weights = (patches * rest.flatten()[index]).sum(dim=(1, 2, 3)) / energies
    return FoundAtoms(coords_A, channels, weights.clamp(max=1)).select(weights >= MIN_ADDED_WEIGHT)


def _find_highest(values: Float[Tensor, "c y y y"]) -> Float[Tensor, "c y y y"]:
    """Return the maximum of each node and the 26 around it, ten times faster than max_pool3d."""
    highest = values.clone()
    for dim in (1, 2, 3):
        before, num = highest.clone(), values.shape[dim] - 1
        highest.narrow(dim, 0, num).clamp_(min=before.narrow(dim, 1, num))
        highest.narrow(dim, 1, num).clamp_(min=before.narrow(dim, 0, num))
    return highest


def _sharpen(rest: Float[Tensor, "c x x x"], atom: _Atom) -> Float[Tensor, "c y y y"]:
    """Deconvolve an image with an atom, by a Wiener filter, at two nodes per voxel and axis.

    source: Wiener 1949, Extrapolation, Interpolation, and Smoothing of Stationary Time Series
    """
    size = len(rest[0])
    num_padded = size + atom.patch_voxels
    shape = (num_padded,) * 3
    one = torch.zeros(1, dtype=torch.long, device=rest.device)
    patches, _ = _draw_patches(rest.new_zeros(1, 3), one, atom._replace(size_voxels=size))
    kernel = torch.fft.rfftn(patches[0], s=shape).abs()
    inverse = kernel / (kernel.square() + NOISE * kernel[0, 0, 0] ** 2)
    spectrum = torch.fft.rfftn(rest, s=shape) * inverse

    frequencies = torch.fft.fftfreq(num_padded, device=rest.device)
    positive = torch.fft.rfftfreq(num_padded, device=rest.device)
    sharp = rest.new_zeros(len(rest), size, 2, size, 2, size, 2)
    for x, y, z in np.ndindex(2, 2, 2):
        turns = (
            (x / 2 - 0.25) * frequencies[:, None, None]
            + (y / 2 - 0.25) * frequencies[:, None]
            + (z / 2 - 0.25) * positive
        )
        phases = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
        shifted = torch.fft.irfftn(spectrum * phases, s=shape)
        sharp[:, :, x, :, y, :, z] = shifted[:, :size, :size, :size]
    return sharp.reshape(len(rest), 2 * size, 2 * size, 2 * size)


def _fit(image: Tensor, atoms: FoundAtoms, atom: _Atom, num_steps: int) -> FoundAtoms:
    """Fit coordinates and weights by gradient descent on the squared error."""
    coords_A = atoms.coords_A.clone().requires_grad_()
    weights = atoms.weights.clone().requires_grad_()
    rates = (COORD_RATE_A, WEIGHT_RATE)
    groups = [
        {"params": [values], "lr": rate}
        for values, rate in zip((coords_A, weights), rates, strict=True)
    ]
    optimizer = torch.optim.Adam(groups, betas=ADAM_BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / num_steps)
    with torch.enable_grad():
        for _ in range(num_steps):
            optimizer.zero_grad()
            drawn = _draw(FoundAtoms(coords_A, atoms.channels, weights), image.shape, atom)
            ((drawn - image).square().sum() / 2).backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                weights.clamp_(0, 1)
    return FoundAtoms(coords_A.detach(), atoms.channels, weights.detach())


def _merge(atoms: FoundAtoms, radius_A: float) -> FoundAtoms:
    """Merge atoms of a channel within a radius: the lighter one into the heavier one."""
    coords_A = atoms.coords_A.cpu().double().numpy().copy()
    weights = atoms.weights.cpu().double().numpy().copy()
    channels = atoms.channels.cpu().numpy()
    pairs = cKDTree(coords_A).query_pairs(radius_A, output_type="ndarray")
    pairs = pairs[channels[pairs[:, 0]] == channels[pairs[:, 1]]]
    is_kept = np.ones(len(weights), dtype=bool)
    for i, j in pairs[np.argsort(-weights[pairs].max(axis=1), kind="stable")]:
        if is_kept[i] and is_kept[j]:
            heavy, light = (i, j) if weights[i] >= weights[j] else (j, i)
            total = weights[i] + weights[j]
            if total > 0:
                share = weights[light] / total
                coords_A[heavy] += share * (coords_A[light] - coords_A[heavy])
            weights[heavy] = min(1, total)
            is_kept[light] = False
    merged = FoundAtoms(
        torch.from_numpy(coords_A).to(atoms.coords_A),
        atoms.channels,
        torch.from_numpy(weights).to(atoms.weights),
    )
    return merged.select(torch.from_numpy(is_kept).to(atoms.channels.device))


def _draw(
    atoms: FoundAtoms, shape: Sequence[int], atom: _Atom
) -> Float[Tensor, "c x x x"]:
    """Draw an image of weighted atoms, differentiable in coordinates and weights."""
    patches, index = _draw_patches(atoms.coords_A, atoms.channels, atom)
    values = patches * atoms.weights[:, None, None, None]
    image = values.new_zeros(math.prod(shape))
    return image.index_add(0, index.flatten(), values.flatten()).view(shape)


def _draw_patches(
    coords_A: Float[Tensor, "n 3"], channels: Int[Tensor, "n"], atom: _Atom
) -> tuple[Float[Tensor, "n p p p"], Int[Tensor, "n p p p"]]:
    """Draw each atom by itself, on the voxels around it; also return their indices in the image.

    Voxels outside the image are zero.
    """
    size, num = atom.size_voxels, atom.patch_voxels
    position = coords_A / atom.resolution_A + (size - 1) / 2
    nearest = position.detach().round()
    patches = voxelize(
        (position - nearest) * atom.resolution_A,
        torch.zeros_like(channels),
        torch.arange(len(coords_A), device=coords_A.device),
        num_images=max(1, len(coords_A)),
        num_channels=1,
        size_voxels=num,
        resolution_A=atom.resolution_A,
        radius_A=atom.radius_A,
    )[: len(coords_A), 0]
    voxels = nearest.long()[:, :, None] + torch.arange(num, device=coords_A.device) - num // 2
    is_inside = (voxels >= 0) & (voxels < size)
    in_x, in_y, in_z = is_inside.to(patches).unbind(1)
    mask = in_x[:, :, None, None] * in_y[:, None, :, None] * in_z[:, None, None, :]
    x, y, z = voxels.clamp(0, size - 1).unbind(1)
    row = (channels[:, None] * size + x)[:, :, None] * size + y[:, None, :]
    return patches * mask, row[:, :, :, None] * size + z[:, None, None, :]
