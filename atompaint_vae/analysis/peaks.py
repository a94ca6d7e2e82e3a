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
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from scipy.fft import next_fast_len
from scipy.spatial import cKDTree
from torch import Tensor

from atompaint_vae.data.crops.voxelize import check_grid, voxelize

MAX_ROUNDS = 4
FIT_STEPS, LAST_FIT_STEPS = 4, 8
NUM_ITERATIONS = 8
"""Iterations of conjugate gradients for each step of a fit."""

MAX_STEP_VOXELS = 0.3
DAMPING = 0.005
"""Share of the normal equations' diagonal that is added to it."""

OUTSIDE = 0.08
"""Weight of the voxels beyond the border, which count as empty.  Otherwise noise would decide the
weight of an atom of which little is seen."""

TINY, SMALLEST = 1e-6, 1e-30

NUM_NODES = 21
"""Nodes along each axis of the table of an atom's patches, over one voxel."""

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
    options = {"resolution_A": resolution_A, "radius_A": radius_A, "min_weight": min_weight}
    return find_atoms_in_batch(image[None], **options)[0]


def find_atoms_in_batch(
    images: Float[Tensor, "b c x x x"],
    *,
    resolution_A: float = 1.0,
    radius_A: float = 0.75,
    min_weight: float = 0.5,
) -> list[FoundAtoms]:
    """Find the atoms in each of several images, as `find_atoms`."""
    check_grid(images.shape[-1], resolution_A, radius_A)
    atom = _Atom(images.shape[-1], resolution_A, radius_A)
    with torch.no_grad():
        found = _find_in_channels(images.flatten(0, 1), atom)
    found = found.select(found.weights >= min_weight)
    image_index = found.channels // images.shape[1]
    found = found._replace(channels=found.channels % images.shape[1])
    return [found.select(image_index == i) for i in range(len(images))]


def _find_in_channels(image: Float[Tensor, "c x x x"], atom: _Atom) -> FoundAtoms:
    nothing = torch.zeros(0, dtype=torch.long, device=image.device)
    atoms = FoundAtoms(image.new_zeros(0, 3), nothing, image.new_zeros(0))
    for _ in range(MAX_ROUNDS):
        # A peak between two nodes of the grid is found at both, hence the merge.
        peaks = _find_peaks(image - _draw(atoms, image, atom), atom)
        added = _merge(peaks, atom.radius_A)
        if not len(added.weights):
            break
        atoms = FoundAtoms(*(torch.cat(pair) for pair in zip(atoms, added, strict=True)))
        atoms = _merge(_fit(image, atoms, atom, FIT_STEPS), atom.radius_A)
        atoms = atoms.select(atoms.weights >= MIN_ADDED_WEIGHT / 2)
    return _fit(image, atoms, atom, LAST_FIT_STEPS) if len(atoms.weights) else atoms


