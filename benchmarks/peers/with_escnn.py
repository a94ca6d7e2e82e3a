"""Build the networks with escnn, from the layers that its own examples use."""

import warnings

from escnn import nn as escnn_nn
from escnn.gspaces import rot3dOnR3
from torch import Tensor, nn

from .cases import NUM_IMAGE_CHANNELS, BlockCase, Case, VAECase
from .harness import Block, VAEStep

MAX_HARMONIC = 6

SHELLS = {
    "rings": [0.0, 1.0, 2**0.5, 3**0.5],
    "sigma": [0.005] * 4,
    "frequencies_cutoff": lambda radius: MAX_HARMONIC,
}
"""One radial function for each shell of a 3³ kernel, and all harmonics that couple two fields."""

DEFAULT_GRID_POINTS = 96

warnings.filterwarnings("ignore", module="escnn")


class Wrapped(nn.Module):
    """A module of escnn that takes and returns plain tensors."""

    def __init__(self, module: escnn_nn.EquivariantModule):
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> Tensor:
        return self.module(self.module.in_type(image)).tensor


def build(case: Case) -> nn.Module:
    maker = Maker(case)
    if isinstance(case, VAECase):
        return VAEStep(case, maker.make_encoder(case), maker.make_decoder(case))
    assert isinstance(case, BlockCase)
    return Block(case, Wrapped(maker.make_block(case)))


class Maker:
    """Builds the layers of one case, which share a frequency and a grid."""

    def __init__(self, case: Case):
        self.space = rot3dOnR3()
        self.group = self.space.fibergroup
        self.irreps = self.group.bl_irreps(case.frequency)
        # The grid has 24 N points.
        num_points = case.grid_points or DEFAULT_GRID_POINTS
        self.grid = self.group.grid("thomson_cube", N=num_points // 24)
        assert len(self.grid) == num_points
        self.image = self.make_scalars(NUM_IMAGE_CHANNELS)
        self.num_scalars_of_field = len(case.field_degrees)

    def make_scalars(self, count: int) -> escnn_nn.FieldType:
        return escnn_nn.FieldType(self.space, count * [self.space.trivial_repr])

    def make_fields(self, count: int) -> escnn_nn.FieldType:
        return escnn_nn.FourierFieldType(self.space, count, self.irreps)

    def make_conv(
        self, type_in, type_out, *, stride=1, padding=1, transposed=False, bias=False, **radial
    ) -> escnn_nn.EquivariantModule:
        make = escnn_nn.R3ConvTransposed if transposed else escnn_nn.R3Conv
        return make(type_in, type_out, 3, stride=stride, padding=padding, bias=bias, **radial)

    def make_nonlinearity(self, fields) -> list[escnn_nn.EquivariantModule]:
        return [escnn_nn.IIDBatchNorm3d(fields), escnn_nn.FourierELU(fields, self.grid)]

    def make_block(self, case: BlockCase) -> escnn_nn.EquivariantModule:
        type_in = self.make_fields(case.fields_in) if case.fields_in else self.image
        type_out = self.make_fields(case.fields_out)
        modules = []
        if case.part != "nonlinearity":
            conv = self.make_conv(
                type_in,
                type_out,
                stride=case.stride,
                padding=case.padding,
                transposed=case.transposed,
                **(SHELLS if case.has_shells else {}),
            )
            modules.append(conv)
        if case.part != "conv":
            modules += self.make_nonlinearity(type_out)
        return escnn_nn.SequentialModule(*modules)

    def make_encoder(self, case: VAECase) -> nn.Module:
        modules, type_in = [], self.image
        for count, padding in zip(case.layers, case.paddings, strict=True):
            fields = self.make_fields(count)
            modules.append(self.make_conv(type_in, fields, stride=2, padding=padding))
            modules += self.make_nonlinearity(fields)
            type_in = fields
        logvars = self.make_scalars(case.latent * self.num_scalars_of_field)
        head = self.make_conv(type_in, self.make_fields(case.latent) + logvars, bias=True)
        return Wrapped(escnn_nn.SequentialModule(*modules, head))

    def make_decoder(self, case: VAECase) -> nn.Module:
        fields = self.make_fields(case.layers[-1])
        modules = [self.make_conv(self.make_fields(case.latent), fields)]
        modules += self.make_nonlinearity(fields)
        up = {"stride": 2, "transposed": True}
        for count, padding in zip(case.layers[-2::-1], case.paddings[:0:-1], strict=True):
            type_in, fields = fields, self.make_fields(count)
            modules.append(self.make_conv(type_in, fields, padding=padding, **up))
            modules += self.make_nonlinearity(fields)
        head = self.make_conv(fields, self.image, padding=case.paddings[0], bias=True, **up)
        return Wrapped(escnn_nn.SequentialModule(*modules, head))
