"""Build the networks with torch's own convolutions, batch normalisation and ELU."""

import torch
from torch import Tensor, nn

from . import harness
from .cases import NUM_IMAGE_CHANNELS, BlockCase, Case, VAECase

FORMAT = torch.channels_last_3d
"""The faster of torch's two memory formats for these convolutions."""


class Block(harness.Block):
    def make_inputs(self) -> list[Tensor]:
        return super().make_inputs(FORMAT)


class VAEStep(harness.VAEStep):
    def make_inputs(self) -> list[Tensor]:
        return super().make_inputs(FORMAT)


def build(case: Case) -> nn.Module:
    if isinstance(case, BlockCase):
        network = Block(case, _build_block(case))
    else:
        network = VAEStep(case, _build_encoder(case), _build_decoder(case))
    return network.to(memory_format=FORMAT)


def _build_block(case: BlockCase) -> nn.Module:
    size_out = case.fields_out * case.field_size
    options = {"stride": case.stride, "padding": case.padding}
    modules: list[nn.Module] = []
    if case.part != "nonlinearity":
        make_conv = nn.ConvTranspose3d if case.transposed else nn.Conv3d
        modules.append(make_conv(case.num_channels_in, size_out, 3, bias=False, **options))
    if case.part != "conv":
        modules += [nn.BatchNorm3d(size_out), nn.ELU(inplace=True)]
    return nn.Sequential(*modules)


def _build_encoder(case: VAECase) -> nn.Module:
    modules: list[nn.Module] = []
    size = NUM_IMAGE_CHANNELS
    for fields, padding in zip(case.layers, case.paddings, strict=True):
        size_out = fields * case.field_size
        modules += [
            nn.Conv3d(size, size_out, 3, stride=2, padding=padding, bias=False),
            nn.BatchNorm3d(size_out),
            nn.ELU(inplace=True),
        ]
        size = size_out
    size_out = case.latent * (case.field_size + len(case.field_degrees))
    return nn.Sequential(*modules, nn.Conv3d(size, size_out, 3, padding=1))


def _build_decoder(case: VAECase) -> nn.Module:
    size_out = case.layers[-1] * case.field_size
    modules: list[nn.Module] = [
        nn.Conv3d(case.latent * case.field_size, size_out, 3, padding=1, bias=False)
    ]
    for fields, padding in zip(case.layers[-2::-1], case.paddings[:0:-1], strict=True):
        modules += [nn.BatchNorm3d(size_out), nn.ELU(inplace=True)]
        size, size_out = size_out, fields * case.field_size
        modules.append(
            nn.ConvTranspose3d(size, size_out, 3, stride=2, padding=padding, bias=False)
        )
    modules += [nn.BatchNorm3d(size_out), nn.ELU(inplace=True)]
    head = nn.ConvTranspose3d(size_out, NUM_IMAGE_CHANNELS, 3, stride=2, padding=case.paddings[0])
    return nn.Sequential(*modules, head)