def _find_peaks(rest: Float[Tensor, "c x x x"], atom: _Atom) -> FoundAtoms:
    """Find the nodes of a grid of half voxels where the residual image looks like an atom."""
    # Where the residual image is lower than this on all voxels around, an atom's weight is too.
    limit = MIN_ADDED_WEIGHT * _find_least_height(atom, rest.dtype, rest.device)
    may_be_near = _find_highest(rest) >= limit
    used = may_be_near.flatten(1).any(dim=1).nonzero()[:, 0]
    if not len(used):
        return FoundAtoms(rest.new_zeros(0, 3), used, rest.new_zeros(0))
    sharp = _sharpen(rest[used], atom)
    is_peak = (sharp > 0) & (sharp == _find_highest(sharp))
    for dim in (1, 2, 3):
        may_be_near = may_be_near.repeat_interleave(2, dim=dim)
    channels, *nodes = (is_peak & may_be_near[used]).nonzero().unbind(1)
    channels = used[channels]
    position = torch.stack(nodes, dim=1).to(rest) / 2 - 0.25
    coords_A = (position - (atom.size_voxels - 1) / 2) * atom.resolution_A
    patches, _, index, _ = _draw_patches(coords_A, channels, atom)
    energies = patches.square().sum(dim=1)
    weights = (patches * rest.flatten()[index]).sum(dim=1) / energies
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
    num_padded = next_fast_len(size + atom.patch_voxels, real=True)
    shape = (num_padded,) * 3
    one = torch.zeros(1, dtype=torch.long, device=rest.device)
    patches, *_ = _draw_patches(rest.new_zeros(1, 3), one, atom)
    kernel = torch.fft.rfftn(patches[0].view([atom.patch_voxels] * 3), s=shape).abs()
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
    """Fit coordinates and weights by Gauss-Newton steps on the squared error.

    source: Nocedal and Wright 2006, Numerical Optimization, sec. 7.1 and 10.3: each step is solved
            by a few iterations of conjugate gradients, preconditioned by each atom's own block
    """
    coords_A, channels, weights = (values.clone() for values in atoms)
    limit_A = MAX_STEP_VOXELS * atom.resolution_A
    last_node_A = (atom.size_voxels / 2 - 0.25) * atom.resolution_A
    for _ in range(num_steps):
        patches, slopes, index, hidden = _draw_patches(coords_A, channels, atom)
        ridge = OUTSIDE * hidden
        rest = image - _add_patches(patches * weights[:, None], index, image)
        # An atom without weight has no slopes.
        slopes = slopes * weights.clamp(min=MIN_ADDED_WEIGHT)[:, None, None]
        jacobian = torch.cat([slopes, patches[:, :, None]], dim=2)
        gradient = _multiply(jacobian.mT, rest.flatten()[index])
        gradient[:, 3] -= ridge * weights
        step = _solve(jacobian, index, image, ridge, gradient)
        coords_A += step[:, :3].clamp(-limit_A, limit_A)
        # Further out, so little of an atom is seen that its weight would mean nothing.
        coords_A.clamp_(-last_node_A, last_node_A)
        weights = (weights + step[:, 3]).clamp(0, 1)
    return FoundAtoms(coords_A, channels, weights)


def _solve(
    jacobian: Float[Tensor, "n p3 4"],
    index: Int[Tensor, "n p3"],
    image: Float[Tensor, "c x x x"],
    ridge: Float[Tensor, " n"],
    right: Float[Tensor, "n 4"],
) -> Float[Tensor, "n 4"]:
    """Solve the damped normal equations, nearly, by preconditioned conjugate gradients."""
    blocks = jacobian.mT @ jacobian
    damping = DAMPING * blocks.diagonal(dim1=1, dim2=2) + TINY
    damping[:, 3] += ridge
    inverses = torch.linalg.inv(blocks + damping.diag_embed())
    solution, rest = torch.zeros_like(right), right
    direction = preconditioned = _multiply(inverses, rest)
    size = (rest * preconditioned).sum()
    for _ in range(NUM_ITERATIONS):
        change = _add_patches(_multiply(jacobian, direction), index, image)
        applied = _multiply(jacobian.mT, change.flatten()[index]) + damping * direction
        length = size / (direction * applied).sum().clamp(min=SMALLEST)
        solution = solution + length * direction
        rest = rest - length * applied
        preconditioned = _multiply(inverses, rest)
        before, size = size, (rest * preconditioned).sum()
        direction = preconditioned + size / before.clamp(min=SMALLEST) * direction
    return solution


def _multiply(matrices: Float[Tensor, "n j k"], vectors: Float[Tensor, "n k"]) -> Tensor:
    return (matrices @ vectors[:, :, None])[:, :, 0]


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


def _draw(atoms: FoundAtoms, image: Float[Tensor, "c x x x"], atom: _Atom) -> Tensor:
    """Draw an image of weighted atoms, like another one in shape."""
    patches, _, index, _ = _draw_patches(atoms.coords_A, atoms.channels, atom)
    return _add_patches(patches * atoms.weights[:, None], index, image)


def _add_patches(
    patches: Float[Tensor, "n p3"], index: Int[Tensor, "n p3"], image: Float[Tensor, "c x x x"]
) -> Float[Tensor, "c x x x"]:
    total = patches.new_zeros(image.numel())
    return total.index_add(0, index.flatten(), patches.flatten()).view(image.shape)


