"""The formulas and the sampler, against closed forms and against diffusers."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers.schedulers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler

from atompaint_vae.models.diffusion.edm import (
    calc_preconditioning,
    calc_schedule,
    calc_sigma,
    calc_weight,
)
from atompaint_vae.models.diffusion.hparams import SamplerHparams
from atompaint_vae.models.diffusion.sampler import Known, sample_steps
from atompaint_vae.models.noise import Noise

POINTS = torch.tensor([[-1.5, 0.5], [0.3, 1.2], [1.2, -1.7]], dtype=torch.float64)


def make_image(numbers):
    """Numbers [b, c] as images of one voxel."""
    return numbers[..., None, None, None]


def denoise_normal(std):
    """The best denoiser of data ~ N(0, std²): the mean of y given y + n."""

    def denoise(x, sigma, previous):
        var = sigma.view(-1, 1, 1, 1, 1).square()
        return std**2 / (std**2 + var) * x

    return denoise


def denoise_points(x, sigma, previous):
    """The best denoiser of data that are one of the points, each as often as the others."""
    squares = (x[:, None] - make_image(POINTS)[None].to(x)).square().flatten(2).sum(2)
    weights = (-squares / (2 * sigma.square()[:, None])).softmax(dim=1)
    return make_image(weights @ POINTS.to(x))


class QuickNoise(Noise):
    """Numbers of a single generator, where samples needn't be what they are alone."""

    def __init__(self, num):
        super().__init__(0, torch.arange(num))
        self.generator = torch.Generator().manual_seed(0)

    def draw_normal(self, like, stream):
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype)


def draw(denoise, num=8, num_channels=2, seed=0, known=None, noise=None, **sampler):
    noise = noise or Noise(seed, torch.arange(num))
    like = torch.zeros(len(noise.sample_index), num_channels, 1, 1, 1, dtype=torch.float64)
    *_, last = sample_steps(denoise, noise, like, SamplerHparams(**sampler), known)
    start = Noise(seed, torch.arange(num)).draw_normal(like, "start")
    return last.x[..., 0, 0, 0], SamplerHparams(**sampler).sigma_max * start[..., 0, 0, 0]


def test_inputs_and_targets_of_the_network_have_unit_variance():
    generator = torch.Generator().manual_seed(0)
    for sigma_data in (0.5, 1.0):
        for sigma in (0.02, 0.3, 1.0, 40.0):
            c = calc_preconditioning(torch.tensor(sigma), sigma_data)
            y = sigma_data * torch.randn(200_000, generator=generator)
            x = y + sigma * torch.randn(200_000, generator=generator)
            target = (y - c.c_skip * x) / c.c_out
            assert (c.c_in * x).std() == pytest.approx(1, abs=0.01)
            assert target.std() == pytest.approx(1, abs=0.01)
            # A target independent of the input, whose error is weighted equally at each σ.
            assert abs(torch.corrcoef(torch.stack([target, x]))[0, 1]) < 0.01
            weight = calc_weight(torch.tensor(sigma), sigma_data)
            assert weight * c.c_out**2 == pytest.approx(1, rel=1e-5)


def test_noise_levels_of_training():
    z = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    log = calc_sigma(z, -0.8, 1.2).log()
    assert log.mean() == pytest.approx(-0.8, abs=0.02)
    assert log.std() == pytest.approx(1.2, abs=0.02)


def test_formulas_are_those_of_diffusers():
    other = EDMEulerScheduler(sigma_min=0.02, sigma_max=80, sigma_data=0.7)
    other.set_timesteps(18)
    ours = calc_schedule(18, 0.02, 80.0, 7.0)
    torch.testing.assert_close(ours.float(), other.sigmas, rtol=1e-5, atol=0)
    x, f = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    for sigma in (0.02, 0.9, 80.0):
        c = calc_preconditioning(torch.tensor(sigma), 0.7)
        torch.testing.assert_close(c.c_in * x, other.precondition_inputs(x, sigma))
        torch.testing.assert_close(
            c.c_skip * x + c.c_out * f, other.precondition_outputs(x, f, sigma)
        )
        torch.testing.assert_close(c.c_noise, other.precondition_noise(sigma)[0])


