"""The denoiser, and the space that it works in: images, or the latents of an autoencoder.

Letters: b batch, c channels, i channels of images, x y z voxels.
"""

from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ...nn.fields import parse_field_type
from ...nn.rotations import make_octahedral_group, rotate_each
from ...text.formats import format_shape
from ..noise import Noise
from ..vae.posterior import Posterior
from ..vae.vae import VAE
from .edm import calc_preconditioning
from .scaling import Scaling
from .unet import UNet

SIGMA_DATA = 1.0
"""EDM's σ_data: the data are scaled to this standard deviation, which is measured."""


class Denoiser(nn.Module):
    """Estimates data from noisy data, at any noise level: D of EDM.

    Data are images, or the latents of images; either are scaled to unit variance, and so are the
    noise levels.

    layers:            fields of the U-Net, as text, the finest resolution first
    num_channels:      of the images
    size_voxels:       the images' side
    autoencoder:       whose latents are denoised; None for images
    self_conditioning: whether the network also sees an earlier estimate
    network:           noise_embedding, convs_per_layer and the like, see `UNet`
    """

    def __init__(
        self,
        layers: Sequence[str],
        *,
        num_channels: int,
        size_voxels: int,
        autoencoder: VAE | None = None,
        self_conditioning: bool = False,
        **network,
    ):
        super().__init__()
        self.image_shape = (num_channels, *[size_voxels] * 3)
        self.autoencoder = autoencoder
        if autoencoder is None:
            self.irreps, self.data_shape = Irreps([(num_channels, (0, 1))]), self.image_shape
        else:
            self.irreps, self.data_shape = autoencoder.latent.irreps, autoencoder.latent_shape
        self.self_conditioning = self_conditioning
        self.layers = [parse_field_type(layer) for layer in layers]
        self.scaling = Scaling(self.irreps)
        self.network = UNet(
            self.irreps + self.irreps if self_conditioning else self.irreps,
            self.layers,
            self.irreps,
            size_voxels=self.data_shape[1],
            **network,
        )

    def encode(
        self, image: Float[Tensor, "b i x y z"] | Posterior, noise: Noise
    ) -> Float[Tensor, "b c x2 y2 z2"]:
        """Return the scaled data of images; latents are drawn from the posterior.

        image: or the posterior, if it is known
        """
        with torch.no_grad():
            return self.scaling(self.find_data(image, noise))

    def find_data(
        self, image: Float[Tensor, "b i x y z"] | Posterior, noise: Noise
    ) -> Float[Tensor, "b c x2 y2 z2"]:
        """Return the data of images before they are scaled; `image` as in `encode`."""
        if self.autoencoder is None:
            return image
        posterior = image if isinstance(image, Posterior) else self.autoencoder.encode(image)
        return posterior.sample(noise.draw_normal(posterior.mean, "posterior"))

    def turn(
        self, data: Float[Tensor, "b c x y z"], noise: Noise
    ) -> Float[Tensor, "b c x y z"]:
        """Return data, each turned by one of the 24 rotations of the cube, drawn from the noise."""
        num_rotations = len(make_octahedral_group())
        numbers = [
            int(torch.randint(num_rotations, (), generator=x))
            for x in noise.make_generators("turn")
        ]
        with torch.autocast(data.device.type, enabled=False):
            return rotate_each(data, self.irreps, numbers)

    def decode(self, data: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b i x2 y2 z2"]:
        """Return the images of scaled data."""
        data = self.scaling.invert(data)
        return data if self.autoencoder is None else self.autoencoder.decode(data)

    def forward(
        self,
        x: Float[Tensor, "b c x y z"],
        sigma: Float[Tensor, " b"],
        previous: Float[Tensor, "b c x y z"] | None = None,
    ) -> Float[Tensor, "b c x y z"]:
        """Return D(x; σ), the estimate of the data in noisy data.

        previous: an earlier estimate, for self-conditioning; zeros by default
        """
        *factors, c_noise = calc_preconditioning(sigma, SIGMA_DATA)
        c_skip, c_out, c_in = (value.view(-1, 1, 1, 1, 1) for value in factors)
        inputs = c_in * x
        if self.self_conditioning:
            known = torch.zeros_like(x) if previous is None else previous
            inputs = torch.cat([inputs, known], dim=1)
        return c_skip * x + c_out * self.network(inputs, c_noise)

    def extra_repr(self):
        shapes = format_shape(self.image_shape), format_shape(self.data_shape)
        return "image {} -> data {}".format(*shapes)
