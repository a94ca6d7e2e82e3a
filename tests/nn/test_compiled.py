"""Compiled gates and moments, against torch's own operations and its gradients of them."""

import os

import hypothesis.strategies as st
import pytest
import torch
from e3nn.o3 import Irreps
from hypothesis import given, settings

from atompaint_vae.nn import compiled, parse_field_type
from atompaint_vae.nn.nonlinearities.fourier import FourierNonlinearity
from atompaint_vae.nn.nonlinearities.gates import Gate
from atompaint_vae.nn.norm import InstanceNorm, IrrepsNorm

# There is one in CI, so that these tests can't be left out there unnoticed.
pytestmark = pytest.mark.skipif(
    compiled.load_library() is None and "CI" not in os.environ, reason="there is no C++ compiler"
)

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 6e-3}


def calc_gate(x, scale, shift, irreps):
    """Do what a gate does, with one operation after the other, in double precision."""
    features = x.double() * scale.double()[:, None] + shift.double()[:, None]
    num_gates = sum(count for count, irrep in irreps if irrep.l)
    gates = features[..., :num_gates].sigmoid().split(1, dim=-1)
    results, start, gate = [], num_gates, iter(gates)
    for count, irrep in irreps:
        for _ in range(count):
            copy = features[..., start : start + irrep.dim]
            start += irrep.dim
            results.append(copy * next(gate) if irrep.l else torch.nn.functional.elu(copy))
    return torch.cat(results, dim=-1)


def calc_error(found, expected):
    return (found.double() - expected).norm() / expected.norm()


def check_compiled(layer, calc_expected, shape, precision, num_threads):
    """Compare a layer's compiled code, forward and backward, with a calculation by torch."""
    x = torch.randn(shape).to(precision).requires_grad_()
    scale, shift = (torch.randn(shape[0], shape[2], requires_grad=True) for _ in range(2))
    expected = calc_expected(x, scale, shift)
    grad_result = torch.randn_like(expected).to(precision)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        code = layer.find_compiled(x.detach(), scale)
        result = code.calc(x.detach(), scale.detach(), shift.detach())
        grads = code.backpropagate(*(t.detach() for t in (x, scale, shift)), grad_result)
    finally:
        torch.set_num_threads(before)
    assert calc_error(result, expected.detach()) < TOLERANCE[precision]
    for found, grad in zip(
        grads, torch.autograd.grad(expected, (x, scale, shift), grad_result.double()), strict=True
    ):
        assert calc_error(found, grad.double()) < TOLERANCE[precision]


@settings(max_examples=30)
@given(
    parts=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 4)), min_size=1, max_size=4),
    num_groups=st.integers(1, 3),
    num_voxels=st.integers(1, 600),
    precision=st.sampled_from([torch.float32, torch.bfloat16]),
    num_threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_gates_are_those_of_torch(parts, num_groups, num_voxels, precision, num_threads, seed):
    torch.manual_seed(seed)
    irreps = Irreps([(count, (l, 1)) for count, l in parts])
    gate = Gate(irreps, function="elu")
    check_compiled(
        gate, lambda *tensors: calc_gate(*tensors, irreps),
        (num_groups, num_voxels, gate.irreps_in.dim), precision, num_threads,
    )  # fmt: skip


def calc_fourier(x, scale, shift, nonlinearity):
    """Do what Fourier fields do, with one operation after the other, in double precision."""
    synthesis, analysis = nonlinearity._exact["synthesis"], nonlinearity._exact["analysis"]
    features = x.double() * scale.double()[:, None] + shift.double()[:, None]
    values = features.unflatten(-1, (-1, len(synthesis))) @ synthesis
    return (torch.nn.functional.elu(values) @ analysis).flatten(-2)


