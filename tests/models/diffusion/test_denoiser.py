"""The denoiser: its space, its symmetry, what is saved with it."""

import pytest
import torch
from e3nn.o3 import Irreps

from atompaint_vae.models.blocks import NORMS, SYMMETRIES
from atompaint_vae.models.diffusion.denoiser import Denoiser
from atompaint_vae.models.diffusion.hparams import SamplerHparams
from atompaint_vae.models.diffusion.sampler import sample_steps
from atompaint_vae.models.diffusion.scaling import Scaling
from atompaint_vae.models.noise import Noise
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.nn.equivariance import calc_equivariance_error, calc_exact_equivariance_error
from atompaint_vae.nn.rotations import rotate_channels, rotate_voxels

TURNS = torch.tensor(
    [[[0, -1, 0], [1, 0, 0], [0, 0, 1]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]], dtype=torch.float64
)
"""A quarter turn and a third of a turn, of which all rotations of the cube are made."""

LAYERS = ["4x0e+2x1e+1x2e", "6x0e+3x1e+2x2e", "4x0e+2x1e"]


def make_vae():
    torch.manual_seed(0)
    vae = VAE(["4x0e+2x1e"], "2x0e+1x1e", num_channels=6, size_voxels=13)
    vae(torch.rand(4, *vae.image_shape))  # moves the running statistics off their start
    return vae.eval().requires_grad_(False)


def make_denoiser(symmetry="rotation", norm="instance", **options):
    torch.manual_seed(1)
    model = Denoiser(
        LAYERS[:2],
        num_channels=6,
        size_voxels=13,
        autoencoder=make_vae(),
        conv=SYMMETRIES[symmetry],
        norm=NORMS[norm],
        convs_per_layer=2,
        blocks="residual",
        **options,
    )
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def rotate(data, irreps, rotation):
    return rotate_voxels(rotate_channels(data, irreps, rotation), rotation)


class GivenNoise(Noise):
    """Noise of other numbers, turned."""

    def __init__(self, num, turn):
        super().__init__(0, torch.arange(num))
        self.turn = turn

    def draw_normal(self, like, stream):
        return self.turn(super().draw_normal(like, stream))


@pytest.mark.parametrize("self_conditioning", [False, True])
def test_turned_noise_gives_the_turned_sample(self_conditioning):
    model = make_denoiser(self_conditioning=self_conditioning).double()
    like = torch.zeros(1, *model.data_shape, dtype=torch.float64)
    sampler = SamplerHparams(num_steps=4, S_churn=5.0)
    rotation = TURNS[1]
    turns = lambda x: x, lambda x: rotate(x, model.irreps, rotation)
    with torch.no_grad():
        straight, turned = (
            [*sample_steps(model, GivenNoise(1, turn), like, sampler)][-1].x for turn in turns
        )
    # Rounding errors of seven evaluations.
    torch.testing.assert_close(rotate(straight, model.irreps, rotation), turned, rtol=0, atol=1e-9)
    assert straight.std() > 0.1
    with torch.no_grad():
        images = model.decode(straight), model.decode(turned)
    torch.testing.assert_close(rotate_voxels(images[0], rotation), images[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_network_is_exactly_equivariant_at_every_noise_level(norm):
    model = make_denoiser(norm=norm).double()
    x = torch.randn(1, *model.data_shape, dtype=torch.float64)
    for sigma in (0.02, 1.0, 50.0):
        for turn in TURNS:
            error = calc_equivariance_error(
                lambda x, sigma=sigma: model(x, x.new_full((1,), sigma)),
                x, irreps_in=model.irreps, irreps_out=model.irreps, rotation=turn,
            )  # fmt: skip
            assert error < 1e-12
    assert not torch.allclose(model(x, x.new_tensor([0.5])), model(x, x.new_tensor([0.6])))


def test_without_symmetry_it_is_not():
    model = make_denoiser("none")
    x = torch.randn(1, *model.data_shape)
    error = calc_equivariance_error(
        lambda x: model(x, x.new_full((1,), 1.0)),
        x, irreps_in=model.irreps, irreps_out=model.irreps, rotation=TURNS[0],
    )  # fmt: skip
    assert error > 0.1


def test_a_new_denoiser_scales_its_input_only():
    model = make_denoiser()
    for parameter in model.network.head.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, *model.data_shape)
    # The best guess for normal data of unit variance: x / (1 + σ²).
    torch.testing.assert_close(model(x, torch.tensor([1.0, 3.0]))[1], x[1] / 10)


def test_scaled_data_have_unit_variance_and_rotate():
    irreps = Irreps("2x0e+1x1e+1x0e")
    data = torch.randn(50, 6, 3, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    data[:, 2:5] *= 7
    data[:, [0, 1, 5]] = 3 + 0.5 * data[:, [0, 1, 5]]
    scaling = Scaling(irreps).double()
    scaling.measure(data)
    assert scaling.mean.item() == pytest.approx(3, abs=0.05)
    assert scaling.std.tolist() == pytest.approx([0.5, 7], rel=0.05)
    scaled = scaling(data)
    assert scaled[:, [0, 1, 5]].std().item() == pytest.approx(1, abs=1e-3)
    assert scaled[:, 2:5].square().mean().item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(scaling.invert(scaled), data)
    error = calc_exact_equivariance_error(scaling, data, irreps_in=irreps, irreps_out=irreps)
    assert error < 1e-12
    assert {*scaling.state_dict()} == {"mean", "std"}


def test_data_that_do_not_vary_are_refused():
    data = torch.randn(4, 4, 3, 3, 3) * torch.eye(4)[0].view(-1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"the data of l = 1 don't vary"):
        Scaling(Irreps("1x0e+1x1e")).measure(data)


def test_latents_are_drawn_from_the_posterior_and_decoded_in_their_own_scale():
    model = make_denoiser()
    image = torch.rand(2, *model.image_shape)
    model.scaling.mean.fill_(0.3)
    model.scaling.std.copy_(torch.tensor([2.0, 5.0]))
    posterior = model.autoencoder.encode(image)
    draws = torch.stack([
        model.scaling.invert(model.encode(image, Noise(seed, torch.tensor([0, 1]))))
        for seed in range(200)
    ])  # fmt: skip
    std = (posterior.logvar / 2).exp()
    errors = (draws.mean(0) - posterior.mean) / std * 200**0.5
    assert errors.square().mean() == pytest.approx(1, abs=0.15)
    assert (draws.var(0) / std.square()).mean().item() == pytest.approx(1, abs=0.03)
    latent = draws[0]
    decoded = model.decode(model.scaling(latent))
    torch.testing.assert_close(decoded, model.autoencoder.decode(latent))


def test_without_an_autoencoder_the_data_are_images():
    model = Denoiser(LAYERS[:1], num_channels=6, size_voxels=5)
    image = torch.rand(1, 6, 5, 5, 5)
    assert model.data_shape == model.image_shape == (6, 5, 5, 5)
    data = model.encode(image, Noise(0, torch.tensor([0])))
    torch.testing.assert_close(model.decode(data), image)


def test_an_earlier_estimate_matters_only_with_self_conditioning():
    for is_used in (False, True):
        model = make_denoiser(self_conditioning=is_used)
        x, sigma = torch.randn(1, *model.data_shape), torch.tensor([1.0])
        is_same = torch.allclose(model(x, sigma), model(x, sigma, torch.ones_like(x)))
        assert is_same != is_used
        assert torch.equal(model(x, sigma), model(x, sigma, torch.zeros_like(x)))
