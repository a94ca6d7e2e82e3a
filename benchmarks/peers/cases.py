"""Describe what a library shall build, in plain numbers that any environment can read.

A *field* is a Fourier field of the case's frequency; an unconstrained network has the same number
of channels instead.  Images are random numbers.
"""

import dataclasses
from dataclasses import dataclass

NUM_IMAGE_CHANNELS = 6


@dataclass(frozen=True)
class Case:
    """A network and its input.

    frequency:   of the Fourier fields
    grid_points: of the nonlinearity; None for the library's default
    precision:   "float32", or "bfloat16" for torch's autocast to it
    size_voxels: side of the input
    """

    frequency: int
    grid_points: int | None
    precision: str
    batch_size: int
    size_voxels: int

    @property
    def field_degrees(self) -> list[int]:
        """Return the degree l of each irrep copy in one field, in the order of its channels."""
        return [l for l in range(self.frequency + 1) for _ in range(2 * l + 1)]

    @property
    def field_size(self) -> int:
        return sum(2 * l + 1 for l in self.field_degrees)


@dataclass(frozen=True)
class VAECase(Case):
    """A training step of a whole VAE.

    layers:   fields after each layer of the encoder, which the decoder mirrors
    paddings: of each of the encoder's strided convolutions
    latent:   fields of the latent
    """

    layers: tuple[int, ...]
    paddings: tuple[int, ...]
    latent: int

    @property
    def latent_size_voxels(self) -> int:
        size = self.size_voxels
        for padding in self.paddings:
            size = (size + 2 * padding - 3) // 2 + 1
        return size

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Return the shape of a batch."""
        return (self.batch_size, self.latent * self.field_size, *[self.latent_size_voxels] * 3)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape of a batch."""
        return (self.batch_size, NUM_IMAGE_CHANNELS, *[self.size_voxels] * 3)

    @property
    def copy_of_channel(self) -> list[int]:
        """Return the index of the irrep copy of each channel of the latent."""
        degrees = self.field_degrees * self.latent
        return [copy for copy, l in enumerate(degrees) for _ in range(2 * l + 1)]


@dataclass(frozen=True)
class BlockCase(Case):
    """A training step of one layer: forward pass, backward pass, optimizer.

    part:       "block" is convolution, normalisation and nonlinearity; "conv" is the first of them;
                "nonlinearity" is the other two, on fields_out fields
    fields_in:  0 for the image's scalars, which need no gradient
    has_shells: whether escnn's kernels get one radial function for each shell of the lattice, like
                ours, instead of escnn's default
    """

    part: str
    fields_in: int
    fields_out: int
    stride: int = 1
    padding: int = 1
    transposed: bool = False
    has_shells: bool = False

    @property
    def num_channels_in(self) -> int:
        fields = self.fields_out if self.part == "nonlinearity" else self.fields_in
        return fields * self.field_size or NUM_IMAGE_CHANNELS

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of a batch."""
        return (self.batch_size, self.num_channels_in, *[self.size_voxels] * 3)

    @property
    def size_out_voxels(self) -> int:
        if self.part == "nonlinearity":
            return self.size_voxels
        if self.transposed:
            return (self.size_voxels - 1) * self.stride - 2 * self.padding + 3
        return (self.size_voxels + 2 * self.padding - 3) // self.stride + 1


def dump_case(case: Case) -> dict:
    return {"kind": type(case).__name__} | dataclasses.asdict(case)


def load_case(values: dict) -> Case:
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    kind = {"VAECase": VAECase, "BlockCase": BlockCase}[values.pop("kind")]
    return kind(**values)
