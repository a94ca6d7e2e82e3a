"""Random numbers of samples: functions of the run's seed, the sample's number and a stream's name.

Neither an interruption nor the number of processes changes them, and streams don't share any.
"""

import zlib

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

UNNAMED_STREAM = "posterior"
"""The noise of a VAE's posterior was there before streams had names: its seeds are without one, so
that the runs of all records can be trained again, or resumed, with the same numbers."""


def make_seed(seed: int, index: int, stream: str) -> int:
    """Return the seed of the random numbers of one sample in one stream."""
    name = () if stream == UNNAMED_STREAM else (zlib.crc32(stream.encode()),)
    sequence = np.random.SeedSequence(seed, spawn_key=(index, *name))
    return int(sequence.generate_state(1, np.uint64)[0])


class Noise:
    """The random numbers of the samples of a batch.

    seed:         the run's
    sample_index: number of each sample, on the CPU
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


class NoNoise(Noise):
    """In place of noise where only shapes count: uninitialised numbers."""

    def __init__(self):
        super().__init__(0, torch.empty(0, dtype=torch.int64))

    def draw_normal(self, like: Float[Tensor, "b ..."], stream: str) -> Float[Tensor, "b ..."]:
        return torch.empty_like(like)
