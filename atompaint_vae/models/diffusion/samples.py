"""Samples of a denoiser, and what the atoms in them look like.

Letters: n samples, b batch, c channels, x y z voxels.
"""

import io
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...analysis.geometry import MARGIN_A, Geometry, find_geometry, pool_geometries
from ...data.crops.dataset import CropDataset, collate_crops
from ...nn.distributed import count_processes, gather_from_processes, get_rank
from ..artifacts import describe_geometry, pack_images, pool_crops
from ..noise import Noise
from .denoiser import Denoiser
from .hparams import SamplerHparams
from .sampler import Step, sample_steps

NUM_SAMPLES = 24
"""Samples of a test."""

TEST_SEED = 0
"""Seed of the samples of a test."""

NUM_STORED = 8
"""Samples, and test crops, that a run stores."""

PATH_SIGMAS = (20.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.0)
"""Noise levels of the stored path from noise to image."""


def draw_samples(
    model: Denoiser,
    sampler: SamplerHparams,
    *,
    seed: int,
    indices: Iterable[int],
) -> Iterator[Step]:
    """Draw a batch of samples; yield each step.

    seed:    of all samples
    indices: of the samples; each sample depends only on the seed and its own index
    """
    noise = Noise(seed, torch.tensor(list(indices)))
    like = torch.zeros(len(noise.sample_index), *model.data_shape).to(model.scaling.std)
    return sample_steps(model, noise, like, sampler)


def draw_images(
    model: Denoiser, sampler: SamplerHparams, *, seed: int, indices: Iterable[int]
) -> Float[Tensor, "b c x y z"]:
    """Return the images of a batch of samples, as `draw_samples` draws them."""
    with torch.no_grad():
        *_, last = draw_samples(model, sampler, seed=seed, indices=indices)
        return model.decode(last.x)


class SampleMetrics:
    """Geometry of the atoms that are found in samples, beside those of test crops.

    test: the crops of the test
    """

    def __init__(self, test: CropDataset):
        self.test = test
        self.side_A = test.size_voxels * test.resolution_A

    def calc(self, model: Denoiser, hparams: Any) -> dict[str, float]:
        """Draw samples, in float32, and return their metrics.

        bonded_reconstructed: of atoms found in the autoencoder's reconstructions of test crops,
                   which samples of its latents can't be expected to exceed
        atoms_nm3: atoms per volume [atoms/nm³]; atoms_nm3_true, of the test crops
        sample_s:  time to draw and decode a sample [s]
        others:    see `describe_geometry`, with intervals over samples
        """
        with torch.autocast(model.scaling.std.device.type, enabled=False):
            return self._calc(model, hparams)

    def _calc(self, model: Denoiser, hparams: Any) -> dict[str, float]:
        size = hparams.optim.batch_size
        found, times_s = {}, {}
        own = _choose_own(NUM_SAMPLES)
        for start in range(0, len(own), size):
            indices = own[start : start + size]
            start_s = time.perf_counter()
            images = draw_images(model, hparams.model.sampler, seed=TEST_SEED, indices=indices)
            times_s |= dict.fromkeys(indices, (time.perf_counter() - start_s) / len(indices))
            found |= dict(zip(indices, self._find_geometries(images), strict=True))
        found = _gather(found)
        crops = [self.test[i][1] for i in range(min(NUM_SAMPLES, len(self.test)))]
        true = pool_crops(crops, self.side_A)
        inner_nm3 = ((self.side_A - 2 * MARGIN_A) / 10) ** 3
        num_found = sum(x.num_atoms for x in found)
        metrics = {
            **describe_geometry(found, [f"{i:02}" for i in range(NUM_SAMPLES)], true),
            "atoms_nm3": num_found / (len(found) * inner_nm3),
            "atoms_nm3_true": true.num_atoms / (len(crops) * inner_nm3),
            "sample_s": float(np.mean(_gather(times_s))),
        }
        if model.autoencoder is not None:
            metrics["bonded_reconstructed"] = self._calc_reconstructed(model, len(crops)).bonded
        return metrics

    def _calc_reconstructed(self, model: Denoiser, num_crops: int) -> Geometry:
        found = {}
        for index in _choose_own(num_crops):
            batch = collate_crops([self.test[index]])
            image = self.test.make_images(batch).to(model.scaling.std)
            with torch.no_grad():
                (found[index],) = self._find_geometries(model.autoencoder(image))
        return pool_geometries(_gather(found))

    def _find_geometries(self, images: Float[Tensor, "b c x y z"]) -> list[Geometry]:
        grid = {"resolution_A": self.test.resolution_A, "radius_A": self.test.radius_A}
        return [find_geometry(image, **grid) for image in images.float()]


def make_stored_samples(model: Denoiser, sampler: SamplerHparams, test: CropDataset) -> bytes:
    """Return samples.npz: samples, test crops, and the first sample's path from noise to image.

    Arrays: sample [n, c, x, y, z], crop [n, c, x, y, z], path [k, c, x, y, z] images of the
    denoiser's estimates, path_sigma [k], resolution_A
    """
    indices = range(NUM_STORED)
    path, sigmas = [], []
    with torch.no_grad():
        for step in draw_samples(model, sampler, seed=TEST_SEED, indices=indices):
            path.append(step.denoised[:1])
            sigmas.append(step.sigma)
        samples = model.decode(step.x)
        path[-1] = step.x[:1]
        chosen = [int(np.abs(np.array(sigmas) - x).argmin()) for x in PATH_SIGMAS]
        path = model.decode(torch.cat([path[i] for i in dict.fromkeys(chosen)]))
    batch = collate_crops([test[i] for i in range(min(NUM_STORED, len(test)))])
    crops = test.make_images(batch)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        sample=pack_images(samples),
        crop=pack_images(crops),
        path=pack_images(path),
        path_sigma=np.array([sigmas[i] for i in dict.fromkeys(chosen)], dtype=np.float32),
        resolution_A=np.float32(test.resolution_A),
    )
    return buffer.getvalue()


def _choose_own(num: int) -> range:
    """Return this process's share of the indices below a number."""
    return range(get_rank(), num, count_processes())


def _gather(items: dict[int, Any]) -> list:
    """Return the items of all processes, in the order of one process."""
    return [x for _, x in sorted(gather_from_processes(items).items())]
