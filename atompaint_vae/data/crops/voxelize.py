"""Atoms to voxel images: each voxel is the fraction of its volume that atoms fill.

The overlap of a ball with an axis-aligned cube has a closed form, `calc_overlaps`. Atoms of one
radius touch the same few voxels around them, so that form is tabulated once per radius and
interpolated trilinearly: `voxelize` does so for a whole batch, on the device of the atoms. On CPUs,
where no gradient is needed, `compiled.py` does the same in less time.

n: atoms, b: images, c: channels, x y z: voxels, k: voxels that one atom can touch along an axis
"""

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from .compiled import add_balls, find_library, look_up_balls

CHANNELS = ("C", "N", "O", "P", "S", "other")
_CHANNEL_OF_ELEMENT = {"C": 0, "N": 1, "O": 2, "P": 3, "S": 4, "SE": 4}

# Sets the table's spacing h so that the interpolation's error, h² ∂²V/8 with ∂²V <= 2πr where the
# sphere crosses a face, is at most this fraction of a voxel.
TABLE_ERROR_VOXELS = 2e-4
# At this radius, a table takes 16 MB; larger ones no longer fit the caches, so the closed form is
# calculated.
MAX_TABLE_RADIUS_VOXELS = 1.5


def channel_of_element(element: str) -> int:
    """Return the index of the element's channel: S and Se share one; unknown ones are "other"."""
    return _CHANNEL_OF_ELEMENT.get(element.upper(), len(CHANNELS) - 1)


def find_channels(elements: Iterable[str]) -> Int[np.ndarray, "n"]:
    """Return the channel of each atom, int64.

    elements: one symbol per atom; a categorical column is looked up once per category
    """
    categories = getattr(getattr(elements, "cat", None), "categories", None)
    if categories is None:
        return np.array([channel_of_element(x) for x in elements], dtype=np.int64)
    if elements.isna().any():
        raise ValueError(f"element missing in row {int(np.argmax(elements.isna()))}")
    lookup = np.array([channel_of_element(x) for x in categories], dtype=np.int64)
    return lookup[elements.cat.codes.to_numpy()]


def voxelize(
    coords_A: Float[Tensor, "n 3"],
    channels: Int[Tensor, "n"],
    image_index: Int[Tensor, "n"],
    *,
    num_images: int,
    num_channels: int,
    size_voxels: int,
    resolution_A: float = 1.0,
    radius_A: float | Float[Tensor, "n"] = 0.75,
) -> Float[Tensor, "b c x y z"]:
    """Voxelize atoms: the fraction of each voxel's volume that atoms of each channel fill.

    coords_A:    in the image's frame, whose origin is the centre of the cube: if the size is odd,
                 an atom at the origin is at the centre of the middle voxel
    image_index: the image, 0 to num_images - 1, that each atom belongs to
    radius_A:    one radius (from the table up to 1.5 voxels; above, the closed form, about 4 times
                 slower), or one per atom (closed form; waits for the GPU to find the largest)
    returns:     differentiable in the coordinates; overlapping atoms add up; of an atom at the
                 border, only the part inside counts
    raises:      ValueError for sizes or radii that aren't positive, or for a channel or an image
                 that doesn't exist; the latter on the CPU only, as the check would stall a GPU
    """
    check_indices(coords_A, channels, image_index, num_channels, num_images)
    check_grid(size_voxels, resolution_A, radius_A)
    if coords_A.dtype not in (torch.float32, torch.float64):
        coords_A = coords_A.float()

    position = coords_A / resolution_A + (size_voxels - 1) / 2
    channel = image_index.long() * num_channels + channels
    shape = num_images, num_channels, size_voxels, size_voxels, size_voxels
    image = position.new_zeros(shape)

    if isinstance(radius_A, Tensor):
        radii_voxels = (radius_A / resolution_A).to(position)
        max_radius_voxels = float(radii_voxels.detach().max()) if len(radii_voxels) else 0.0
    else:
        max_radius_voxels = radius_A / resolution_A
        radii_voxels = position.new_full((1,), max_radius_voxels).expand(len(position))
    first, last = _find_reach(max_radius_voxels)
    is_tabulated = not isinstance(radius_A, Tensor) and max_radius_voxels <= MAX_TABLE_RADIUS_VOXELS

    if library := find_library(position, radii_voxels):
        channels_of_all = image.flatten(0, 1)
        if is_tabulated:
            table, num_nodes = _make_overlap_table(max_radius_voxels, image.dtype, image.device)
            look_up_balls(
                library, position, channel, channels_of_all,
                table=table, num_nodes=num_nodes, radius=max_radius_voxels, first=first, last=last,
            )
        else:
            add_balls(library, position, channel, channels_of_all, radii_voxels)
        return image

    nearest = position.detach().round()
    offset = position - nearest
    # By mirror symmetry, overlaps are needed for offsets >= 0 only.
    flip = torch.where(offset.detach() < 0, -1, 1)
    steps = torch.arange(first, last + 1, device=offset.device)
    voxels = nearest.long()[:, :, None] + flip[:, :, None] * steps
    if is_tabulated:
        overlaps = _look_up_overlaps(offset * flip, max_radius_voxels)
    else:
        overlaps = calc_overlaps(offset * flip, radii_voxels, first, last)

    # Voxels outside are masked, not dropped: counting those that remain would wait for the GPU.
    is_inside = (voxels >= 0) & (voxels < size_voxels)
    x, y, z = voxels.clamp(0, size_voxels - 1).unbind(1)
    in_x, in_y, in_z = is_inside.to(offset.dtype).unbind(1)
    row = (channel[:, None] * size_voxels + x)[:, :, None] * size_voxels + y[:, None, :]
    flat_index = row[:, :, :, None] * size_voxels + z[:, None, None, :]
    mask = in_x[:, :, None, None] * in_y[:, None, :, None] * in_z[:, None, None, :]

    image.view(-1).index_add_(0, flat_index.flatten(), overlaps.flatten() * mask.flatten())
    return image


