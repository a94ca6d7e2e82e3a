"""Pairs of views: two cubes in one crop, the second beside one face of the first.

The views lie symmetrically about the crop's centre. The second is turned by a small angle, so that
atoms don't continue exactly from one view into the other.

Letters: b crops, v = 2 views, n atoms.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation
from torch import Tensor

from ...data.crops.dataset import CropBatch, CropDataset
from ..noise import Noise
from .hparams import ViewsHparams

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

    face: Int[Tensor, " b"]
    centres_A: Float[Tensor, "b 2 3"]
    rotations_vi: Float[Tensor, "b 2 3 3"]


def place_views(noise: Noise, views: ViewsHparams, *, resolution_A: float) -> Placement:
    """Place the views of each crop at random, independently of how the batch is composed.

    noise: of the crops: its seed is that of the dataset
    """
    faces, gaps, rotvecs = [], [], []
    for generator in noise.make_generators("views"):
        faces.append(torch.randint(len(FACES), (), generator=generator))
        gap, turn = torch.rand(2, generator=generator, dtype=torch.float64)
        axis = torch.randn(3, generator=generator, dtype=torch.float64)
        gaps.append(views.min_gap_A + gap * (views.max_gap_A - views.min_gap_A))
        rotvecs.append(turn * math.radians(views.max_turn_deg) * axis / axis.norm())
    face = torch.stack(faces)
    distances_A = views.size_voxels * resolution_A + torch.stack(gaps)
    offsets_A = NORMALS[face] * distances_A[:, None] / 2
    turns = torch.from_numpy(Rotation.from_rotvec(torch.stack(rotvecs).numpy()).as_matrix())
    return Placement(
        face=face,
        centres_A=torch.stack([-offsets_A, offsets_A], dim=1),
        rotations_vi=torch.stack([torch.eye(3).to(turns).expand_as(turns), turns], dim=1),
    )


def cut_views(batch: CropBatch, placement: Placement, *, reach_A: float) -> CropBatch:
    """Return the atoms of both views of each crop, in the frames of the views.

    reach_A: half the side of a view, and how far atoms beyond it reach; others are left out
    returns: images 2 i and 2 i + 1 are the views of image i of the batch
    """
    centres_A, rotations_vi = (x.to(batch.coords_A) for x in placement[1:])
    offsets_A = batch.coords_A[:, None] - centres_A[batch.image_index]
    coords_A = torch.einsum("nvij,nvj->nvi", rotations_vi[batch.image_index], offsets_A)
    atom, view = (coords_A.abs() < reach_A).all(dim=2).nonzero(as_tuple=True)
    return CropBatch(
        coords_A=coords_A[atom, view],
        channels=batch.channels[atom],
        image_index=2 * batch.image_index[atom] + view,
        sample_index=batch.sample_index.repeat_interleave(2),
    )


def make_views(
    dataset: CropDataset, batch: CropBatch, views: ViewsHparams, *, seed: int
) -> ViewPair:
    """Return the images of both views of each crop of a batch.

    seed: of the dataset that the crops are from
    """
    noise = Noise(seed, batch.sample_index)
    placement = place_views(noise, views, resolution_A=dataset.resolution_A)
    half_side_A = views.size_voxels * dataset.resolution_A / 2
    atoms = cut_views(batch, placement, reach_A=half_side_A + dataset.crop_sampler.radius_A)
    images = dataset.make_images(atoms, size_voxels=views.size_voxels)
    return ViewPair(images.unflatten(0, (-1, 2)), placement.face.to(images.device))


def calc_min_size_voxels(views: ViewsHparams, *, resolution_A: float) -> int:
    """Return the smallest odd side of crops that hold both views, wherever they are."""
    side_A = views.size_voxels * resolution_A
    # A cube's extent along a former axis is its side times the sum of a row of the rotation: for an
    # angle t, at most cos t + √2 sin t, until that reaches √3, the space diagonal.
    turn = min(math.radians(views.max_turn_deg), math.atan(math.sqrt(2)))
    extent_A = side_A * (math.cos(turn) + math.sqrt(2) * math.sin(turn))
    size_voxels = math.ceil((side_A + views.max_gap_A + extent_A) / resolution_A - 1e-9)
    return size_voxels + (size_voxels + 1) % 2
