import subprocess
import sys

import pytest

SCRIPT = """
import sys

import torch
from e3nn.o3 import Irreps
from atompaint_vae.nn import FieldNonlinearity, IrrepsNorm, SteerableConv

nonlinearity = FieldNonlinearity(
    "1xfourier1+2x0e+1x1e", grid="octahedral_48", irreps=sys.argv[1]
)
conv = SteerableConv(Irreps("6x0e"), nonlinearity.irreps_in, padding=1)
norm = IrrepsNorm(conv.irreps_out)
image = torch.randn(2, 6, 5, 5, 5)

def run(image):
    between = conv(image)
    return nonlinearity(between, *norm.calc_affine(between))

def calc(function):
    conv.zero_grad()
    result = function(image)
    result.square().sum().backward()
    return [result, *(weight.grad.clone() for weight in conv.parameters())]

for compiled, plain in zip(calc(torch.compile(run)), calc(run), strict=True):
    assert torch.allclose(compiled, plain, atol=1e-4, rtol=1e-4), (compiled - plain).abs().max()
"""


@pytest.mark.slow
@pytest.mark.parametrize("irreps", ["gate", "tensor_product"])
def test_compiled_layers_do_the_same(irreps):
    # In a process of its own: torch.compile can't look through jaxtyping's checks.
    subprocess.run([sys.executable, "-c", SCRIPT, irreps], check=True, timeout=300)
