import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from atompaint_vae.analysis.reconstructions import calc_r2
from atompaint_vae.models.encoder import check_shape
from atompaint_vae.models.vae.loss import calc_loss
from atompaint_vae.models.vae.metrics import HeldOutMetrics
from atompaint_vae.models.vae.posterior import Posterior
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.nn import (
    calc_equivariance_error,
    calc_exact_equivariance_error,
    calc_layer_errors,
)
from atompaint_vae.nn.rotations import (
    calc_representation,
    make_octahedral_group,
    rotate_voxels,
)
from atompaint_vae.nn.unconstrained import UnconstrainedConv


def make_vae(layers, latent, **options):
    torch.manual_seed(0)
    return VAE(layers, latent, num_channels=6, **options)


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("layers", "latent", "options"),
    [
        (["1xfourier1", "1xfourier2"], "1xfourier1", {}),
        (["4x0e+2x1e", "2xquotient2"], "3x0e+1x1e+1x2e", {"posterior_std": "softplus"}),
        (["4x0e+2x1e", "2x0e+1x2e"], "3x0e+1x1e", {"kernel_size": 5}),
        (["1xfourier1+2x0e", "2x0e+1x1e", "3x0e+1x2e"], "2xquotient1", {}),
    ],
)
@pytest.mark.usefixtures("_float64")
def test_whole_model_is_exactly_equivariant(layers, latent, options):
    # float64 rounding, through some ten layers.
    model = make_vae(layers, latent, size_voxels=11, convs_per_layer=2, **options)
    model(torch.rand(4, 6, 11, 11, 11))  # moves the running statistics off their start
    model.eval()
    image = torch.rand(1, 6, 11, 11, 11)
    irreps = model.irreps_in
    assert calc_exact_equivariance_error(model, image, irreps_in=irreps, irreps_out=irreps) < 1e-10

    latent_irreps = model.latent.irreps
    encode = lambda image: model.encode(image).mean  # noqa: E731
    error = calc_exact_equivariance_error(
        encode, image, irreps_in=irreps, irreps_out=latent_irreps
    )
    assert error < 1e-10
    decode_input = torch.randn(1, *model.latent_shape)
    error = calc_exact_equivariance_error(
        model.decode, decode_input, irreps_in=latent_irreps, irreps_out=irreps
    )
    assert error < 1e-10


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_whole_model_at_full_size(dtype, tolerance):
    # Two quarter turns make all 24 rotations.
    torch.set_default_dtype(dtype)
    try:
        model = make_vae(["1xfourier1", "2xfourier1"], "1xfourier1", size_voxels=35)
        image = torch.rand(1, 6, 35, 35, 35)
        model(image)
        model.eval()
        irreps = {"irreps_in": model.irreps_in, "irreps_out": model.irreps_out}
        for rotation in ([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, -1], [0, 1, 0]]):
            rotation = torch.tensor(rotation, dtype=torch.float64)
            error = calc_equivariance_error(model, image, rotation=rotation, **irreps)
            assert error < tolerance
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_float64")
def test_errors_of_layers():
    model = make_vae(["1xfourier1+2x0e"], "2x0e+1x1e", size_voxels=11).eval()
    image = torch.rand(1, 6, 11, 11, 11)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    errors = calc_layer_errors(model, image, rotation=quarter)
    assert list(errors)[-1] == ""  # the model ends last
    assert {"encoder.blocks.0.conv", "encoder.blocks.0.nonlinearity", "decoder.head"} <= set(errors)
    assert max(errors.values()) < 1e-12
    # A layer that breaks the symmetry is found, and with it whatever holds it.
    head = model.encoder.head
    head._cached_kernel = torch.randn_like(head.calc_kernel())
    errors = calc_layer_errors(model, image, rotation=quarter)
    broken = {name for name, error in errors.items() if error > 1e-3}
    assert broken == {"encoder.head", "encoder", ""}


