"""Sets of images that scores are compared with, from real crops and from a VAE.

Letters: n m images, c channels, x y z voxels.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.crops.dataset import CropBatch, CropDataset, collate_crops
from .noise import Noise
from .scores import ImageSet
from .vae.vae import VAE

BATCH_SIZE = 8
DISPLACEMENTS_A = (0.2, 0.5, 1.0)


def iter_batches(dataset: CropDataset, indices: range) -> Iterator[CropBatch]:
    """Yield crops of a dataset in batches."""
    for start in range(0, len(indices), BATCH_SIZE):
        yield collate_crops([dataset[i] for i in indices[start : start + BATCH_SIZE]])


def make_crop_set(
    dataset: CropDataset, indices: range, *, displacement_A: float = 0.0
) -> ImageSet:
    """Make the images of some crops.

    displacement_A: standard deviation of the normal displacement of each atom, along each axis
    """
    images = []
    for batch in iter_batches(dataset, indices):
        offsets = Noise(dataset.seed, batch.sample_index).draw_displacements(batch)
        moved = batch._replace(coords_A=batch.coords_A + displacement_A * offsets)
        images.append(dataset.make_images(moved))
    return ImageSet(torch.cat(images), [dataset[i][1].structure for i in indices])


def iter_crop_references(
    crops: CropDataset, training: CropDataset, indices: range
) -> Iterator[tuple[str, ImageSet]]:
    """Yield sets of real crops: other crops, training crops, crops with displaced atoms.

    crops:   those with the reference's structures
    indices: of crops that aren't in the reference: of the very same crops, the kernel distance
             would be too small
    """
    yield "other crops", make_crop_set(crops, indices)
    yield "training crops", make_crop_set(training, range(len(indices)))
    for displacement_A in DISPLACEMENTS_A:
        name = f"atoms displaced by {displacement_A:g} Å"
        yield name, make_crop_set(crops, indices, displacement_A=displacement_A)


def iter_vae_references(
    vae: VAE, crops: ImageSet, training: Iterable[Tensor], *, seed: int
) -> Iterator[tuple[str, ImageSet]]:
    """Yield sets of images that a VAE makes, as many as there are crops.

    reconstructed crops:   the ceiling of what is generated in the VAE's latent space
    prior samples:         decoded from standard normal latents
    PCA-Gaussian latents:  decoded from latents of `sample_gaussian` of the training crops' latents,
                           their posteriors' means

    training: batches [m, c, x, y, z]; the fewer crops, the more a Gaussian latent is a mixture of
              them
    """
    yield "reconstructed crops", ImageSet(_map_batches(vae, crops.images), crops.groups)
    num_images = len(crops.images)
    generator = torch.Generator().manual_seed(seed)
    groups = [f"sample {i}" for i in range(num_images)]
    noise = torch.randn(num_images, *vae.latent_shape, generator=generator)
    yield "prior samples", ImageSet(_map_batches(vae.decode, noise), groups)
    latents = torch.cat([_map_batches(lambda x: vae.encode(x).mean, x) for x in training])
    gaussian = sample_gaussian(latents, num_images, generator=generator)
    yield "PCA-Gaussian latents", ImageSet(_map_batches(vae.decode, gaussian), groups)


def sample_gaussian(
    latents: Float[Tensor, "m c x y z"], num_samples: int, *, generator: torch.Generator
) -> Float[Tensor, "n c x y z"]:
    """Sample the normal distribution with the mean and the whole covariance of some latents.

    The covariance has a rank of m − 1 at most: samples are random combinations of the m latents.
    All principal components are sampled, without computing them.
    """
    mean = latents.mean(dim=0)
    weights = torch.randn(num_samples, len(latents), generator=generator)
    offsets = torch.tensordot(weights.to(latents), latents - mean, dims=1)
    return mean + offsets / (len(latents) - 1) ** 0.5


def _map_batches(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([function(x) for x in inputs.split(BATCH_SIZE)])
