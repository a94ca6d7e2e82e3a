"""Arithmetic in bfloat16 on processors that don't have it, against torch's own."""

import pytest
import torch
from e3nn.o3 import Irreps

from atompaint_vae.models.baselines import FreeConv
from atompaint_vae.nn import conv, precision, voxelwise
from atompaint_vae.nn.activations import FieldNonlinearity
from atompaint_vae.nn.conv import SteerableConv
from atompaint_vae.nn.fields import parse_field_type

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def float32():
    torch.set_default_dtype(torch.float32)


def run_both_ways(monkeypatch, module, image):
    """Results, and gradients of all parameters, as with and without instructions for bfloat16."""
    outcomes = []
    for is_slow in (False, True):
        for user in (conv, voxelwise):
            monkeypatch.setattr(user, "has_slow_bfloat16", lambda device, slow=is_slow: slow)
        module.zero_grad()
        leaf = image.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            result = module(leaf)
        assert result.dtype == torch.bfloat16
        result.float().square().sum().backward()
        outcomes.append([result, leaf.grad, *(p.grad for p in module.parameters())])
    return zip(*outcomes, strict=True)


@pytest.mark.parametrize("make_conv", [SteerableConv, FreeConv])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_are_as_good_as_in_bfloat16(monkeypatch, make_conv, transposed):
    scalars = Irreps("4x0e")
    module = make_conv(scalars, scalars, stride=2, padding=1, transposed=transposed, bias=True)
    image = torch.randn(2, 4, 5, 5, 5)
    for fast, slow in run_both_ways(monkeypatch, module, image):
        assert fast.dtype == slow.dtype and fast.shape == slow.shape
        # bfloat16 has 8 bits.
        assert (fast - slow).float().norm() <= 2**-7 * fast.float().norm()


def test_float32_lies_between(monkeypatch):
    monkeypatch.setattr(conv, "has_slow_bfloat16", lambda device: True)
    seen = []
    convolve = torch.nn.functional.conv3d
    monkeypatch.setattr(conv.F, "conv3d", lambda x, *a, **k: seen.append(x) or convolve(x, *a, **k))
    image = torch.randn(1, 6, 5, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        SteerableConv(Irreps("6x0e"), Irreps("2x0e+1x1e"))(image)
    (between,) = seen
    assert between.dtype == torch.float32
    assert torch.equal(between, image.bfloat16().float())


@pytest.mark.parametrize("fields", ["1xfourier1", "2x0e+1x1e"])
def test_nonlinearities_are_as_good_as_in_bfloat16(monkeypatch, fields):
    module = FieldNonlinearity(parse_field_type(fields), grid="octahedral_48", function="elu")
    image = torch.randn(2, module.irreps_in.dim, 4, 4, 4).bfloat16()
    for fast, slow in run_both_ways(monkeypatch, module, image):
        assert (fast - slow).float().norm() <= 2**-6 * fast.float().norm()


def test_only_processors_are_slow():
    assert not precision.has_slow_bfloat16(torch.device("cuda"))
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert precision.has_slow_bfloat16(CPU) == (not supported)
