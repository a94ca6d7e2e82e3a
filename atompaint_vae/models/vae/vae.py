"""The variational autoencoder: encoder, posterior, decoder.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ...nn.conv import SteerableConv
from ...nn.fields import FieldType, parse_field_type
from ...text.formats import format_shape
from ..decoder import Decoder
from ..encoder import Encoder, calc_sizes
from .posterior import Posterior, PosteriorHead


def calc_latent_shape(
    size_voxels: int, num_layers: int, latent: FieldType
) -> tuple[int, int, int, int]:
    """Return the latent's shape: channels, then voxels."""
    return (latent.size, *[calc_sizes(size_voxels, num_layers)[-1]] * 3)


def calc_compression_ratio(image_shape: Sequence[int], latent_shape: Sequence[int]) -> float:
    """Return the compression ratio: numbers of an image / numbers of its latent."""
    return torch.Size(image_shape).numel() / torch.Size(latent_shape).numel()


class VAE(nn.Module):
    """A rotation-equivariant variational autoencoder of images.

    Input and output images are in the voxelizer's unit, the fraction of each voxel that atoms fill.
    Inside, they are divided by `image_std`, so that their variance is about one.

    layers:          the field type after each layer, as text; each layer halves the image's side
    latent:          the field type of the latent
    num_channels:    of the images
    size_voxels:     the images' side, odd
    convs_per_layer: convolutions in each layer
    kernel_size:     of all convolutions, odd
    conv:            `SteerableConv`, or `UnconstrainedConv` for a network without symmetry
    posterior_std:   see `PosteriorHead`
    nonlinearity:    grid, function, irreps: see `FieldNonlinearity`
    image_std:       of the training images; saved with the weights

    raises: ValueError if a field type is invalid, the grid is too coarse for it, or the images are
            too small for the number of layers
    """

    def __init__(
        self,
        layers: Sequence[str | FieldType],
        latent: str | FieldType,
        *,
        num_channels: int,
        size_voxels: int,
        convs_per_layer: int = 1,
        kernel_size: int = 3,
        conv: type[nn.Module] = SteerableConv,
        posterior_std: str = "logvar",
        image_std: float = 1.0,
        **nonlinearity,
    ):
        super().__init__()
        layers = [parse_field_type(layer) for layer in layers]
        self.latent = parse_field_type(latent)
        self.irreps_in = self.irreps_out = Irreps([(num_channels, (0, 1))])
        self.size_voxels = size_voxels
        posterior = PosteriorHead(self.latent.irreps, std=posterior_std)
        options = {
            "size_voxels": size_voxels,
            "convs_per_layer": convs_per_layer,
            "kernel_size": kernel_size,
            "conv": conv,
            **nonlinearity,
        }
        self.encoder = Encoder(self.irreps_in, layers, posterior.irreps_in, **options)
        self.posterior = posterior
        self.decoder = Decoder(self.latent.irreps, layers, self.irreps_out, **options)
        self.register_buffer("image_std", torch.tensor(float(image_std)))
        self.latent_shape = calc_latent_shape(size_voxels, len(layers), self.latent)

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        return (self.irreps_in.dim, *[self.size_voxels] * 3)

    @property
    def compression_ratio(self) -> float:
        """Numbers of an image / numbers of its latent."""
        return calc_compression_ratio(self.image_shape, self.latent_shape)

    def encode(self, image: Float[Tensor, "b c x y z"]) -> Posterior:
        """Return the posterior of images [b, *image_shape], with a mean [b, *latent_shape]."""
        return self.posterior(self.encoder(image / self.image_std))

    def decode(self, latent: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b i x2 y2 z2"]:
        """Return the decoded images [b, *image_shape] of latents [b, *latent_shape]."""
        return self.decoder(latent) * self.image_std

    def sample(
        self, num_images: int, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c x y z"]:
        """Return images [num_images, *image_shape], decoded from latents of the prior, N(0, 1).

        generator: of the noise, on the CPU; torch's own by default
        """
        noise = torch.randn(num_images, *self.latent_shape, generator=generator)
        return self.decode(noise.to(self.image_std))

    def forward(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        """Return the reconstruction from the posterior's mean."""
        return self.decode(self.encode(image).mean)

    def extra_repr(self):
        image, latent = (format_shape(x) for x in (self.image_shape, self.latent_shape))
        return f"image {image} -> latent {self.latent}, {latent} -> image {image}"
