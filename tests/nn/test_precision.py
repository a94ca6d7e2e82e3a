"""Arithmetic in bfloat16 on processors that don't have it, against torch's own."""

from pathlib import Path

import pytest
import torch
from e3nn.o3 import Irreps

from atompaint_vae.nn import conv, precision
from atompaint_vae.nn.conv import SteerableConv
from atompaint_vae.nn.nonlinearities import voxelwise
from atompaint_vae.nn.nonlinearities.mixed import IRREPS_NONLINEARITIES, FieldNonlinearity
from atompaint_vae.nn.unconstrained import UnconstrainedConv

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def float32():
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)


def measure_errors(monkeypatch, module, image):
    """Relative errors of the result, and of the gradients of the image and of all parameters, with
    instructions for bfloat16 and without; what they should be is in float32."""

    def run(precision):
        module.zero_grad()
        leaf = image.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            result = module(leaf.to(precision))
        assert result.dtype == precision
        result.float().square().sum().backward()
        return [result, leaf.grad, *(p.grad for p in module.parameters())]

    exact = run(torch.float32)
    for is_slow in (False, True):
        for user in (conv, voxelwise):
            monkeypatch.setattr(user, "has_slow_bfloat16", lambda device, slow=is_slow: slow)
        rounded = run(torch.bfloat16)
        yield torch.stack([
            (x.float() - y).norm() / y.norm() for x, y in zip(rounded, exact, strict=True)
        ])


@pytest.mark.parametrize("make_conv", [SteerableConv, UnconstrainedConv])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_are_as_good_as_in_bfloat16(monkeypatch, make_conv, transposed):
    scalars = Irreps("4x0e")
    module = make_conv(scalars, scalars, stride=2, padding=1, transposed=transposed, bias=True)
    fast, slow = measure_errors(monkeypatch, module, torch.randn(2, 4, 5, 5, 5))
    # bfloat16 has 8 bits.
    assert (slow <= fast + 2**-8).all()
    assert slow.max() < 0.05


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


@pytest.mark.parametrize(
    ("fields", "irreps"),
    [("1xfourier1", "gate"), *(("2x0e+1x1e", irreps) for irreps in IRREPS_NONLINEARITIES)],
)
def test_nonlinearities_are_as_good_as_in_bfloat16(monkeypatch, fields, irreps):
    module = FieldNonlinearity(fields, grid="octahedral_48", irreps=irreps)
    image = torch.randn(2, module.irreps_in.dim, 4, 4, 4)
    fast, slow = measure_errors(monkeypatch, module, image)
    assert (slow <= fast + 2**-8).all()
    assert slow.max() < 0.05


def test_autocast_leaves_nonlinearities_in_float32(monkeypatch):
    module = FieldNonlinearity("1xfourier1", grid="octahedral_48")
    image = torch.randn(1, 10, 4, 4, 4).bfloat16()
    expected = module(image.float()).bfloat16()
    monkeypatch.setattr(voxelwise, "has_slow_bfloat16", lambda device: True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(image), expected)


def test_only_processors_are_slow():
    assert not precision.has_slow_bfloat16(torch.device("cuda"))
    with Path("/proc/cpuinfo").open() as file:
        flags = next((x.split() for x in file if x.startswith("flags")), [])
    if "avx512_bf16" in flags or "avx512f" in flags:
        assert precision.has_slow_bfloat16(CPU) == ("avx512_bf16" not in flags)
    else:
        supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert precision.has_slow_bfloat16(CPU) == (not supported)


def test_processors_that_emulate_bfloat16_are_slow(monkeypatch):
    precision._has_processor_bfloat16.cache_clear()
    # As on Intel's before Cooper Lake, of which torch says that they have it.
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert precision.has_slow_bfloat16(CPU)
    precision._has_processor_bfloat16.cache_clear()
