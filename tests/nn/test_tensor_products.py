"""Truth: e3nn's tensor products, vector algebra, and the variance of independent numbers."""

import pytest
import torch
from e3nn.o3 import Irreps, TensorProduct

from atompaint_vae.nn import FieldNonlinearity, TensorProductNonlinearity


@pytest.fixture(autouse=True)
def _use_float64():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def set_weights(module):
    for product in module.products:
        torch.nn.init.normal_(product.weight)


def apply_to_vectors(module, *vectors):
    """Join the channels, and take each row as a voxel."""
    image = torch.cat(vectors, dim=1).T[None, :, :, None, None]
    return module(image)[0, :, :, 0, 0].T


@pytest.mark.parametrize("degrees", [(0, 1, 2), (0, 2, 3), (1, 2), (0,)])
def test_it_is_e3nns_tensor_product(degrees):
    irreps = Irreps([(3, (l, 1)) for l in degrees])
    module = TensorProductNonlinearity(irreps, function="relu")
    set_weights(module)
    paths = [
        (i, j, k)
        for k, l in enumerate(degrees)
        for i, l1 in enumerate(degrees)
        for j, l2 in enumerate(degrees)
        if abs(l1 - l2) <= l <= l1 + l2
    ]
    theirs = TensorProduct(
        irreps, irreps, irreps, [(*path, "uuu", True) for path in paths],
        irrep_normalization="component", path_normalization="none",
    )  # fmt: skip
    weights = [column for product in module.products for column in product.weight.T]
    a, b = torch.randn(2, 10, irreps.dim)
    expected = theirs(a, b, torch.cat(weights))
    if degrees[0] == 0:
        expected = torch.cat([expected[:, :3].relu(), expected[:, 3:]], dim=1)
    # e3nn rounds its coefficients to float32 for some degrees.
    assert torch.allclose(apply_to_vectors(module, a, b), expected, atol=1e-12, rtol=1e-12)


def test_copies_of_unequal_numbers_by_hand():
    # In an order of channels that isn't that of the degrees: two vectors between three scalars.
    module = TensorProductNonlinearity(Irreps("1x0e+2x1e+2x0e"), function="elu")
    set_weights(module)
    of_scalars, of_vectors = (product.weight for product in module.products)
    a, b = torch.randn(2, 7, 9)

    def split(x):
        return x[:, [0, 7, 8]], x[:, 1:7].view(-1, 2, 3)

    (scalars_a, vectors_a), (scalars_b, vectors_b) = split(a), split(b)
    scalars, vectors = split(apply_to_vectors(module, a, b))
    for k in range(3):
        u, v = vectors_a[:, k % 2], vectors_b[:, k % 2]
        s, t = scalars_a[:, k], scalars_b[:, k]
        w_scalars, w_dot = of_scalars[k]
        expected = w_scalars * s * t + w_dot * (u * v).sum(1) / 3**0.5
        assert torch.allclose(scalars[:, k], torch.nn.functional.elu(expected))
        if k < 2:
            w_right, w_left, w_cross = of_vectors[k]
            expected = w_right * s[:, None] * v + w_left * t[:, None] * u
            expected += w_cross * torch.linalg.cross(u, v) / 2**0.5
            assert torch.allclose(vectors[:, k], expected)


def test_products_of_unit_variance():
    irreps = Irreps("4x0e+3x1e+2x2e+1x3e")
    module = TensorProductNonlinearity(irreps, function="relu")
    module.function.apply_ = lambda x: x
    result = apply_to_vectors(module, *torch.randn(2, 100_000, irreps.dim))
    # The fourth moments of products of normal numbers, below 9: 3 / √100,000 is 1 %.
    assert torch.allclose(result.var(dim=0), torch.ones(irreps.dim), atol=0.05)


def test_mixtures_with_fourier_fields():
    module = FieldNonlinearity("1xfourier1+2x0e+1x1e+1xquotient1", irreps="tensor_product")
    assert str(module.irreps_in) == "1x0e+3x1e+2x0e+1x1e+2x0e+1x1e+1x0e+1x1e"
    assert module.irreps_out.dim == 10 + 5 + 4