def _draw_patches(
    coords_A: Float[Tensor, "n 3"], channels: Int[Tensor, "n"], atom: _Atom
) -> tuple[
    Float[Tensor, "n p3"], Float[Tensor, "n p3 3"], Int[Tensor, "n p3"], Float[Tensor, " n"]
]:
    """Draw each atom by itself, on the voxels around it.

    Voxels outside the image are zero.

    returns: patches, their derivatives by the coordinates [1/Å], their voxels' indices in the
             image, the sums of squares that lie outside
    """
    size, num = atom.size_voxels, atom.patch_voxels
    position = coords_A / atom.resolution_A + (size - 1) / 2
    nearest = position.round()
    values = _interpolate(_make_table(atom, coords_A.dtype, coords_A.device), position - nearest)
    voxels = nearest.long()[:, :, None] + torch.arange(num, device=coords_A.device) - num // 2
    is_inside = (voxels >= 0) & (voxels < size)
    in_x, in_y, in_z = is_inside.to(values).unbind(1)
    mask = in_x[:, :, None, None] * in_y[:, None, :, None] * in_z[:, None, None, :]
    x, y, z = voxels.clamp(0, size - 1).unbind(1)
    row = (channels[:, None] * size + x)[:, :, None] * size + y[:, None, :]
    index = row[:, :, :, None] * size + z[:, None, None, :]
    values, mask = values.unflatten(1, (num**3, 4)), mask.flatten(1)
    hidden = (values[:, :, 0].square() * (1 - mask)).sum(dim=1)
    values = values * mask[:, :, None]
    return values[:, :, 0], values[:, :, 1:], index.flatten(1), hidden


def _interpolate(table: Float[Tensor, "nodes k"], offset: Float[Tensor, "n 3"]) -> Tensor:
    """Interpolate trilinearly between the table's nodes.

    offset: from the patch's central voxel, -1/2 to 1/2
    """
    position = (offset + 0.5) * (NUM_NODES - 1)
    node = position.floor().clamp(0, NUM_NODES - 2)
    upper = position - node
    wx, wy, wz = torch.stack([1 - upper, upper], dim=2).unbind(1)
    weights = wx[:, :, None, None] * wy[:, None, :, None] * wz[:, None, None, :]
    strides = torch.tensor([NUM_NODES**2, NUM_NODES, 1], device=offset.device)
    corners = torch.cartesian_prod(*[torch.arange(2, device=offset.device)] * 3)
    rows = (node.long() * strides).sum(1)[:, None] + (corners * strides).sum(1)
    return F.embedding_bag(rows, table, per_sample_weights=weights.flatten(1), mode="sum")


def _find_least_height(atom: _Atom, dtype: torch.dtype, device: torch.device) -> float:
    """Return the least Σ p² / Σ p of an atom's patches p: each has a voxel as high as that."""
    patches = _make_table(atom, dtype, device).unflatten(1, (-1, 4))[:, :, 0]
    return float((patches.square().sum(dim=1) / patches.sum(dim=1)).min())


@lru_cache(maxsize=8)
def _make_table(
    atom: _Atom, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "nodes k"]:
    """Tabulate an atom's patch and the derivatives by its coordinates [1/Å], for offsets from the
    central voxel of -1/2 to 1/2 along each axis."""
    spacing = 1 / (NUM_NODES - 1)
    # One node more on each side, for the derivatives.
    axis = torch.linspace(-0.5 - spacing, 0.5 + spacing, NUM_NODES + 2, dtype=torch.float64)
    offsets = torch.cartesian_prod(axis, axis, axis)
    one = torch.zeros(len(offsets), dtype=torch.long)
    with torch.inference_mode(False), torch.no_grad():
        patches = voxelize(
            offsets * atom.resolution_A,
            one,
            torch.arange(len(offsets)),
            num_images=len(offsets),
            num_channels=1,
            size_voxels=atom.patch_voxels,
            resolution_A=atom.resolution_A,
            radius_A=atom.radius_A,
        ).view(*[NUM_NODES + 2] * 3, -1)
        inner = slice(1, -1)
        derivatives = [
            (patches.narrow(dim, 2, NUM_NODES) - patches.narrow(dim, 0, NUM_NODES))[
                tuple(slice(None) if i == dim else inner for i in range(3))
            ]
            / (2 * spacing * atom.resolution_A)
            for dim in range(3)
        ]
        table = torch.stack([patches[inner, inner, inner], *derivatives], dim=-1)
        return table.flatten(0, 2).flatten(1).to(dtype=dtype, device=device)
