"""Pairs of views: two cubes in one crop, the second beside one face of the first.

The views lie symmetrically about the crop's centre. The second is turned by a small angle, so that
atoms don't continue exactly from one view into the other.

Near a border of the structure, the empty side of a view tells where the other one isn't. So several
placements are drawn for each crop, and the first is taken whose views are both filled.

Letters: b crops, k placements of each, v = 2 views, n atoms.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation
from torch import Tensor

from ...data.crops.dataset import CropBatch, CropDataset, collate_crops
from ..noise import Noise
from .hparams import NUM_PLACEMENTS, ViewsHparams

FACES = ("+x", "-x", "+y", "-y", "+z", "-z")
"""The six faces of the first view, in the order of the classes."""

NORMALS = torch.eye(3, dtype=torch.float64).repeat_interleave(2, 0) * torch.tensor(
    [[1.0], [-1.0]] * 3, dtype=torch.float64
)
"""The outward normals of the faces [6, 3]."""


class ViewPair(NamedTuple):
    """Two views of each crop, and the face of the first that the second is beside."""

    images: Float[Tensor, "b 2 c x y z"]
    face: Int[Tensor, " b"]


class Placement(NamedTuple):
    """Where the views of each crop are: coords_v = rotation_vi (coords_i - centre_i).

    i: frame of the crop, v: frame of the view
    """

    face: Int[Tensor, "*b"]
    centres_A: Float[Tensor, "*b 2 3"]
    rotations_vi: Float[Tensor, "*b 2 3 3"]


def propose_views(noise: Noise, views: ViewsHparams, *, resolution_A: float) -> Placement:
    """Return random placements [b, k], functions of the noise's seed and a sample's index alone."""
    draws = []
    for generator in noise.make_generators("views"):
        face = torch.randint(len(FACES), (NUM_PLACEMENTS,), generator=generator)
        uniform = torch.rand(2, NUM_PLACEMENTS, generator=generator, dtype=torch.float64)
        axis = torch.randn(NUM_PLACEMENTS, 3, generator=generator, dtype=torch.float64)
        draws.append((face, *uniform, axis))
    face, gap, turn, axis = map(torch.stack, zip(*draws, strict=True))
    gap_A = views.min_gap_A + gap * (views.max_gap_A - views.min_gap_A)
    angle_rad = turn * math.radians(views.max_turn_deg)
    rotvecs = angle_rad[..., None] * axis / axis.norm(dim=-1, keepdim=True)
    turns = torch.from_numpy(Rotation.from_rotvec(rotvecs.flatten(0, 1).numpy()).as_matrix())
    turns = turns.view(*face.shape, 3, 3)
    offsets_A = NORMALS[face] * (views.size_voxels * resolution_A + gap_A)[..., None] / 2
    return Placement(
        face=face,
        centres_A=torch.stack([-offsets_A, offsets_A], dim=-2),
        rotations_vi=torch.stack([torch.eye(3).to(turns).expand_as(turns), turns], dim=-3),
    )


def place_views(
    batch: CropBatch, noise: Noise, views: ViewsHparams, *, resolution_A: float
) -> Placement:
    """Return the placement [b] of the views of each crop.

    It is the first that is proposed whose views both have `min_density_atoms_nm3`, before the turn;
    else that whose emptier view has most atoms.

    noise: of the crops: its seed is that of the dataset
    """
    proposed = propose_views(noise, views, resolution_A=resolution_A)
    proposed = Placement(*(x.to(batch.coords_A.device, non_blocking=True) for x in proposed))
    half_side_A = views.size_voxels * resolution_A / 2
    centres_A = proposed.centres_A.to(batch.coords_A)
    # Both views are on an axis of the crop, and so are the atoms that are worth a look.
    near = _select((batch.coords_A.abs() < half_side_A).sum(dim=1) >= 2)
    crop = batch.image_index[near]
    offsets_A = batch.coords_A[near, None, None] - centres_A[crop]
    is_inside = (offsets_A.abs() < half_side_A).all(dim=-1)
    counts = centres_A.new_zeros(centres_A.shape[:-1])
    counts = counts.index_add(0, crop, is_inside.to(counts)).amin(dim=-1)
    enough = views.min_density_atoms_nm3 * (2 * half_side_A / 10) ** 3
    # The first of the largest: every count that is enough is as good as any other.
    chosen = counts.clamp(max=enough).max(dim=1).indices
    crops = torch.arange(len(chosen), device=chosen.device)
    return Placement(*(x[crops, chosen] for x in proposed))


def cut_views(batch: CropBatch, placement: Placement, *, reach_A: float) -> CropBatch:
    """Return the atoms of both views of each crop, in the frames of the views.

    reach_A: half the side of a view, and how far atoms beyond it reach; others may be left out
    returns: images 2 i and 2 i + 1 are the views of image i of the batch
    """
    centres_A, rotations_vi = (x.to(batch.coords_A) for x in placement[1:])
    offsets_A = batch.coords_A[:, None] - centres_A[batch.image_index]
    coords_A = torch.einsum("nvij,nvj->nvi", rotations_vi[batch.image_index], offsets_A)
    is_near = (coords_A.abs() < reach_A).all(dim=2).flatten()
    pairs = torch.arange(len(is_near), device=is_near.device)[_select(is_near)]
    atom, view = pairs // 2, pairs % 2
    return CropBatch(
        coords_A=coords_A[atom, view],
        channels=batch.channels[atom],
        image_index=2 * batch.image_index[atom] + view,
        sample_index=batch.sample_index.repeat_interleave(2),
    )


def _select(is_near: Bool[Tensor, " n"]) -> Int[Tensor, " m"] | slice:
    """Return which atoms to look at.

    On a GPU, all of them: to count fewer would wait for it, and those far away change nothing.
    """
    return is_near.nonzero()[:, 0] if is_near.is_cpu else slice(None)


def make_views(
    dataset: CropDataset, batch: CropBatch, views: ViewsHparams, placement: Placement
) -> ViewPair:
    """Return the images of both views of each crop of a batch."""
    reach_A = views.size_voxels * dataset.resolution_A / 2 + dataset.crop_sampler.radius_A
    atoms = cut_views(batch, placement, reach_A=reach_A)
    images = dataset.make_images(atoms, size_voxels=views.size_voxels)
    return ViewPair(images.unflatten(0, (-1, 2)), placement.face)


def iter_views(
    dataset: CropDataset, views: ViewsHparams, *, batch_size: int = 32
) -> Iterator[ViewPair]:
    """Yield the views of all crops of a dataset in batches, those that a test of it would see."""
    for indices in torch.arange(len(dataset)).split(batch_size):
        batch = collate_crops([dataset[i] for i in indices.tolist()])
        noise = Noise(dataset.seed, batch.sample_index)
        placement = place_views(batch, noise, views, resolution_A=dataset.resolution_A)
        yield make_views(dataset, batch, views, placement)


def calc_min_size_voxels(views: ViewsHparams, *, resolution_A: float) -> int:
    """Return the smallest odd side of crops that hold both views, wherever they are."""
    side_A = views.size_voxels * resolution_A
    # A cube's extent along a former axis is its side times the sum of a row of the rotation: for an
    # angle t, at most cos t + √2 sin t, until that reaches √3, the space diagonal.
    turn = min(math.radians(views.max_turn_deg), math.atan(math.sqrt(2)))
    extent_A = side_A * (math.cos(turn) + math.sqrt(2) * math.sin(turn))
    size_voxels = math.ceil((side_A + views.max_gap_A + extent_A) / resolution_A - 1e-9)
    return size_voxels + (size_voxels + 1) % 2
