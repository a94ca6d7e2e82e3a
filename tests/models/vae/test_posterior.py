import pytest
import torch
from e3nn.o3 import Irreps
from torch.distributions import Normal, kl_divergence

from atompaint_vae.models.vae.posterior import LOGVAR_RANGE, Posterior, PosteriorHead


def make_posterior(seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(2, 5, 2, 2, 2, generator=generator, dtype=torch.float64)
    logvar = torch.randn(2, 3, 2, 2, 2, generator=generator, dtype=torch.float64)
    # Two scalars and a vector.
    return Posterior(mean, logvar, torch.tensor([0, 1, 2, 2, 2]))


def test_divergence_is_torchs():
    posterior = make_posterior()
    ours = posterior.calc_kl()
    normal = Normal(posterior.mean, (posterior.logvar / 2).exp())
    standard = Normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean))
    assert torch.allclose(ours, kl_divergence(normal, standard))


def test_divergence_is_the_mean_log_ratio_of_samples():
    # Monte Carlo, which knows no formula for the divergence: E_q[ln q(z) − ln p(z)].
    posterior = make_posterior(1)
    generator = torch.Generator().manual_seed(2)
    std = (posterior.logvar / 2).exp()
    ratios = []
    for _ in range(4000):
        noise = torch.randn(posterior.mean.shape, generator=generator, dtype=torch.float64)
        latent = posterior.sample(noise)
        log_q = -((latent - posterior.mean) ** 2) / (2 * std**2) - std.log()
        log_p = -(latent**2) / 2
        ratios.append((log_q - log_p).sum())
    ratios = torch.stack(ratios)
    standard_error = ratios.std() / len(ratios) ** 0.5
    assert abs(ratios.mean() - posterior.calc_kl().sum()) < 4 * standard_error
    assert standard_error < 0.01 * posterior.calc_kl().sum()


def test_divergence_of_the_prior_is_zero():
    zeros = torch.zeros(1, 3, 1, 1, 1)
    assert Posterior(zeros, zeros, torch.arange(3)).calc_kl().abs().max() == 0


def test_divergence_by_hand():
    # σ = 2, µ = 3: ½ (4 + 9 − 1 − ln 4), where the original's σ instead of σ² gives ½ (2 + 9 − …).
    mean, logvar = torch.full((1, 1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1, 1), 4.0).log()
    posterior = Posterior(mean, logvar, torch.tensor([0]))
    assert posterior.calc_kl().item() == pytest.approx(5.306853, abs=1e-6)
    # What atompaint 0.1.0 had: ½ (2 + 9 − 1 − ln 2).
    assert posterior.calc_mistaken_kl().item() == pytest.approx(4.653426, abs=1e-6)


def test_components_of_a_copy_share_their_variance():
    head = PosteriorHead(Irreps("2x0e+1x1e+1x2e"))
    assert str(head.irreps_in.simplify()) == "2x0e+1x1e+1x2e+4x0e"
    parameters = torch.randn(1, 14, 1, 1, 1)
    logvar = head(parameters).logvar[0, :, 0, 0, 0]
    given = parameters[0, 10:, 0, 0, 0]
    assert torch.equal(logvar, given[[0, 1, 2, 2, 2, 3, 3, 3, 3, 3]])
    assert torch.equal(head(parameters).mean, parameters[:, :10])
    assert head(1000 * torch.ones(1, 14, 1, 1, 1)).logvar.max() == LOGVAR_RANGE[1]


def test_samples_have_the_mean_and_variance():
    posterior = make_posterior(3)
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(20000, *posterior.mean.shape, generator=generator, dtype=torch.float64)
    samples = torch.stack([posterior.sample(n) for n in noise])
    assert torch.allclose(samples.mean(0), posterior.mean, atol=0.15)
    assert torch.allclose(samples.var(0), posterior.logvar.exp(), rtol=0.1)


def test_softplus_of_norms():
    head = PosteriorHead(Irreps("1x0e+1x1e"), std="softplus")
    assert str(head.irreps_in.simplify()) == "1x0e+1x1e+1x0e+1x1e"
    parameters = torch.tensor([0.0, 0, 0, 0, -2, 2, 3, 6]).view(1, 8, 1, 1, 1)
    std = (head(parameters).logvar / 2).exp().flatten()
    # Norms are 2 and 7.
    expected = torch.nn.Softplus()(torch.tensor([2.0, 7, 7, 7]))
    assert torch.allclose(std, expected)


def test_softplus_of_nothing_is_ln_2_and_has_a_slope():
    head = PosteriorHead(Irreps("1x0e+1x1e"), std="softplus")
    parameters = torch.zeros(1, 8, 1, 1, 1, requires_grad=True)
    logvar = head(parameters).logvar
    assert torch.allclose((logvar / 2).exp(), torch.tensor(2.0).log())
    logvar.sum().backward()
    assert parameters.grad.isfinite().all()