@pytest.mark.parametrize("make", [EDMEulerScheduler, EDMDPMSolverMultistepScheduler])
def test_samples_are_those_of_diffusers(make):
    # Different solvers of one equation, from one start, with steps enough for all.
    ours, start = draw(denoise_points, num_steps=200, sigma_min=0.02, sigma_max=80.0)
    other = make(sigma_min=0.02, sigma_max=80, sigma_data=1.0)
    other.set_timesteps(1000)
    x = make_image(start)
    for step, sigma in zip(other.timesteps, other.sigmas[:-1], strict=True):
        sigma = sigma.double()
        denoised = denoise_points(x, sigma.expand(len(x)), None)
        c = calc_preconditioning(sigma, 1.0)
        x = other.step((denoised - c.c_skip * x) / c.c_out, step, x).prev_sample
    # A few starts lie so near the border between two points that rounding decides.
    assert ((ours - x[..., 0, 0, 0]).abs() < 0.02).all(dim=1).float().mean() >= 0.85
    assert len(ours.round(decimals=1).unique(dim=0)) == 3


def test_normal_data_are_reached_with_an_error_of_second_order():
    # dx/dσ = σ x / (std² + σ²), so that x is proportional to (std² + σ²)^½.
    std, sigma_max = 0.6, 20.0
    errors = []
    for num_steps in (32, 64, 128):
        x, start = draw(
            denoise_normal(std), num_steps=num_steps, sigma_min=1e-4, sigma_max=sigma_max, rho=3.0
        )
        exact = start * std / math.hypot(std, sigma_max)
        errors.append(((x - exact).norm() / exact.norm()).item())
    assert errors[-1] < 1e-3
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(order == pytest.approx(2, abs=0.35) for order in orders)


def test_samples_of_points_are_the_points_and_equally_often():
    for churn in ({}, {"S_churn": 30.0, "S_noise": 1.0}):
        noise = QuickNoise(600)
        x, _ = draw(denoise_points, 600, noise=noise, num_steps=40, sigma_max=20.0, **churn)
        distances = torch.cdist(x, POINTS)
        assert distances.min(dim=1).values.max() < 0.01
        counts = distances.argmin(dim=1).bincount(minlength=3)
        # Standard deviation of a count: (600 · 1/3 · 2/3)^½ = 11.5.
        assert (counts - 200).abs().max() < 45


def test_churn_adds_noise_only_between_its_limits():
    same, _ = draw(denoise_points, S_churn=0.0)
    other, _ = draw(denoise_points, S_churn=20.0, S_min=200.0)
    assert torch.equal(same, other)
    inside, _ = draw(denoise_normal(1.0), S_churn=20.0)
    outside, _ = draw(denoise_normal(1.0), S_churn=0.0)
    assert not torch.allclose(inside, outside)


def test_a_sample_depends_on_its_own_number_only():
    options = {"S_churn": 10.0, "num_steps": 6}
    together, _ = draw(denoise_points, **options)
    alone, _ = draw(denoise_points, 1, noise=Noise(0, torch.tensor([5])), **options)
    assert torch.equal(together[5], alone[0])
    other_seed, _ = draw(denoise_normal(1.0), seed=1, **options)
    assert not torch.allclose(draw(denoise_normal(1.0), **options)[0], other_seed)


def test_known_data_are_kept_and_decide_the_rest():
    # Two numbers of correlation r: the second, given the first, is N(r y, 1 − r²).
    r, y, num = 0.8, 1.5, 1000
    cov = torch.tensor([[1, r], [r, 1]], dtype=torch.float64)

    def denoise(x, sigma, previous):
        var = sigma[0] ** 2
        gain = cov @ torch.linalg.inv(cov + var * torch.eye(2, dtype=torch.float64))
        return torch.einsum("ij,bjxyz->bixyz", gain, x)

    data = make_image(torch.tensor([[y, -7.0]], dtype=torch.float64))
    is_painted = make_image(torch.tensor([[False, True]]))
    means, stds = [], []
    for num_resamplings in (1, 5, 30):
        x, _ = draw(
            denoise,
            num,
            noise=QuickNoise(num),
            known=Known(data, is_painted, num_resamplings),
            num_steps=20,
            sigma_max=10.0,
        )
        assert torch.equal(x[:, 0], torch.full((num,), y, dtype=torch.float64))
        means.append(x[:, 1].mean().item())
        stds.append(x[:, 1].std().item())
    # Resampling brings the two into agreement, where known data alone are only half heeded.
    errors = [abs(mean - r * y) for mean in means]
    assert errors[0] > 2 * errors[1] > 2 * errors[2]
    assert means[2] == pytest.approx(r * y, abs=0.1)
    assert stds[2] == pytest.approx((1 - r**2) ** 0.5, abs=0.06)