@pytest.mark.usefixtures("_float64")
def test_posteriors_variance_turns_with_the_voxels_alone():
    model = make_vae(["2x0e+2x1e", "1xfourier1"], "2x0e+1x1e+1x2e", size_voxels=11).eval()
    image = torch.rand(1, 6, 11, 11, 11)
    rotation = make_octahedral_group()[7]
    turned = model.encode(rotate_voxels(image, rotation))
    assert torch.allclose(
        turned.copy_logvar, rotate_voxels(model.encode(image).copy_logvar, rotation), atol=1e-12
    )
    # Isotropic within a copy: noise and rotated noise are alike, so sampling is equivariant.
    std = (turned.logvar / 2).exp()[0, :, 0, 0, 0]
    matrix = calc_representation(model.latent.irreps, rotation)
    assert torch.allclose(matrix @ torch.diag(std), torch.diag(std) @ matrix, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "num_layers", "latent", "shape"),
    [
        (35, 2, "1xfourier2", (35, 9, 9, 9)),
        (35, 3, "5xfourier2", (175, 5, 5, 5)),
        (21, 2, "10x0e+5x1e+3x2e", (40, 5, 5, 5)),
    ],
)
def test_shapes_and_compression(size, num_layers, latent, shape):
    model = make_vae(["1xfourier1"] * num_layers, latent, size_voxels=size).eval()
    image = torch.rand(1, 6, size, size, size)
    assert model.encode(image).mean.shape[1:] == model.latent_shape == shape
    assert model(image).shape == image.shape
    numbers = shape[0] * shape[1] ** 3
    assert model.compression_ratio == pytest.approx(6 * size**3 / numbers)


def test_images_are_scaled_on_both_sides():
    options = {"size_voxels": 11, "image_std": 0.5}
    scaled = make_vae(["2x0e+1x1e"], "1xfourier1", **options).eval()
    plain = make_vae(["2x0e+1x1e"], "1xfourier1", size_voxels=11).eval()
    image = torch.rand(1, 6, 11, 11, 11)
    assert torch.allclose(scaled(image), 0.5 * plain(2 * image), atol=1e-6)
    assert "image_std" in scaled.state_dict()


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_network_without_symmetry(kernel_size):
    options = {"size_voxels": 11, "kernel_size": kernel_size, "convs_per_layer": 2}
    model = make_vae(["8x0e", "16x0e"], "4x0e", conv=UnconstrainedConv, **options)
    image = torch.randn(4, 6, 11, 11, 11)
    # With fresh weights, of the size that it was given, as the equivariant one is.
    peer = make_vae(["8x0e", "16x0e"], "4x0e", **options)
    assert 0.3 < model(image).std() < 3
    assert 0.3 < peer(image).std() < 3
    assert model.latent_shape == peer.latent_shape
    assert model(image).shape == image.shape
    model.eval()
    irreps = model.irreps_in
    error = calc_exact_equivariance_error(model, image, irreps_in=irreps, irreps_out=irreps)
    assert error > 0.3
    # Every number of every kernel is a weight.
    weights = sum(p.numel() for name, p in model.named_parameters() if name.endswith("conv.weight"))
    encoder, decoder = (6, 8, 8, 16, 16, 8), (4, 16, 16, 8, 8, 6)
    products = sum(i * o for channels in (encoder, decoder) for i, o in pairwise(channels))
    assert weights == kernel_size**3 * products


def test_mistakes():
    with pytest.raises(ValueError, match="the encoder has 1 layers, the decoder 2"):
        make_vae(["1x0e"], "1x1e", size_voxels=11, decoder={"layers": ["1x0e"] * 2})
    with pytest.raises(ValueError, match="can't halve an image of 10 voxels"):
        make_vae(["1x0e"], "1x0e", size_voxels=10)
    with pytest.raises(ValueError, match="can't halve an image of 1 voxels"):
        make_vae(["1x0e"] * 4, "1x0e", size_voxels=11)
    model = make_vae(["4x0e"], "2x0e", size_voxels=7)
    message = "images: expected shape n×6×7×7×7, got 1×6×9×9×9"
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 6, 9, 9, 9))
    with pytest.raises(ValueError, match="latents: expected shape n×2×3×3×3, got 3×6×4×4×4"):
        model.decode(torch.zeros(3, 6, 4, 4, 4))
    with pytest.raises(ValueError, match="48 points can't hold a fourier field of frequency 2"):
        make_vae(["1xfourier2"], "1x0e", size_voxels=11, grid="octahedral_48")


def make_posterior(batch):
    mean = torch.randn(batch, 2, 3, 3, 3)
    return Posterior(mean, torch.randn(batch, 2, 3, 3, 3), torch.arange(2))


