"""Painting: the atoms in a sphere are drawn anew, so that they fit the known atoms around it.

The hidden atoms are nowhere in what the model is given: the image of the known atoms is encoded,
not that of all. Data are then known or painted. An image's voxels are painted if an atom centred in
the sphere can touch them, unless known atoms fill most of them. Latents are painted if what is in
those voxels changes them.

Letters: b batch, c channels, i channels of images, x y z voxels, k fillings.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...analysis.peaks import find_atoms
from ...analysis.recovery import draw_random_atoms
from ...data.crops.dataset import DENSITIES, find_reach
from ...data.crops.voxelize import CHANNELS
from ...data.hparams import DataHparams
from ...data.structures.regions import Atoms, RegionError
from ..noise import Noise
from .denoiser import Denoiser
from .hparams import SamplerHparams
from .sampler import Known, Step, sample_steps

NUM_RESAMPLINGS = 10
"""Lugmayr et al. 2022 take 10 as well."""

MAX_FILLED = 0.5
"""A voxel is known if known atoms fill this share of it, or more. If such voxels were painted, the
atoms next to the sphere, to which painted ones are bonded, would be hidden from the model too."""

NUM_FILLINGS = 16

FILLED_ATOMS_NM3 = 100.0
"""Of the fillings: twice as many as in proteins, so that few fillings reach all places. With 60, it
takes 48 fillings to find the same latents."""

TOLERANCE = 0.1
"""Of latents, relative to their standard deviation. A change below it is small beside the
posterior's own standard deviation, 0.2 to 0.5 of the published models. Without a tolerance, all
latents of a crop of 21 Å would be painted: encoders see some 10 Å, but most of it faintly."""


class Painter:
    """
    Draws the atoms in a sphere at the centre of the model's images.

    data:     hyperparameters of the model's images
    known:    the atoms outside the sphere, in the frame of the image
    radius_A: of the sphere

    known_image:     [i, x, y, z], without the hidden atoms
    is_painted:      [x, y, z], voxels of the image
    is_painted_data: [x, y, z], voxels of the denoiser's data: of the image, or of the latent

    raises: RegionError if the sphere doesn't fit into the image, or leaves nothing known
    """

    def __init__(self, model: Denoiser, data: DataHparams, known: Atoms, radius_A: float):
        self.model, self.data, self.radius_A = model, data, radius_A
        self.side_A = data.size_voxels * data.resolution_A
        reach_A = find_reach(data.radius_A, data.density)
        largest_A = self.side_A / 2 - reach_A
        if radius_A > largest_A:
            raise RegionError(
                f"a sphere of {radius_A:g} Å doesn't fit into the model's crops of {self.side_A:g} "
                f"Å; the largest radius is {largest_A:g} Å"
            )
        self.known = known.select((abs(known.coords_A) < self.side_A / 2 + reach_A).all(axis=1))
        if not len(self.known.channels):
            raise RegionError(f"no known atoms within {self.side_A / 2:g} Å of the region")
        self.known_image = self.make_image(self.known)
        can_be_touched = self._find_voxels(radius_A + reach_A)
        self.is_painted = can_be_touched & (self.known_image.sum(dim=0) < MAX_FILLED)
        self.is_painted_data = (
            self.is_painted if model.autoencoder is None else self._find_latents()
        )
        if self.is_painted_data.all():
            raise RegionError(
                f"a sphere of {radius_A:g} Å leaves none of the model's latents known; "
                "choose a smaller radius"
            )

    def sample_steps(
        self,
        sampler: SamplerHparams,
        *,
        seed: int,
        indices: Iterable[int],
        num_resamplings: int = NUM_RESAMPLINGS,
    ) -> Iterator[Step]:
        """
        Paint a batch of images; yield each step, whose data `decode` turns into images.

        seed:    of all proposals
        indices: of the proposals; each depends only on the seed and its own index
        """
        noise = Noise(seed, torch.tensor(list(indices)))
        known = self.known_image.expand(len(noise.sample_index), -1, -1, -1, -1)
        with torch.no_grad():
            data = self.model.encode(known, noise)
            known = Known(data, self.is_painted_data[None, None], num_resamplings)
            yield from sample_steps(self.model, noise, data, sampler, known)

    def decode(self, data: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b i x2 y2 z2"]:
        """Return the images of data; known voxels are exactly those of the known image."""
        with torch.no_grad():
            return torch.where(self.is_painted, self.model.decode(data), self.known_image)

    def reconstruct(self, hidden: Atoms) -> Float[Tensor, "i x y z"]:
        """
        Return the image whose painted data are those of the hidden atoms: the best that a denoiser
        can do, as the autoencoder's reconstruction isn't exact.
        """
        with torch.no_grad():
            truth = self._encode_mean(self.known_image + self.make_image(hidden))
            data = torch.where(self.is_painted_data, truth, self._encode_mean(self.known_image))
        return self.decode(data[None])[0]

    def find_atoms(self, image: Float[Tensor, "i x y z"]) -> Atoms:
        """
        Find the painted atoms of an image, those in the sphere.

        The known atoms' density is subtracted first. No atom is left out for being near another.
        """
        painted = image.to(self.known_image) - self.known_image
        rest = torch.where(self.is_painted, painted, 0).clamp(min=0)
        found = find_atoms(
            rest, resolution_A=self.data.resolution_A, radius_A=self.data.radius_A
        )
        atoms = Atoms(found.coords_A.double().cpu().numpy(), found.channels.cpu().numpy())
        return atoms.select(np.linalg.norm(atoms.coords_A, axis=1) < self.radius_A)

    def calc_change(self, filling: Atoms) -> Float[Tensor, "x y z"]:
        """
        Return how much atoms in the sphere change each of the data, relative to their standard
        deviation: the root mean square over the channels, which rotations don't change.
        """
        with torch.no_grad():
            image = self.known_image + self.make_image(filling)
            means = [self._encode_mean(x) for x in (image, self.known_image)]
            return (means[0] - means[1]).square().mean(dim=0).sqrt()

    def _encode_mean(self, image: Float[Tensor, "i x y z"]) -> Float[Tensor, "c x2 y2 z2"]:
        autoencoder = self.model.autoencoder
        data = image[None] if autoencoder is None else autoencoder.encode(image[None]).mean
        return self.model.scaling(data)[0]

    def make_image(self, atoms: Atoms) -> Float[Tensor, "i x y z"]:
        """Return the image of atoms, as the model's images are made."""
        image = DENSITIES[self.data.density](
            torch.from_numpy(atoms.coords_A),
            torch.from_numpy(atoms.channels),
            torch.zeros(len(atoms.channels), dtype=torch.int64),
            num_images=1,
            num_channels=len(CHANNELS),
            size_voxels=self.data.size_voxels,
            resolution_A=self.data.resolution_A,
            radius_A=self.data.radius_A,
        )
        return image[0].to(self.model.scaling.std)

    def _find_voxels(self, reach_A: float) -> Bool[Tensor, "x y z"]:
        """Return the voxels, cubes, of which some point is nearer to the centre."""
        size = self.data.size_voxels
        centers = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs()
        squares = ((centers - 0.5).clamp(min=0) * self.data.resolution_A).square()
        x, y, z = squares[:, None, None], squares[:, None], squares
        return (x + y + z < reach_A**2).to(self.model.scaling.std.device)

    def _find_latents(self) -> Bool[Tensor, "x2 y2 z2"]:
        """Return the latents that change when the painted voxels are filled with random atoms."""
        rng = np.random.default_rng(0)
        num_atoms = max(1, round(FILLED_ATOMS_NM3 / 1000 * 4 / 3 * np.pi * self.radius_A**3))
        changes = [
            self.calc_change(draw_random_atoms(rng, self.known, self.radius_A, num_atoms))
            for _ in range(NUM_FILLINGS)
        ]
        return torch.stack(changes).amax(dim=0) > TOLERANCE
