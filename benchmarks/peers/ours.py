"""Build the networks with this package."""

import torch
from torch import Tensor, nn

from atompaint_vae.models.blocks import ConvBlock
from atompaint_vae.models.vae.loss import calc_loss
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.nn import (
    FieldNonlinearity,
    IrrepsNorm,
    SteerableConv,
    parse_field_type,
)

from .cases import NUM_IMAGE_CHANNELS, BlockCase, Case, VAECase
from .harness import Block


class VAEStep(nn.Module):
    def __init__(self, case: VAECase):
        super().__init__()
        self.case = case
        options = {} if case.grid_points is None else {"grid": f"octahedral_{case.grid_points}"}
        self.vae = VAE(
            [f"{count}xfourier{case.frequency}" for count in case.layers],
            f"{case.latent}xfourier{case.frequency}",
            num_channels=NUM_IMAGE_CHANNELS,
            size_voxels=case.size_voxels,
            **options,
        )

    def make_inputs(self) -> list[Tensor]:
        return [torch.rand(self.case.image_shape), torch.randn(self.case.latent_shape)]

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        posterior = self.vae.encode(image)
        reconstruction = self.vae.decode(posterior.sample(noise))
        return calc_loss(image, reconstruction, posterior, reduction="sum", beta=1.0).total


class NormNonlinearity(nn.Module):
    """The normalisation and nonlinearity that follow the convolution in a `ConvBlock`."""

    def __init__(self, field_type: str, *, grid: str):
        super().__init__()
        self.nonlinearity = FieldNonlinearity(field_type, grid=grid, function="elu")
        self.norm = IrrepsNorm(self.nonlinearity.irreps_in)

    def forward(self, image: Tensor) -> Tensor:
        return self.nonlinearity(image, *self.norm.calc_affine(image))


class OurBlock(Block):
    def make_inputs(self) -> list[Tensor]:
        return super().make_inputs(torch.channels_last_3d)


def build(case: Case) -> nn.Module:
    if isinstance(case, VAECase):
        return VAEStep(case)
    assert isinstance(case, BlockCase)
    name_out = f"{case.fields_out}xfourier{case.frequency}"
    name_in = (
        f"{case.fields_in}xfourier{case.frequency}"
        if case.fields_in
        else f"{NUM_IMAGE_CHANNELS}x0e"
    )
    irreps_in, irreps_out = parse_field_type(name_in).irreps, parse_field_type(name_out).irreps
    grid = f"octahedral_{case.grid_points}"
    options = {"stride": case.stride, "padding": case.padding, "transposed": case.transposed}
    match case.part:
        case "conv":
            layer = SteerableConv(irreps_in, irreps_out, **options)
        case "nonlinearity":
            layer = NormNonlinearity(name_out, grid=grid)
        case "block":
            field_type = parse_field_type(name_out)
            layer = ConvBlock(irreps_in, field_type, grid=grid, function="elu", **options)
    return OurBlock(case, layer)