@settings(max_examples=20, deadline=None)
@given(
    fields=st.sampled_from(["1xfourier1", "5xfourier1", "2xfourier2", "1xfourier3", "3xquotient2"]),
    num_groups=st.integers(1, 3),
    num_voxels=st.integers(1, 300),
    precision=st.sampled_from([torch.float32, torch.bfloat16]),
    num_threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_fourier_fields_are_those_of_torch(
    fields, num_groups, num_voxels, precision, num_threads, seed
):
    torch.manual_seed(seed)
    nonlinearity = FourierNonlinearity(parse_field_type(fields).terms[0])
    check_compiled(
        nonlinearity, lambda *tensors: calc_fourier(*tensors, nonlinearity),
        (num_groups, num_voxels, nonlinearity.num_out), precision, num_threads,
    )  # fmt: skip


def test_nan_stays_in_its_field():
    nonlinearity = FourierNonlinearity(parse_field_type("2xfourier1").terms[0])
    x = torch.ones(1, 40, 20)
    x[0, 17, 3] = torch.nan
    code = nonlinearity.find_compiled(x, x)
    is_nan = code.calc(x, torch.ones(1, 20), torch.zeros(1, 20)).isnan()[0]
    assert is_nan[17, :10].all()
    assert is_nan.sum() == 10


@pytest.mark.parametrize("num_voxels", [100, 5000, 40_000])
def test_any_number_of_threads_gives_the_same_to_the_last_bit(num_voxels):
    gate = Gate(Irreps("3x0e+2x1e"), function="elu")
    x, scale, shift = (torch.randn(2, n, gate.irreps_in.dim) for n in (num_voxels, 1, 1))
    grad_result = torch.randn(2, num_voxels, gate.num_out)
    code = gate.find_compiled(x, scale)
    before, found = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            moments = compiled.calc_moments(code.library, x)
            grads = code.backpropagate(x, scale[:, 0], shift[:, 0], grad_result)
            found.append([moments, code.calc(x, scale[:, 0], shift[:, 0]), *grads])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(a.equal(b) for a, b in zip(found[0], others, strict=True))


def test_extreme_values_and_nan():
    values = torch.tensor([0.0, -1e-7, 1e-3, -20, -87, -90, -1e4, 90, 1e4, torch.inf, -torch.inf])
    gate = Gate(Irreps("1x0e+1x1e"), function="elu")
    x = values[:, None].repeat(1, 5)[None]
    code = gate.find_compiled(x, x)
    ones, zeros = torch.ones(1, 5), torch.zeros(1, 5)
    result = code.calc(x, ones, zeros)[0]
    torch.testing.assert_close(result[:, 0], torch.nn.functional.elu(values), atol=1e-6, rtol=1e-6)
    expected = values.double() * values.double().sigmoid()
    torch.testing.assert_close(result[:-1, 1].double(), expected[:-1], atol=1e-6, rtol=1e-6)
    for i in range(5):
        x = torch.ones(1, 1, 5)
        x[..., i] = torch.nan
        # The first number is the gate of the last three, the second the scalar.
        touched = code.calc(x, ones, zeros)[0, 0].isnan().tolist()
        assert touched == [i == 1, *(i in (0, 2 + m) for m in range(3))]
        grad_x, *_ = code.backpropagate(x, ones, zeros, torch.ones(1, 1, 4))
        assert grad_x[0, 0, i].isnan() or i > 1


def test_scale_and_shift_of_any_layout_and_precision():
    gate = Gate(Irreps("1x0e+1x1e"), function="elu")
    x = torch.randn(2, 7, gate.irreps_in.dim)
    scale = torch.tensor(1.5).expand(2, 5)
    shift = torch.randn(5, 2, dtype=torch.float64).T
    result = gate.find_compiled(x, scale).calc(x, scale, shift)
    assert calc_error(result, calc_gate(x, scale, shift, gate.irreps_out)) < 1e-6


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("make_norm", [IrrepsNorm, InstanceNorm])
def test_layers_are_the_same_without_a_compiler(make_norm, precision, monkeypatch):
    gate = Gate(Irreps("3x0e+2x1e"), function="elu")
    norm = make_norm(gate.irreps_in)
    image = (2 * torch.randn(2, gate.irreps_in.dim, 5, 5, 5) + 1).to(precision)

    def run():
        x = image.clone().requires_grad_()
        result = gate(x, *norm.calc_affine(x))
        weights = torch.linspace(-1, 2, result.numel()).view(result.shape)
        return result, *torch.autograd.grad((result * weights).sum(), [x, *norm.parameters()])

    found = run()
    monkeypatch.setattr(compiled, "load_library", lambda: None)
    for own, other in zip(found, run(), strict=True):
        assert calc_error(own.detach(), other.detach().double()) < 4 * TOLERANCE[precision]


def test_moments_and_their_gradients():
    image = (torch.randn(3, 4, 5, 5, 5) * 3 + 2).requires_grad_()
    norm = InstanceNorm(Irreps("4x0e"))
    expected = torch.nn.functional.instance_norm(image.double())
    found = norm(image)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn(found.shape)
    grads = [torch.autograd.grad((x * weights).sum(), image)[0] for x in (found, expected)]
    torch.testing.assert_close(*grads, atol=1e-5, rtol=1e-4)
