"""The formulas of EDM, with the symbols of its paper: Karras et al. 2022, Elucidating the Design
Space of Diffusion-Based Generative Models.

y is data, n ~ N(0, σ²) is noise, D(y + n; σ) is the denoiser, F is the network in it.

b: images
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Preconditioning(NamedTuple):
    """D(x; σ) = c_skip x + c_out F(c_in x; c_noise), so that F's input and target have unit
    variance at each σ; source: table 1."""

    c_skip: Float[Tensor, "*b"]
    c_out: Float[Tensor, "*b"]
    c_in: Float[Tensor, "*b"]
    c_noise: Float[Tensor, "*b"]


def calc_preconditioning(sigma: Float[Tensor, "*b"], sigma_data: float) -> Preconditioning:
    """Return the coefficients of the network's input and output; source: table 1, right column."""
    var = sigma.square() + sigma_data**2
    return Preconditioning(
        c_skip=sigma_data**2 / var,
        c_out=sigma * sigma_data * var.rsqrt(),
        c_in=var.rsqrt(),
        c_noise=sigma.log() / 4,
    )


def calc_weight(sigma: Float[Tensor, "*b"], sigma_data: float) -> Float[Tensor, "*b"]:
    """Return λ(σ) = 1 / c_out², the weight of |D(y + n; σ) − y|²; source: table 1."""
    return (sigma.square() + sigma_data**2) / (sigma * sigma_data).square()


def calc_sigma(z: Float[Tensor, "*b"], P_mean: float, P_std: float) -> Float[Tensor, "*b"]:
    """Return noise levels of training from standard normal numbers: ln σ ~ N(P_mean, P_std²)."""
    return (P_mean + P_std * z).exp()


def calc_schedule(
    num_steps: int, sigma_min: float, sigma_max: float, rho: float
) -> Float[Tensor, " steps"]:
    """Return the noise levels of sampling, t_0 = σ_max to t_(N-1) = σ_min, and t_N = 0, in float64.

    source: eq. 5
    """
    i = torch.arange(num_steps, dtype=torch.float64) / max(num_steps - 1, 1)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + i * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)])