def test_loss_by_hand():
    image, reconstruction = torch.zeros(2, 1, 2, 2, 2), torch.zeros(2, 1, 2, 2, 2)
    reconstruction[0] = 2.0  # squared errors: 8 voxels of 4, and none
    zeros = torch.zeros(2, 3, 1, 1, 1)
    posterior = Posterior(zeros + 1, zeros, torch.arange(3))  # ½ µ² each, 3 of them
    loss = calc_loss(image, reconstruction, posterior, reduction="sum", beta=10.0)
    assert (loss.data, loss.prior, loss.total) == (16, 1.5, 31)
    loss = calc_loss(image, reconstruction, posterior, reduction="mean", beta=10.0)
    assert (loss.data, loss.prior, loss.total) == (2, 1.5, 17)


def test_optimal_variance_is_the_most_likely():
    # The likelihood of all variances, on a grid, knows no formula for the best one.
    torch.manual_seed(1)
    image, reconstruction = torch.rand(2, 6, 3, 3, 3), torch.rand(2, 6, 3, 3, 3)
    zeros = torch.zeros(2, 1, 1, 1, 1)
    posterior = Posterior(zeros, zeros, torch.arange(1))
    loss = calc_loss(image, reconstruction, posterior, reduction="optimal", beta=1.0)
    nll = torch.stack([
        -torch.distributions.Normal(reconstruction, std).log_prob(image).sum() / 2
        for std in torch.linspace(0.2, 0.8, 2001)
    ])  # fmt: skip
    num_values = 6 * 27
    constant = num_values / 2 * (1 + math.log(2 * math.pi))
    assert loss.data.item() == pytest.approx(nll.min().item() - constant, abs=1e-3)


def test_free_nats_by_hand():
    image = torch.zeros(2, 1, 2, 2, 2)
    # Means of two voxels and two images: ½ µ² each.  The scalar's average is 3, the vector's 1/4.
    mean = torch.zeros(2, 4, 2, 1, 1)
    mean[:, 0] = torch.tensor([[0.0, 2], [2, 4]]).view(2, 2, 1, 1)
    mean[0, 1] = torch.tensor([1.0, 2]).view(2, 1, 1)
    mean[1, 2, 0] = 1.0
    posterior = Posterior(mean, torch.zeros(2, 2, 2, 1, 1), torch.tensor([0, 1, 1, 1]))
    options = {"reduction": "sum", "beta": 10.0}
    loss = calc_loss(image, image, posterior, **options, free_nats=0.5)
    assert loss.prior == pytest.approx((2 + 2 + 8 + 0.5 + 2 + 0.5) / 2)
    # Of a scalar 3 nats a voxel; of a vector at least ½ for each of its three numbers.
    assert loss.total == pytest.approx(10 * 2 * (3 + 3 * 0.5))
    assert calc_loss(image, image, posterior, **options, free_nats=0.01).total == pytest.approx(
        10 * loss.prior.item()
    )


def test_loss_does_not_depend_on_the_size_of_the_batch():
    torch.manual_seed(0)
    image, reconstruction = torch.rand(4, 6, 3, 3, 3), torch.rand(4, 6, 3, 3, 3)
    posterior = make_posterior(4)
    whole = calc_loss(image, reconstruction, posterior, reduction="sum", beta=1.0)
    parts = [
        calc_loss(
            image[i : i + 1],
            reconstruction[i : i + 1],
            Posterior(posterior.mean[i : i + 1], posterior.copy_logvar[i : i + 1], torch.arange(2)),
            reduction="sum",
            beta=1.0,
        ).total
        for i in range(4)
    ]
    assert torch.allclose(whole.total, torch.stack(parts).mean())


