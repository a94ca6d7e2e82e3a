"""Images to atoms: the inverse of `voxelize`.

    found = find_atoms(image)
    match = match_atoms(found.coords_A, found.channels, crop.coords_A, crop.channels)

Each channel is modelled as a sum of balls, each with a weight from 0 to 1. Balls are added at the
peaks of the residual image, once sharpened; all positions and weights are then fitted together; and
balls that are too close are merged. This is repeated until there is nothing to add. Bonded atoms
need the weights: without them, a fit of three carbons in a row gets stuck with two balls.

n: atoms, m: atoms chosen, b: images, c: channels, x: voxels along an axis, y: nodes of half voxels
along an axis, v: voxels of a channel and its margin, p: voxels that a ball can touch,
q: nodes of a table along an axis, f g: frequencies
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from scipy.fft import irfftn, next_fast_len, rfftn
from scipy.sparse import csc_array
from scipy.sparse.linalg import LinearOperator, cg
from scipy.spatial import cKDTree
from torch import Tensor

from atompaint_vae.data.crops.voxelize import calc_overlaps, check_grid

MAX_ROUNDS = 4
FIT_STEPS, LAST_FIT_STEPS = 4, 8
SOLVER_STEPS = 8  # of conjugate gradients, for each step of a fit
MAX_STEP_VOXELS = 0.3

DAMPING = 0.02
"""Of a fit's steps, relative to the square of a ball's slopes: atoms nearly on top of each other
are hardly determined."""

MIN_ADDED_WEIGHT = 0.2
"""Weight from which a ball is added to fit the residual image; noise has less."""

NOISE = 0.03
"""Power of the noise, relative to that of an atom at frequency zero; it limits the sharpening."""

TABLE_SPACING = 1 / 30
"""Spacing of the table of balls, relative to their radius: drawn voxels are off by 0.002."""


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


class _Balls(NamedTuple):
    """Weighted balls of one channel; positions are in voxels from the centre of voxel 0."""

    position: Float[np.ndarray, "n 3"]
    weight: Float[np.ndarray, "n"]

    def select(self, chosen: Bool[np.ndarray, "n"]) -> "_Balls":
        return _Balls(self.position[chosen], self.weight[chosen])


def find_atoms(
    image: Float[Tensor, "c x x x"],
    *,
    resolution_A: float = 1.0,
    radius_A: float = 0.75,
    min_weight: float = 0.5,
) -> FoundAtoms:
    """Find the atoms in an image, each channel by itself, on the CPU.

    resolution_A, radius_A: as for `voxelize`
    min_weight: atoms of less weight aren't returned, nor those at the border of which the image
                shows too little; reconstructions, which are fainter than their inputs, may need
                less than 1/2
    raises:     ValueError for sizes that aren't positive
    """
    size_voxels = image.shape[-1]
    check_grid(size_voxels, resolution_A, radius_A)
    canvas = _make_canvas(size_voxels, radius_A / resolution_A)
    found = []
    for plane in image.detach().double().cpu().numpy():
        balls = _find_balls(plane, canvas)
        is_shown = canvas.calc_shown(balls) >= min(min_weight, MIN_ADDED_WEIGHT)
        found.append(balls.select(is_shown & (balls.weight >= min_weight)))
    position, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    channels = np.repeat(np.arange(len(found)), [len(balls.weight) for balls in found])
    return FoundAtoms(
        torch.from_numpy((position - (size_voxels - 1) / 2) * resolution_A).to(image),
        torch.from_numpy(channels).to(image.device),
        torch.from_numpy(weights).to(image),
    )


def _find_balls(plane: Float[np.ndarray, "x x x"], canvas: "_Canvas") -> _Balls:
    target = canvas.pad(plane)
    balls = _Balls(np.empty((0, 3)), np.empty(0))
    for _ in range(MAX_ROUNDS):
        # A peak between two nodes of the grid is found at both, hence the merge.
        added = _merge(_find_peaks(target - canvas.draw(balls), canvas), canvas.radius)
        if not len(added.weight):
            break
        balls = _Balls(*(np.concatenate(pair) for pair in zip(balls, added, strict=True)))
        balls = _merge(_fit(target, balls, canvas, FIT_STEPS), canvas.radius)
        balls = balls.select(balls.weight >= MIN_ADDED_WEIGHT / 2)
    return _fit(target, balls, canvas, LAST_FIT_STEPS) if len(balls.weight) else balls


class _Canvas:
    """A channel with a margin around it, flat, for balls of one radius; lengths are in voxels.

    By mirror symmetry, a ball is tabulated for offsets of 0 to 1/2 from its nearest voxel's centre:
    its patch, the voxels that it can touch, and the patch's derivatives. Drawing takes the nearest
    node and goes on linearly.
    """

    def __init__(self, size: int, radius: float):
        self.size, self.radius = size, radius
        self.first, self.last = -math.ceil(radius - 0.5), math.ceil(radius)
        self.margin = 2 * self.last + 1  # whole patches of balls just outside
        self.length = size + 2 * self.margin
        self.inside = self.pad(np.ones((size,) * 3))
        self.num_nodes = 1 + math.ceil(0.5 / TABLE_SPACING / max(radius, 0.5))
        self.table = self._tabulate()
        self.filters = self._make_filters()

    def pad(self, plane: Float[np.ndarray, "x x x"]) -> Float[np.ndarray, "v"]:
        return np.pad(plane, self.margin).ravel()

    def crop(self, values: Float[np.ndarray, "v"]) -> Float[np.ndarray, "x x x"]:
        inner = slice(self.margin, -self.margin)
        return values.reshape((self.length,) * 3)[inner, inner, inner]

    def draw(self, balls: _Balls) -> Float[np.ndarray, "v"]:
        patches, index = self.draw_patches(balls.position)
        return self.add_up(patches[:, 0] * balls.weight[:, None], index)

    def add_up(
        self, values: Float[np.ndarray, "n p"], index: Int[np.ndarray, "n p"]
    ) -> Float[np.ndarray, "v"]:
        total = np.bincount(index.ravel(), values.ravel(), minlength=self.length**3)
        return total.astype(float, copy=False)  # numpy sums nothing up to integers

    def draw_patches(
        self, position: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "n 4 p"], Int[np.ndarray, "n p"]]:
        """Draw each ball by itself: its patch and the derivatives along x, y, z, zero outside the
        image; also return the voxels' indices."""
        position = position.clip(-self.last - 1, self.size + self.last)  # nothing to see beyond
        nearest = position.round()
        offset = position - nearest
        flip = np.where(offset < 0, -1, 1)
        scale = 2 * (self.num_nodes - 1)
        node = (abs(offset) * scale).round().astype(np.intp)
        patches = self.table[tuple(node.T)]
        patches[:, 0] += np.einsum("ni,nip->np", abs(offset) - node / scale, patches[:, 1:])
        patches[:, 1:] *= flip[:, :, None]

        strides = np.array([self.length**2, self.length, 1])
        steps = (flip * strides)[:, :, None] * np.arange(self.first, self.last + 1)
        x, y, z = steps[:, 0, :, None, None], steps[:, 1, :, None], steps[:, 2]
        origin = (nearest.astype(np.intp) + self.margin) @ strides
        index = origin[:, None, None, None] + x + y[:, None] + z[:, None, None]
        index = index.reshape(len(position), patches.shape[2])
        return patches * self.inside[index][:, None], index

    def calc_shown(self, balls: _Balls) -> Float[np.ndarray, "n"]:
        """Return how much of a ball each of them adds to the image."""
        patches, _ = self.draw_patches(balls.position)
        return balls.weight * patches[:, 0].sum(axis=1) / (4 / 3 * math.pi * self.radius**3)

    def sharpen(self, plane: Float[np.ndarray, "x x x"]) -> Float[np.ndarray, "y y y"]:
        """Deconvolve an image with a ball, by a Wiener filter, at two nodes per voxel and axis.

        source: Wiener 1949, Extrapolation, Interpolation, and Smoothing of Stationary Time Series
        """
        shape = (self.filters.shape[3],) * 3
        spectrum = rfftn(plane.astype(np.float32), shape)
        sharp = irfftn(self.filters * spectrum, shape, axes=(3, 4, 5))
        sharp = sharp[..., : self.size, : self.size, : self.size]
        return sharp.transpose(3, 0, 4, 1, 5, 2).reshape((2 * self.size,) * 3)

    def _tabulate(self) -> Float[np.ndarray, "q q q 4 p"]:
        axis = torch.linspace(0, 0.5, self.num_nodes, dtype=torch.float64)
        nodes = torch.cartesian_prod(axis, axis, axis)
        radii = nodes.new_full((len(nodes),), self.radius)

        def calc(offsets):
            return calc_overlaps(offsets, radii, self.first, self.last).flatten(1)

        steps = 1e-4 * torch.eye(3, dtype=torch.float64)
        slopes = [(calc(nodes + step) - calc(nodes - step)) / 2e-4 for step in steps]
        table = torch.stack([calc(nodes), *slopes], dim=1)
        return table.unflatten(0, (self.num_nodes,) * 3).numpy()

    def _make_filters(self) -> Complex[np.ndarray, "2 2 2 f f g"]:
        """Return a filter for each of the eight nodes in a voxel."""
        num = next_fast_len(self.size + 2 * self.last + 1, real=True)
        patch = self.table[0, 0, 0, 0].reshape((self.last - self.first + 1,) * 3)
        kernel = abs(rfftn(patch, (num,) * 3))
        wiener = kernel / (kernel**2 + NOISE * kernel[0, 0, 0] ** 2)
        shifts = np.array([-0.25, 0.25])
        xy = np.exp(2j * np.pi * np.outer(shifts, np.fft.fftfreq(num)))
        z = np.exp(2j * np.pi * np.outer(shifts, np.fft.rfftfreq(num)))
        return np.einsum("ax,by,cz,xyz->abcxyz", xy, xy, z, wiener).astype(np.complex64)


