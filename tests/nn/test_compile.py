import subprocess
import sys

import pytest
import torch

SCRIPT = """
import sys

import torch
from e3nn.o3 import Irreps
from atompaint_vae.nn import FieldNonlinearity, IrrepsNorm, SteerableConv

irreps, device = sys.argv[1:]
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
nonlinearity = FieldNonlinearity(
    "1xfourier1+2x0e+1x1e", grid="octahedral_48", irreps=irreps
).to(device)
conv = SteerableConv(Irreps("6x0e"), nonlinearity.irreps_in, padding=1).to(device)
norm = IrrepsNorm(conv.irreps_out).to(device)
image = torch.randn(2, 6, 5, 5, 5, device=device)

def run(image):
    between = conv(image)
    return nonlinearity(between, *norm.calc_affine(between))

def calc(function):
    conv.zero_grad()
    result = function(image)
    result.square().sum().backward()
    return [result, *(weight.grad.clone() for weight in conv.parameters())]

for compiled, plain in zip(calc(torch.compile(run, fullgraph=True)), calc(run), strict=True):
    assert (compiled - plain).norm() <= 1e-10 * plain.norm(), (compiled - plain).abs().max()
"""


@pytest.mark.parametrize("irreps", ["gate", "tensor_product"])
@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow),
               pytest.param("cuda", marks=pytest.mark.gpu)])  # fmt: skip
def test_compiled_layers_do_the_same(irreps, device):
    """And are one graph, without a break."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA GPU here")
    # In a process of its own: torch.compile can't look through jaxtyping's checks.
    subprocess.run([sys.executable, "-c", SCRIPT, irreps, device], check=True, timeout=300)
