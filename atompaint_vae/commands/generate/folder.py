"""The folder that a command fills with generated images, one by one.

An image is complete once its atoms are written, which comes last.  So a command that was
interrupted goes on where it ended, and a larger number adds to what is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nestedtext as nt
import numpy as np
from jaxtyping import Float

from ...data.crops.voxelize import CHANNELS
from ...data.images import ORIGIN_CENTER_A, read_image_maps, write_image_maps
from ...text.errors import UserError
from ...text.files import Content, write_atomic
from ...text.located import load_located

if TYPE_CHECKING:
    from ...config.schema import Hparams
    from ...models.diffusion.denoiser import Denoiser

SETTINGS, MAPS = "settings.nt", "maps"


class ImageFolder:
    """A folder of numbered images: their maps, and their atoms as mmCIF.

    noun:         what an image is called in names of files and in messages
    num_digits:   of the numbers in names of files
    resolution_A: side of a voxel
    center_A:     centre of the images in the frame of the files
    """

    def __init__(
        self,
        folder: Path,
        noun: str,
        *,
        num_digits: int,
        resolution_A: float,
        center_A: Float[np.ndarray, " 3"] = ORIGIN_CENTER_A,
    ):
        self.folder = folder
        self.noun = noun
        self.num_digits = num_digits
        self.resolution_A = resolution_A
        self.center_A = center_A

    @contextmanager
    def claim(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Make the folder, and hold it for this process.

        settings: what decides the images
        raises:   UserError if the folder has images of other settings, or another process holds it
        """
        path = self.folder / SETTINGS
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.folder}: another process is writing there") from None
            if path.exists():
                found = load_located(path).plain
                for key, value in settings.items():
                    if found.get(key) != value:
                        raise UserError(
                            f"{path}: the {self.noun}s there have {key} {found.get(key)}, not "
                            f"{value}; choose another --out"
                        )
            (self.folder / MAPS).mkdir(exist_ok=True)
            write_atomic(path, nt.dumps(settings) + "\n")
            yield
        finally:
            os.close(descriptor)

    def get_name(self, index: int) -> str:
        return f"{self.noun}-{index:0{self.num_digits}}"

    def list_missing(self, num: int) -> list[int]:
        """Return the numbers, of the first num, of images that aren't complete."""
        return [index for index in range(num) if not self._is_complete(index)]

    def count(self) -> int:
        """Return how many images are complete, from the first on."""
        return next(index for index in itertools.count() if not self._is_complete(index))

    def add(
        self, index: int, image: Float[np.ndarray, "c x y z"], write_atoms: Callable[[Path], None]
    ):
        """Write an image's maps, and then its atoms.

        raises: UserError if it has numbers that aren't finite; OSError as `write_atomic`
        """
        name = self.get_name(index)
        if not np.isfinite(image).all():
            raise UserError(f"{name}: not finite; the sampler or the weights diverged")
        write_image_maps(
            image, self.folder / MAPS, name, self.resolution_A, center_A=self.center_A
        )
        write_atoms(self._find_atoms(index))

    def read_images(self, num: int) -> Float[np.ndarray, "n c x y z"]:
        """Return the first images."""
        return np.stack([read_image_maps(self._find_maps(index)).image for index in range(num)])

    def write(self, name: str, content: Content) -> Path:
        """Write another file, and return its path."""
        path = self.folder / name
        write_atomic(path, content)
        return path

    def _is_complete(self, index: int) -> bool:
        return all(x.exists() for x in (self._find_atoms(index), *self._find_maps(index)))

    def _find_atoms(self, index: int) -> Path:
        return self.folder / f"{self.get_name(index)}.cif"

    def _find_maps(self, index: int) -> list[Path]:
        return [self.folder / MAPS / f"{self.get_name(index)}_{x}.mrc" for x in CHANNELS]


def load_denoiser(name: str) -> tuple[Denoiser, Hparams, str]:
    """Return a diffusion model, its hyperparameters and the SHA-256 of its weights.

    name:   of a published model or, as experiment/run, of a finished run of this notebook
    raises: ValueError if there is no such model, or it is of another kind
    """
    from ...training.weights import load_trained, pack_weights

    model, hparams = load_trained(name, Path.cwd())
    if hparams.kind != "diffusion":
        raise UserError(f"{name}: a model of kind {hparams.kind}; expected diffusion")
    return model, hparams, hashlib.sha256(pack_weights(model.state_dict())).hexdigest()
