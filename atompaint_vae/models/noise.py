"""Random numbers of samples: functions of the run's seed, the sample's index and a stream's name.

Neither interruptions nor the number of processes change them, and streams are independent.

Letters: b samples, n atoms.
"""

import zlib

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data.crops.dataset import CropBatch

UNNAMED_STREAM = "posterior"
"""The noise of a VAE's posterior is older than stream names. Its seeds don't contain one, so that
recorded runs can be resumed or trained again with the same numbers."""


def make_seed(seed: int, index: int, stream: str) -> int:
    """Return the seed of the random numbers of one sample in one stream."""
    name = () if stream == UNNAMED_STREAM else (zlib.crc32(stream.encode()),)
    sequence = np.random.SeedSequence(seed, spawn_key=(index, *name))
    return int(sequence.generate_state(1, np.uint64)[0])


class Noise:
    """Random numbers for the samples of a batch.

    seed:         of the run
    sample_index: of each sample, on the CPU
    """

    def __init__(self, seed: int, sample_index: Int[Tensor, " b"]):
        self.seed = seed
        self.sample_index = sample_index.tolist()

    def make_generators(self, stream: str) -> list[torch.Generator]:
        """Return a generator for each sample, on the CPU."""
        seeds = [make_seed(self.seed, index, stream) for index in self.sample_index]
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw_normal(self, like: Float[Tensor, "b ..."], stream: str) -> Float[Tensor, "b ..."]:
        """Return standard normal numbers of the shape of a tensor, on its device."""
        draws = [torch.randn(like.shape[1:], generator=x) for x in self.make_generators(stream)]
        return torch.stack(draws).to(like, non_blocking=True)

    def draw_displacements(self, batch: CropBatch) -> Float[Tensor, "n 3"]:
        """Return a standard normal displacement of each atom of the samples' crops.

        The atoms of a crop are contiguous.
        """
        num_atoms = batch.image_index.bincount(minlength=len(self.sample_index)).tolist()
        generators = self.make_generators("displacements")
        draws = [torch.randn(n, 3, generator=x) for n, x in zip(num_atoms, generators, strict=True)]
        return torch.cat(draws).to(batch.coords_A)


class NoNoise(Noise):
    """Uninitialised numbers, for computations where only shapes matter."""

    def __init__(self):
        super().__init__(0, torch.empty(0, dtype=torch.int64))

    def draw_normal(self, like: Float[Tensor, "b ..."], stream: str) -> Float[Tensor, "b ..."]:
        return torch.empty_like(like)
