"""Inputs and the loss of a VAE, shared by the networks of all libraries."""

import torch
from torch import Tensor, nn

from .cases import BlockCase, VAECase

LOGVAR_RANGE = (-20.0, 10.0)


class Block(nn.Module):
    """A layer and the input on which it is timed."""

    def __init__(self, case: BlockCase, layer: nn.Module):
        super().__init__()
        self.case = case
        self.layer = layer

    def make_inputs(self, memory_format=torch.contiguous_format) -> list[Tensor]:
        image = torch.randn(self.case.input_shape).to(memory_format=memory_format)
        is_image = self.case.part != "nonlinearity" and self.case.fields_in == 0
        return [image.requires_grad_(not is_image)]

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image)


class VAEStep(nn.Module):
    """A VAE whose output is the loss of a batch: squared errors and the KL divergence.

    encoder: maps [b, c, x, y, z] to means, followed by one log-variance for each irrep copy
    """

    def __init__(self, case: VAECase, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.case = case
        self.encoder = encoder
        self.decoder = decoder
        self.register_buffer("copy_of_channel", torch.tensor(case.copy_of_channel))

    def make_inputs(self, memory_format=torch.contiguous_format) -> list[Tensor]:
        """Return an image and the noise with which its posterior is sampled."""
        image = torch.rand(self.case.image_shape).to(memory_format=memory_format)
        return [image, torch.randn(self.case.latent_shape)]

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        mean, copy_logvar = self.encoder(image).tensor_split([len(self.copy_of_channel)], dim=1)
        logvar = copy_logvar.clamp(*LOGVAR_RANGE).index_select(1, self.copy_of_channel)
        reconstruction = self.decoder(mean + (logvar / 2).exp() * noise)
        data = (reconstruction - image).square().sum()
        prior = (logvar.exp() + mean.square() - 1 - logvar).sum() / 2
        return (data + prior) / len(image)
