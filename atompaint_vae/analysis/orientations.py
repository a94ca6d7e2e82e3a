"""The same atoms in many orientations, and how a model treats them.

Atoms are rotated and voxelized again; unlike the rotation of an image, this interpolates nothing.

Letters: r rotations, b batch, c channels, x y z voxels, n samples.
"""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..data.crops.dataset import CropBatch, CropDataset
from ..data.crops.sampler import sample_rotation
from ..data.crops.voxelize import find_channels
from ..data.structures.table import COORDINATES
from ..nn.equivariance import make_sphere_mask
from .reconstructions import calc_r2


def make_turned_images(
    dataset: CropDataset, atoms: pd.DataFrame, index: int, rotations: Float64[Tensor, "r 3 3"]
) -> Float[Tensor, "r c x y z"]:
    """Make images of one crop, with its structure rotated about the crop's centre.

    atoms: of all structures of the dataset, as a rotation brings others of them into the cube
    index: of the crop
    """
    _, crop = dataset[index]
    own = atoms[(atoms["structure"] == crop.structure).to_numpy()]
    coords_A = (own[list(COORDINATES)].to_numpy(np.float64) - crop.centre_A) @ crop.rotation_ia.T
    sampler = dataset.crop_sampler
    reach_A = 3**0.5 * sampler.length_A / 2 + sampler.radius_A
    is_near = np.linalg.norm(coords_A, axis=1) < reach_A
    turned_A = torch.einsum("rij,nj->rni", rotations, torch.from_numpy(coords_A[is_near]))
    channels = torch.from_numpy(find_channels(own["element"])[is_near])
    num = len(rotations)
    return dataset.make_images(
        CropBatch(
            coords_A=turned_A.flatten(0, 1).float(),
            channels=channels.repeat(num),
            image_index=torch.arange(num).repeat_interleave(len(channels)),
            sample_index=torch.full((num,), index),
        )
    )


def sample_rotations(num_rotations: int, *, seed: int) -> Float64[Tensor, "r 3 3"]:
    """Sample rotations, uniform over SO(3)."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([sample_rotation(rng) for _ in range(num_rotations)]))


def calc_sphere_r2(
    image: Float[Tensor, "b c x y z"], reconstruction: Float[Tensor, "b c x y z"]
) -> Float[Tensor, " b"]:
    """Calculate R² of each image within the cube's inscribed sphere, which every rotation keeps."""
    inside = make_sphere_mask(image) > 0
    return calc_r2(image[:, :, inside, None, None], reconstruction[:, :, inside, None, None])


def calc_vector_r2(found: Float[Tensor, "n c"], predicted: Float[Tensor, "n c"]) -> float:
    """Calculate R² of vectors over all components: the fraction of their variance predicted."""
    variance = (found - found.mean(0)).square().sum()
    return (1 - (found - predicted).square().sum() / variance).item()


def calc_linear_r2(found: Float[Tensor, "n c"], before: Float[Tensor, "n c"]) -> float:
    """Calculate R² of a linear regression, with intercept, from other vectors.

    It is fitted to the first half of the samples; R² is that of the second half.
    """
    half = len(found) // 2
    inputs = torch.cat([before, before.new_ones(len(before), 1)], dim=1)
    matrix = torch.linalg.lstsq(inputs[:half], found[:half]).solution
    return calc_vector_r2(found[half:], inputs[half:] @ matrix)