def calc_overlaps(
    offset: Float[Tensor, "n 3"], radius: Float[Tensor, "n"], first: int, last: int
) -> Float[Tensor, "n k k k"]:
    """Return the exact overlap of a ball with each unit cube centred on first..last on each axis.

    offset: the ball's centre; all lengths in voxels
    source: inclusion and exclusion of the planes through a cube's faces, as Strobl et al. 2016; the
            volume beyond two of them from the integral of the circular segment, by parts
    """
    # Volume of the ball between its centre and a corner, odd in each of the corner's coordinates;
    # the overlap with a cube is the alternating sum over its eight corners.
    edges = torch.arange(first, last + 2, device=offset.device) - 0.5 - offset[:, :, None]
    r = radius[:, None]
    edges = torch.minimum(torch.maximum(edges, -r[:, :, None]), r[:, :, None])
    a, b, c = edges.abs().unbind(1)
    sign_a, sign_b, sign_c = torch.where(edges < 0, -1.0, 1.0).to(offset.dtype).unbind(1)

    on_a, on_b, on_c = np.s_[:, :, None, None], np.s_[:, None, :, None], np.s_[:, None, None, :]
    r4 = r[..., None, None]
    a4, b4, c4 = a[on_a], b[on_b], c[on_c]
    caps = _calc_quarter_cap(a4, r4) + _calc_quarter_cap(b4, r4) + _calc_quarter_cap(c4, r4)
    wedges = (
        _calc_half_wedge(a, b, r)[..., None]
        + _calc_half_wedge(a, c, r)[:, :, None, :]
        + _calc_half_wedge(b, c, r)[:, None]
    )
    corner = torch.where(
        a4**2 + b4**2 + c4**2 < r4**2, a4 * b4 * c4, math.pi / 6 * r4**3 - caps + wedges
    )
    corner = corner * sign_a[on_a] * sign_b[on_b] * sign_c[on_c]
    return corner.diff(dim=1).diff(dim=2).diff(dim=3)


def _calc_quarter_cap(a: Tensor, r: Tensor) -> Tensor:
    """Return the volume of the ball where x > a, y > 0, z > 0."""
    return math.pi / 12 * (r - a) ** 2 * (2 * r + a)