_make_canvas = lru_cache(maxsize=8)(_Canvas)


def _find_peaks(rest: Float[np.ndarray, "v"], canvas: _Canvas) -> _Balls:
    """Find the nodes of a grid of half voxels where the residual image looks like an atom."""
    plane = canvas.crop(rest)
    # All nodes are a quarter voxel off. A ball's weight is at most max(rest) Σ patch / Σ patch².
    patch = canvas.draw_patches(np.full((1, 3), canvas.size // 2 + 0.25))[0][0, 0]
    height = plane
    for _ in range(canvas.last):
        height = _find_highest(height)
    is_high = height >= MIN_ADDED_WEIGHT * np.square(patch).sum() / patch.sum()
    if not is_high.any():
        return _Balls(np.empty((0, 3)), np.empty(0))
    sharp = canvas.sharpen(plane)
    nodes = np.argwhere((sharp > 0) & (sharp == _find_highest(sharp)))
    position = nodes[is_high[tuple(nodes.T // 2)]] / 2 - 0.25
    patches, index = canvas.draw_patches(position)
    patches = patches[:, 0]
    weight = (patches * rest[index]).sum(axis=1) / np.square(patches).sum(axis=1)
    return _Balls(position, weight.clip(max=1)).select(weight >= MIN_ADDED_WEIGHT)


def _find_highest(values: Float[np.ndarray, "y y y"]) -> Float[np.ndarray, "y y y"]:
    """Return the maximum of each node and the 26 around it, five times faster than scipy."""
    for axis in range(3):
        before = np.moveaxis(values, axis, 0)
        highest = before.copy()
        np.maximum(highest[1:], before[:-1], out=highest[1:])
        np.maximum(highest[:-1], before[1:], out=highest[:-1])
        values = np.moveaxis(highest, 0, axis)
    return values


def _fit(target: Float[np.ndarray, "v"], balls: _Balls, canvas: _Canvas, num_steps: int) -> _Balls:
    """Fit positions and weights by least squares.

    source: Levenberg-Marquardt with an active set of bounds, Nocedal and Wright 2006, Numerical
            Optimization, sections 10.3 and 16.7; steps are solved for by conjugate gradients
    """
    position, weight = balls
    for _ in range(num_steps):
        patches, index = canvas.draw_patches(position)
        rest = target - canvas.add_up(patches[:, 0] * weight[:, None], index)
        pull = (patches[:, 0] * rest[index]).sum(axis=1)
        is_bound = ((weight == 1) & (pull > 0)) | ((weight == 0) & (pull < 0))
        patches[is_bound, 0] = 0
        # A ball without weight has no slope.
        patches[:, 1:] *= weight.clip(min=MIN_ADDED_WEIGHT)[:, None, None]
        # The floor is for balls of which the image shows little.
        scale = np.sqrt(np.square(patches).sum(axis=2)) + 0.03
        step = _solve(patches / scale[:, :, None], index, rest) / scale
        position = position + step[:, 1:].clip(-MAX_STEP_VOXELS, MAX_STEP_VOXELS)
        weight = (weight + step[:, 0]).clip(0, 1)
    return _Balls(position, weight)


def _solve(
    columns: Float[np.ndarray, "n 4 p"], index: Int[np.ndarray, "n p"], rest: Float[np.ndarray, "v"]
) -> Float[np.ndarray, "n 4"]:
    """Solve the damped least squares problem nearly: what times the columns makes up the rest."""
    rows = np.repeat(index.astype(np.int32), 4, axis=0)
    starts = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    jacobian = csc_array((columns.ravel(), rows.ravel(), starts), shape=(len(rest), len(rows)))
    transposed = jacobian.T
    normal = LinearOperator(
        (len(rows),) * 2,
        lambda step: transposed @ (jacobian @ step) + DAMPING * step,
        dtype=float,
    )
    return cg(normal, transposed @ rest, maxiter=SOLVER_STEPS)[0].reshape(-1, 4)


def _merge(balls: _Balls, radius: float) -> _Balls:
    """Merge balls within a radius: the lighter one into the heavier one."""
    position, weight = balls.position.copy(), balls.weight.copy()
    pairs = cKDTree(position).query_pairs(radius, output_type="ndarray")
    is_kept = np.ones(len(weight), dtype=bool)
    for i, j in pairs[np.argsort(-weight[pairs].max(axis=1), kind="stable")]:
        if is_kept[i] and is_kept[j]:
            heavy, light = (i, j) if weight[i] >= weight[j] else (j, i)
            total = weight[i] + weight[j]
            if total > 0:
                share = weight[light] / total
                position[heavy] += share * (position[light] - position[heavy])
            weight[heavy] = min(1, total)
            is_kept[light] = False
    return _Balls(position, weight).select(is_kept)
