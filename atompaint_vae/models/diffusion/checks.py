"""Checks of the hyperparameters of diffusion."""

from collections.abc import Iterator
from typing import Any

from ...text.located import Located, Problem, find_value
from ..checks import check_grids, check_images
from ..encoder import calc_sizes, list_sizes
from ..hparams import override


def check(hparams: Any, written: Located) -> Iterator[Problem]:
    """Yield problems of hyperparameters that don't fit together."""
    model, data = hparams.model, hparams.data
    if model is None:
        return
    yield from check_grids(model, written, "")
    if data is not None and not model.autoencoder:
        yield from _check_num_layers(model, data.size_voxels, written)
    low, high = model.sampler.sigma_min, model.sampler.sigma_max
    if low >= high:
        place = find_value(written, "model", "sampler", "sigma_min").place
        text = f"model.sampler.sigma_min: {low:g} isn't below model.sampler.sigma_max, {high:g}"
        yield Problem(place, text)


def check_autoencoder(hparams: Any, source: Any, written: Located) -> Iterator[Problem]:
    """Yield problems of a denoiser that doesn't fit its autoencoder.

    source: hyperparameters of the run or published model that `model.autoencoder` names
    """
    model = hparams.model
    name = model.autoencoder
    place = find_value(written, "model", "autoencoder").place
    if source.kind != "vae":
        text = f"model.autoencoder: {name} is of kind {source.kind}; expected vae"
        yield Problem(place, text)
        return
    yield from check_images(hparams, source, name, written, also=["size_voxels"])
    encoder = override(source.model, source.model.encoder)
    if model.symmetry == "rotation" and encoder.symmetry == "none":
        text = (
            f"model.symmetry: rotation, but the latents of {name} don't rotate with the image: its "
            "encoder has no symmetry; expected none"
        )
        yield Problem(find_value(written, "model", "symmetry").place, text)
    if hparams.data.num_train_crops and encoder.symmetry == "none":
        text = (
            f"data.num_train_crops: {hparams.data.num_train_crops}, but crops that are seen again "
            f"are turned, and the encoder of {name} has no symmetry; expected 0"
        )
        yield Problem(find_value(written, "data", "num_train_crops").place, text)
    side = calc_sizes(source.data.size_voxels, len(encoder.layers))[-1]
    yield from _check_num_layers(model, side, written)


def _check_num_layers(model: Any, size_voxels: int, written: Located) -> Iterator[Problem]:
    sizes = list_sizes(size_voxels)
    if len(model.layers) > len(sizes):
        yield Problem(
            find_value(written, "model", "layers", len(sizes)).place,
            f"model.layers: {len(model.layers)} layers, but data of {size_voxels} voxels have at "
            f"most {len(sizes)} resolutions: {' → '.join(map(str, sizes))}",
        )
