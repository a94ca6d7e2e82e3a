"""The variational autoencoder: encoder, posterior, decoder.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ...nn.fields import FieldType, parse_field_type
from ...text.formats import format_shape
from ..decoder import Decoder
from ..encoder import Encoder, calc_sizes, check_shape
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

    layers:        the field type after each layer, as text; each layer halves the image's side
    latent:        the field type of the latent
    num_channels:  of the images
    size_voxels:   the images' side, odd
    posterior_std: see `PosteriorHead`
    image_std:     of the training images; saved with the weights
    encoder, decoder: options of one alone, `layers` too
    options:       of both: convs_per_layer and the like, see `Encoder` and `Decoder`

    loaded: names of the parts whose weights are those of another model, to begin with

    raises: ValueError if a field type is invalid, the grid is too coarse for it, the images are too
            small for the number of layers, or encoder and decoder have different numbers of layers
    """

    def __init__(
        self,
        layers: Sequence[str | FieldType],
        latent: str | FieldType,
        *,
        num_channels: int,
        size_voxels: int,
        posterior_std: str = "logvar",
        image_std: float = 1.0,
        encoder: Mapping[str, Any] = MappingProxyType({}),
        decoder: Mapping[str, Any] = MappingProxyType({}),
        **options,
    ):
        super().__init__()
        encoding, decoding = ({"layers": layers} | options | own for own in (encoder, decoder))
        for half in (encoding, decoding):
            half["layers"] = [parse_field_type(layer) for layer in half["layers"]]
        num_layers = len(encoding["layers"])
        if len(decoding["layers"]) != num_layers:
            raise ValueError(
                f"the encoder has {num_layers} layers, the decoder {len(decoding['layers'])}"
            )
        self.latent = parse_field_type(latent)
        self.irreps_in = self.irreps_out = Irreps([(num_channels, (0, 1))])
        self.size_voxels = size_voxels
        posterior = PosteriorHead(self.latent.irreps, std=posterior_std)
        self.encoder = Encoder(
            self.irreps_in,
            irreps_out=posterior.irreps_in,
            size_voxels=size_voxels,
            **encoding,
        )
        self.posterior = posterior
        self.decoder = Decoder(
            self.latent.irreps,
            irreps_out=self.irreps_out,
            size_voxels=size_voxels,
            **decoding,
        )
        self.register_buffer("image_std", torch.tensor(float(image_std)))
        self.latent_shape = calc_latent_shape(size_voxels, num_layers, self.latent)
        self.loaded: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        return (self.irreps_in.dim, *[self.size_voxels] * 3)

    @property
    def compression_ratio(self) -> float:
        """Numbers of an image / numbers of its latent."""
        return calc_compression_ratio(self.image_shape, self.latent_shape)

    def encode(self, image: Float[Tensor, "b c x y z"]) -> Posterior:
        """Return the posterior of images [b, *image_shape], with a mean [b, *latent_shape].

        raises: ValueError for images of another shape
        """
        check_shape("images", image.shape, self.image_shape)
        return self.posterior(self.encoder(image / self.image_std))

    def decode(self, latent: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b i x2 y2 z2"]:
        """Return the decoded images [b, *image_shape] of latents [b, *latent_shape].

        raises: ValueError for latents of another shape
        """
        check_shape("latents", latent.shape, self.latent_shape)
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
