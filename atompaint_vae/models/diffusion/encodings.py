"""Encodings of training crops that are seen again and again: computed once, and kept on disk.

The name of a file is the SHA-256 of what it depends on: the autoencoder, the crops, and the form of
their images.

Letters: n crops, c channels, k irrep copies, x y z voxels.
"""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from ...data.crops.dataset import CropDataset, collate_crops
from ...nn.distributed import get_rank
from ...text.files import write_atomic
from ..vae.posterior import Posterior
from ..vae.vae import VAE

NUM_TOGETHER = 8
"""Crops that are encoded together: a constant, so that rounding errors don't depend on the run."""

TOLERANCE = 1e-3
"""Relative difference of encodings on several devices; GPUs round convolutions to 10 bits."""

DELAY_S = 2
"""Time before the progress bar is shown [s]."""


def find_encodings(
    autoencoder: VAE, dataset: CropDataset, folder: Path, device: torch.device
) -> Posterior:
    """Return the posteriors of the dataset's distinct crops, in their order, on the CPU.

    They are read from a file if there is one that fits; otherwise they are computed, and written by
    the first process.  If that fails, a warning says so.

    autoencoder: frozen, in eval mode; it is moved to the device
    device:      to compute on, in float32
    """
    path = folder / f"{_calc_key(autoencoder, dataset)}.safetensors"
    autoencoder.to(device)
    kept = _read(path)
    # A change of the code isn't in the key, but shows in the encodings.
    first = _encode(autoencoder, dataset, range(min(NUM_TOGETHER, dataset.num_crops)))
    if kept is None or not _fits(kept, first, dataset.num_crops):
        starts = range(0, dataset.num_crops, NUM_TOGETHER)
        parts = [
            _encode(autoencoder, dataset, range(x, min(x + NUM_TOGETHER, dataset.num_crops)))
            for x in _show(starts, "encodings", "batch")
        ]
        kept = {name: torch.cat([part[name] for part in parts]) for name in first}
        if get_rank() == 0:
            _write(path, kept)
    return Posterior(**kept, copy_of_channel=autoencoder.posterior.copy_of_channel)


def _encode(autoencoder: VAE, dataset: CropDataset, numbers: range) -> dict[str, Tensor]:
    """Return mean [n, c, x, y, z] and copy_logvar [n, k, x, y, z] of some crops."""
    batch = collate_crops([dataset[i] for i in numbers])
    with torch.no_grad():
        posterior = autoencoder.encode(dataset.make_images(batch).to(autoencoder.image_std))
    tensors = {"mean": posterior.mean, "copy_logvar": posterior.copy_logvar}
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _fits(kept: Mapping[str, Tensor], first: Mapping[str, Tensor], num_crops: int) -> bool:
    """Return whether encodings are as many as the crops, and the first are what they should be."""

    def is_same(name: str, expected: Tensor) -> bool:
        found = kept[name]
        if found.dtype != expected.dtype or found.shape != (num_crops, *expected.shape[1:]):
            return False
        error = (found[: len(expected)] - expected).norm()
        return bool(error <= TOLERANCE * expected.norm())

    return kept.keys() == first.keys() and all(is_same(*item) for item in first.items())


def _calc_key(autoencoder: VAE, dataset: CropDataset) -> str:
    """Return the SHA-256 of all that encodings depend on."""
    weights = {name: tensor.contiguous() for name, tensor in autoencoder.state_dict().items()}
    form = dataset.size_voxels, dataset.resolution_A, dataset.radius_A, dataset.density
    digest = hashlib.sha256(repr((autoencoder, form)).encode())
    digest.update(safetensors.torch.save(weights))
    for number in _show(range(dataset.num_crops), "training crops", "crop"):
        crop = dataset[number][1]
        digest.update(f"{len(crop.channels)} atoms".encode())
        digest.update(crop.coords_A.tobytes())
        digest.update(crop.channels.tobytes())
    return digest.hexdigest()


def _calc_metadata(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what a file says of itself, to tell a damaged or renamed one."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].numpy())
    return {"key": path.stem, "sha256": digest.hexdigest()}


def _read(path: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a file; None if there is none, or it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    return tensors if metadata == _calc_metadata(path, tensors) else None


def _write(path: Path, tensors: dict[str, Tensor]):
    content = safetensors.torch.save(tensors, metadata=_calc_metadata(path, tensors))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content, sync=False)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        text = f"warning: {error.filename}: {reason}; the encodings of training crops aren't kept"
        print(text, file=sys.stderr)


def _show(numbers: range, what: str, unit: str) -> tqdm:
    """Return numbers that show their progress, in the first process, if they take long."""
    hidden = None if get_rank() == 0 else True  # None: without a terminal
    return tqdm(numbers, what, unit=unit, leave=False, delay=DELAY_S, disable=hidden)
