"""Modulation keeps the symmetry, and changes nothing at first."""

import torch
from e3nn.o3 import Irreps

from atompaint_vae.models.blocks import ConvBlock
from atompaint_vae.nn.equivariance import calc_exact_equivariance_error
from atompaint_vae.nn.fields import parse_field_type
from atompaint_vae.nn.modulation import Modulation

IRREPS = Irreps("2x0e+1x1e+1x0e+2x2e")


def test_at_first_it_changes_nothing():
    factor, offset = Modulation(IRREPS, 5)(torch.randn(3, 5))
    assert torch.equal(factor, torch.ones(3, IRREPS.dim))
    assert torch.equal(offset, torch.zeros(3, IRREPS.dim))


def test_components_share_a_factor_and_scalars_alone_are_shifted():
    modulation = Modulation(IRREPS, 5)
    torch.nn.init.normal_(modulation.linear.weight)
    factor, offset = modulation(torch.randn(3, 5))
    copies = [factor[:, i:j] for i, j in ((0, 1), (1, 2), (2, 5), (5, 6), (6, 11), (11, 16))]
    assert all(torch.equal(x, x[:, :1].expand_as(x)) for x in copies)
    assert len({x[0, 0].item() for x in copies}) == 6
    is_shifted = (offset != 0).all(dim=0)
    assert is_shifted.nonzero().flatten().tolist() == [0, 1, 5]
    assert (offset[:, ~is_shifted] == 0).all()


def test_a_modulated_block_is_equivariant():
    torch.manual_seed(0)
    fields = parse_field_type("3x0e+2x1e+1x2e")
    block = ConvBlock(IRREPS, fields, padding=1, num_conditions=4).double()
    torch.nn.init.normal_(block.modulation.linear.weight)
    conditions = torch.randn(2, 4, dtype=torch.float64)
    image = torch.randn(2, IRREPS.dim, 5, 5, 5, dtype=torch.float64)
    error = calc_exact_equivariance_error(
        lambda x: block(x, conditions=conditions),
        image, irreps_in=block.irreps_in, irreps_out=block.irreps_out,
    )  # fmt: skip
    # Sums of thousands of rounding errors of 1e-16.
    assert error < 1e-12
    assert not torch.allclose(block(image), block(image, conditions=conditions))
