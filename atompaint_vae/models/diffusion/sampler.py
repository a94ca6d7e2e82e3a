"""The sampler of EDM: Heun's method, from noise to data.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..noise import Noise
from .edm import calc_schedule
from .hparams import SamplerHparams


class Step(NamedTuple):
    """A sample after a step.

    x:        the noisy data
    sigma:    its noise level, 0 after the last step
    denoised: the denoiser's latest estimate of the data
    """

    x: Float[Tensor, "b c x y z"]
    sigma: float
    denoised: Float[Tensor, "b c x y z"]


class Known(NamedTuple):
    """Data that a sample must agree with.

    data:            of the whole image
    is_painted:      where data are made anew; elsewhere they are known
    num_resamplings: how often each step is done, from noise that is added anew, so that new and
                     known data become consistent

    source: Lugmayr et al. 2022, RePaint, algorithm 1
    """

    data: Float[Tensor, "#b c x y z"]
    is_painted: Bool[Tensor, "#b #c x y z"]
    num_resamplings: int = 1


Denoise = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(x [b, c, x, y, z], σ [b], an earlier estimate or None) → D(x; σ), such as a `Denoiser`."""


def sample_steps(
    denoise: Denoise,
    noise: Noise,
    like: Float[Tensor, "b c x y z"],
    sampler: SamplerHparams,
    known: Known | None = None,
) -> Iterator[Step]:
    """Draw samples, one of each of the noise's numbers; yield each step.

    A sample depends only on the noise's seed and its own number.

    like: a tensor of the samples' shape and type, on their device

    source: Karras et al. 2022, algorithm 2
    """
    sigmas = calc_schedule(
        sampler.num_steps, sampler.sigma_min, sampler.sigma_max, sampler.rho
    ).tolist()
    num_resamplings = known.num_resamplings if known else 1
    x = sigmas[0] * noise.draw_normal(like, "start")
    denoised = None
    for i, (t, t_next) in enumerate(pairwise(sigmas)):
        # The last step leads to noiseless data, which need no noise again.
        for repeat in range(num_resamplings if t_next > 0 else 1):
            if repeat > 0:
                std = (t**2 - t_next**2) ** 0.5
                x = x + std * noise.draw_normal(like, f"again {i} {repeat}")
            if known is not None:
                noisy = known.data + t * noise.draw_normal(like, f"known {i} {repeat}")
                x = torch.where(known.is_painted, x, noisy)
            x, denoised = _take_step(denoise, noise, x, t, t_next, denoised, i, repeat, sampler)
        if known is not None and t_next == 0:
            x = torch.where(known.is_painted, x, known.data)
        yield Step(x, t_next, denoised)


def _take_step(
    denoise: Denoise,
    noise: Noise,
    x: Float[Tensor, "b c x y z"],
    t: float,
    t_next: float,
    previous: Float[Tensor, "b c x y z"] | None,
    i: int,
    repeat: int,
    sampler: SamplerHparams,
) -> tuple[Float[Tensor, "b c x y z"], Float[Tensor, "b c x y z"]]:
    """Return the noisy data at the next noise level, and the estimate of the data."""
    t_hat = t
    if sampler.S_churn > 0 and sampler.S_min <= t <= sampler.S_max:
        gamma = min(sampler.S_churn / sampler.num_steps, 2**0.5 - 1)
        t_hat = t + gamma * t
        std = sampler.S_noise * (t_hat**2 - t**2) ** 0.5
        x = x + std * noise.draw_normal(x, f"churn {i} {repeat}")
    denoised = denoise(x, x.new_full((len(x),), t_hat), previous)
    d = (x - denoised) / t_hat
    x_next = x + (t_next - t_hat) * d
    if t_next > 0:
        denoised_next = denoise(x_next, x.new_full((len(x),), t_next), denoised)
        d_next = (x_next - denoised_next) / t_next
        x_next = x + (t_next - t_hat) * (d + d_next) / 2
        denoised = denoised_next
    return x_next, denoised