def _calc_half_wedge(
    a: Float[Tensor, "n i"], b: Float[Tensor, "n j"], r: Float[Tensor, "n 1"]
) -> Float[Tensor, "n i j"]:
    """Return the volume of the ball where x > a, y > b, z > 0."""
    a, b, r = a[:, :, None], b[:, None, :], r[:, :, None]
    height2 = r**2 - a**2 - b**2
    # The floor keeps the root's gradient finite where the planes meet on the sphere.
    height = height2.clamp(min=1e-12).sqrt()
    volume = (
        r**3 / 3 * torch.atan2(r * height, a * b)
        - (a * r**2 - a**3 / 3) / 2 * torch.atan2(height, b)
        - (b * r**2 - b**3 / 3) / 2 * torch.atan2(height, a)
        + a * b * height / 3
    )
    return torch.where(height2 > 0, volume, torch.zeros_like(volume))


def _find_reach(radius_voxels: float) -> tuple[int, int]:
    """Return the first and last voxel that a ball centred 0 to 1/2 from voxel 0's can touch."""
    return 1 - math.ceil(radius_voxels + 0.5), math.ceil(radius_voxels)


def _look_up_overlaps(offset: Float[Tensor, "n 3"], radius_voxels: float) -> Float[Tensor, "n k3"]:
    """Interpolate overlaps trilinearly between the table's nodes; offset: 0 to 1/2."""
    table, num_nodes = _make_overlap_table(radius_voxels, offset.dtype, offset.device)
    position = offset * (2 * (num_nodes - 1))
    node = position.detach().floor().clamp(0, num_nodes - 2)
    upper = position - node
    weights = torch.stack([1 - upper, upper], dim=2)
    wx, wy, wz = weights.unbind(1)
    weights = (wx[:, :, None, None] * wy[:, None, :, None] * wz[:, None, None, :]).flatten(1)

    strides = torch.tensor([num_nodes**2, num_nodes, 1])
    corners = torch.cartesian_prod(*[torch.arange(2)] * 3) @ strides
    strides, corners = (x.to(node.device, non_blocking=True) for x in (strides, corners))
    rows = (node.long() * strides).sum(1)[:, None] + corners
    return embedding_bag(rows, table, per_sample_weights=weights, mode="sum")


@lru_cache(maxsize=16)
def _make_overlap_table(
    radius_voxels: float, dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, "nodes k3"], int]:
    """Tabulate overlaps, for centres on a grid over [0, 1/2]³; also return its nodes per axis."""
    spacing = math.sqrt(8 * TABLE_ERROR_VOXELS / (2 * math.pi * radius_voxels))
    num_nodes = 1 + max(4, math.ceil(0.5 / spacing))
    # A tensor made in inference mode can't be saved for a later backward pass.
    with torch.inference_mode(False), torch.no_grad():
        axis = torch.linspace(0, 0.5, num_nodes, dtype=torch.float64)
        radii = axis.new_full((num_nodes**2,), radius_voxels)
        table = [
            calc_overlaps(offsets, radii, *_find_reach(radius_voxels))
            for offsets in torch.cartesian_prod(axis, axis, axis).split(num_nodes**2)
        ]
        return torch.cat(table).flatten(1).to(dtype=dtype, device=device), num_nodes


def check_grid(size_voxels: int, resolution_A: float, radius_A: float | Float[Tensor, "n"]) -> None:
    """Raise ValueError for sizes or radii that aren't positive."""
    if size_voxels < 1:
        raise ValueError(f"size_voxels must be at least 1, not {size_voxels}")
    if not 0 < resolution_A < math.inf:
        raise ValueError(f"resolution_A must be positive, not {resolution_A:g} Å")
    if isinstance(radius_A, Tensor):
        wrong_A = radius_A[~((radius_A > 0) & radius_A.isfinite())].tolist()
    else:
        wrong_A = [] if 0 < radius_A < math.inf else [radius_A]
    if wrong_A:
        raise ValueError(f"radius_A must be positive, not {wrong_A[0]:g} Å")


def check_indices(
    coords_A: Tensor, channels: Tensor, image_index: Tensor, num_channels: int, num_images: int
) -> None:
    """Raise ValueError for atoms on the CPU whose channel or image doesn't exist."""
    if coords_A.is_cpu:
        _check_index("channel", channels, num_channels)
        _check_index("image", image_index, num_images)


def _check_index(what: str, index: Int[Tensor, "n"], num: int) -> None:
    low, high = (int(x) for x in index.aminmax()) if len(index) else (0, 0)
    if low < 0 or high >= num:
        raise ValueError(f"{what} {low if low < 0 else high} of an atom is not in 0..{num - 1}")