def test_metrics_over_batches_are_those_of_all_crops():
    torch.manual_seed(0)
    image = torch.rand(6, 3, 4, 4, 4) * torch.tensor([1.0, 5.0, 0.0]).view(3, 1, 1, 1)
    image[:, :, 1:3, :, 2] = 0.0
    reconstruction = image + 0.1 * torch.randn_like(image)
    posterior = make_posterior(6)
    posterior.mean[:, 1] *= 0.01  # an idle unit
    metrics = HeldOutMetrics(("A", "B", "empty"))
    for part in (slice(0, 1), slice(1, 6)):
        of_part = Posterior(posterior.mean[part], posterior.copy_logvar[part], torch.arange(2))
        loss = calc_loss(image[part], reconstruction[part], of_part, reduction="sum", beta=2.0)
        metrics.update(image[part], reconstruction[part], of_part, loss)
    got = metrics.calc()

    x, y = image.numpy(), reconstruction.numpy()
    errors = ((x - y) ** 2).sum(axis=(0, 2, 3, 4))
    variation = x.var(axis=(0, 2, 3, 4)) * 6 * 64
    assert got["r2"] == pytest.approx(1 - errors.sum() / variation.sum(), rel=1e-5)
    assert got["r2_zero"] == pytest.approx(1 - errors.sum() / (x**2).sum(), rel=1e-5)
    occupied = x.sum(axis=1) > 0
    x_occupied, y_occupied = (z.transpose(1, 0, 2, 3, 4)[:, occupied] for z in (x, y))
    variation_occupied = x_occupied.var(axis=1).sum() * occupied.sum()
    error_occupied = ((x_occupied - y_occupied) ** 2).sum()
    assert occupied.mean() == 0.875
    assert got["occupied_r2"] == pytest.approx(1 - error_occupied / variation_occupied, rel=1e-5)
    assert got["r2_B"] == pytest.approx(1 - errors[1] / variation[1], rel=1e-5)
    assert got["r2_empty"] != got["r2_empty"]  # NaN
    assert got["active_units"] == 1
    mean, logvar = posterior.mean.numpy(), posterior.copy_logvar.numpy()
    assert got["var_mean_0e"] == pytest.approx(mean.var(axis=(0, 2, 3, 4)).mean(), rel=1e-5)
    assert got["mean_var_0e"] == pytest.approx(np.exp(logvar).mean(), rel=1e-5)
    whole = calc_loss(image, reconstruction, posterior, reduction="sum", beta=2.0)
    assert got["loss"] == pytest.approx(whole.total.item(), rel=1e-5)
    assert got["prior_loss"] == pytest.approx(whole.prior.item(), rel=1e-5)


def test_r2_of_predicting_the_mean_is_zero():
    image = torch.rand(2, 6, 5, 5, 5)
    mean = image.mean(dim=(2, 3, 4), keepdim=True).expand_as(image)
    assert torch.allclose(calc_r2(image, mean), torch.zeros(2), atol=1e-5)
    assert torch.equal(calc_r2(image, image), torch.ones(2))


def test_model_reads_as_its_architecture():
    text = repr(make_vae(["1xfourier1+2x0e"], "1x0e+1x1e", size_voxels=11))
    lines = [line.strip() for line in text.splitlines()]
    # One line for each layer, what goes in and what comes out, in the order of the data.
    assert [line for line in lines if "->" in line] == [
        "image 6×11×11×11 -> latent 1x0e+1x1e, 4×5×5×5 -> image 6×11×11×11",
        "6x0e -> 1xfourier1+2x0e",
        "(conv): SteerableConv(6x0e -> 1x0e+3x1e+2x0e, kernel=3, stride=2, padding=auto)",
        "(nonlinearity): FourierNonlinearity(1xfourier1 -> 1xfourier1, elu on 48 points)"
        " + Gate(2x0e -> 2x0e, elu)",
        "(head): SteerableConv(1x0e+3x1e+2x0e -> 1x0e+1x1e+2x0e, kernel=3, padding=1)",
        "(posterior): PosteriorHead(1x0e+1x1e+2x0e -> 1x0e+1x1e)",
        "1x0e+1x1e -> 1xfourier1+2x0e",
        "(conv): SteerableConv(1x0e+1x1e -> 1x0e+3x1e+2x0e, kernel=3, padding=1)",
        "(nonlinearity): FourierNonlinearity(1xfourier1 -> 1xfourier1, elu on 48 points)"
        " + Gate(2x0e -> 2x0e, elu)",
        "(head): SteerableConv(1x0e+3x1e+2x0e -> 6x0e, kernel=3, stride=2, transposed)",
    ]


def test_one_image_is_not_a_batch():
    # Under pytest, annotations would refuse it first.
    check_shape("images", (2, 6, 7, 7, 7), (6, 7, 7, 7))
    with pytest.raises(ValueError, match=r"images: .* got 6×7×7×7; one needs a batch axis too$"):
        check_shape("images", (6, 7, 7, 7), (6, 7, 7, 7))
