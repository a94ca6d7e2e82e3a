"""What is wrong with the hyperparameters of one run though each is well formed: layers that can't
be, numbers that overflow, batches that devices can't share."""

import os
from collections.abc import Iterator
from math import pi, prod

import numpy as np

from ..data.crops.voxelize import CHANNELS
from ..data.hparams import DataHparams
from ..models.vae.hparams import ModelHparams
from ..nn.conv import calc_halved_size
from ..nn.fields import parse_field_type
from ..nn.grids import GRIDS, calc_synthesis, load_grid
from ..text.located import Located, Problem
from ..training.plan_text import format_bytes
from .hparams import Hparams

BYTES_OF_NUMBER = 4  # float32

MIN_SHARE = 1e-6
"""Of a voxel, that an atom fills: images of less are empty in float32."""

MAX_DENSITY_ATOMS_NM3 = 176
"""Of diamond; nothing that crops are made of is denser."""


def find_value(values: Located, *keys: str | int) -> Located:
    """The value of a key; where it has its default, what it would be in."""
    for key in keys:
        try:
            values = values.content[key]
        except (KeyError, IndexError, TypeError):
            break
    return values


def check_grids(model: ModelHparams, values: Located) -> Iterator[Problem]:
    """Problems of layers whose fields the grid can't hold."""
    for i, layer in enumerate(model.layers):
        for term in parse_field_type(layer).terms:
            if term.kind == "irrep" or model.grid == "auto" or _can_hold(model.grid, term):
                continue
            others = [grid for grid in GRIDS if _can_hold(grid, term)]
            place = find_value(values, "model", "layers", i).place
            yield Problem(
                place,
                f"model.layers[{i}]: {term.kind} fields of frequency {term.frequency} are too fine "
                f"for model.grid {model.grid}; expected {' or '.join(others)}",
            )


def check_symmetry(model: ModelHparams, values: Located) -> Iterator[Problem]:
    """Problems of fields that turn, in a network that doesn't."""
    if model.symmetry == "rotation":
        return
    for keys in (*(("layers", i) for i in range(len(model.layers))), ("latent",)):
        place = find_value(values, "model", *keys)
        irreps = parse_field_type(place.content).irreps
        if irreps.lmax > 0:
            name = "latent" if keys == ("latent",) else f"layers[{keys[1]}]"
            yield Problem(
                place.place,
                f"model.{name}: {place.content} turns, but model.symmetry is none; "
                f"expected scalars such as {irreps.dim}x0e",
            )


def _can_hold(grid: str, term) -> bool:
    try:
        calc_synthesis(term, load_grid(grid))
    except ValueError:
        return False
    return True


def check_sizes(model: ModelHparams, data: DataHparams, values: Located) -> list[Problem]:
    """The problem of a layer that is given a single voxel."""
    sizes = [data.size_voxels]
    while sizes[-1] >= 3:
        sizes.append(calc_halved_size(sizes[-1]))
    most = len(sizes) - 1
    if len(model.layers) <= most:
        return []
    text = (
        f"model.layers: {len(model.layers)} layers, but {data.size_voxels} voxels can be halved "
        f"only {most} times: {' → '.join(map(str, sizes))}"
    )
    return [Problem(find_value(values, "model", "layers", most).place, text)]


def check_compression(model: ModelHparams, data: DataHparams, values: Located) -> list[Problem]:
    """The problem of a latent of no fewer numbers than the image."""
    size = data.size_voxels
    for _ in model.layers:
        size = calc_halved_size(size)
    num_latent = parse_field_type(model.latent).size * size**3
    num_image = prod((len(CHANNELS), *[data.size_voxels] * 3))
    if num_latent < num_image:
        return []
    text = (
        f"warning: model.latent: {num_latent:,} numbers, no fewer than the image's {num_image:,}: "
        f"compression ratio {num_image / num_latent:.2f}"
    )
    return [Problem(find_value(values, "model", "latent").place, text)]


def check_scale(data: DataHparams, values: Located) -> Iterator[Problem]:
    """Problems of atoms that no image could show, or that no crop has so many of."""
    place = find_value(values, "data", "radius_A").place
    side_A = data.size_voxels * data.resolution_A
    share = 4 / 3 * pi * (data.radius_A / data.resolution_A) ** 3
    if data.radius_A > side_A:
        text = f"data.radius_A: {data.radius_A:g} Å is more than the side of an image, {side_A:g} Å"
        yield Problem(place, text)
    elif share < MIN_SHARE:
        text = f"data.radius_A: an atom of {data.radius_A:g} Å fills {share:.2g} of a voxel of"
        yield Problem(place, f"{text} {data.resolution_A:g} Å; expected at least {MIN_SHARE:g}")
    if data.min_density_atoms_nm3 > MAX_DENSITY_ATOMS_NM3:
        text = (
            f"data.min_density_atoms_nm3: no crop has {data.min_density_atoms_nm3:g} atoms/nm³; "
            f"expected at most {MAX_DENSITY_ATOMS_NM3}, the density of diamond"
        )
        yield Problem(find_value(values, "data", "min_density_atoms_nm3").place, text)


def check_learning_rate(hparams: Hparams, values: Located) -> Iterator[Problem]:
    """The problem of a first step of Adam's, ten times the learning rate, that overflows."""
    rate, most = hparams.optim.learning_rate, float(np.finfo(np.float32).max) / 10
    if rate > most:
        text = f"optim.learning_rate: expected a number <= {most:.3g}, got {rate:g}"
        yield Problem(find_value(values, "optim", "learning_rate").place, text)


def check_memory(hparams: Hparams, values: Located) -> Iterator[Problem]:
    """The problem of a batch that no machine like this could hold."""
    size, model = hparams.data.size_voxels, hparams.model
    num_channels, num_in_images = len(CHANNELS), len(CHANNELS) * size**3
    num_in_kernels = 0
    for layer in model.layers:
        size, num_before = calc_halved_size(size), num_channels
        num_channels = parse_field_type(layer).size
        num_in_images += num_channels * size**3
        num_in_kernels += num_channels * (num_before + (model.convs_per_layer - 1) * num_channels)
    num_latent = parse_field_type(model.latent).size
    num_in_images += num_latent * size**3
    num_in_kernels += num_latent * num_channels
    # The decoder has as many.
    num_numbers = hparams.optim.batch_size * num_in_images + num_in_kernels * model.kernel_size**3
    num_bytes = 2 * BYTES_OF_NUMBER * num_numbers
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_bytes > memory_bytes:
        text = (
            f"data.size_voxels: a batch and the model's kernels take {format_bytes(num_bytes)} "
            f"at least; this machine has {format_bytes(memory_bytes)}"
        )
        yield Problem(find_value(values, "data", "size_voxels").place, text)


def check_warmup(hparams: Hparams, values: Located) -> list[Problem]:
    """The problem of a learning rate that never comes to its height."""
    num_steps = hparams.train.epochs * hparams.train.steps_per_epoch
    if hparams.optim.warmup_steps < num_steps:
        return []
    text = (
        f"warning: optim.warmup_steps: {hparams.optim.warmup_steps} steps of warm-up, but "
        f"the run has only {num_steps}; the learning rate doesn't come to its height"
    )
    return [Problem(find_value(values, "optim", "warmup_steps").place, text)]


def check_shares(hparams: Hparams, num_devices: int, values: Located) -> Iterator[Problem]:
    """Problems of crops that devices can't share."""
    batch_size = hparams.optim.batch_size
    if batch_size % num_devices:
        text = (
            f"optim.batch_size: expected a multiple of {num_devices}, since --devices "
            f"{num_devices} share each batch equally; got {batch_size}"
        )
        yield Problem(find_value(values, "optim", "batch_size").place, text)
    for key in ("num_val_crops", "num_test_crops"):
        if (num_crops := getattr(hparams.train, key)) < num_devices:
            text = (
                f"train.{key}: expected at least one for each of --devices {num_devices}, "
                f"got {num_crops}"
            )
            yield Problem(find_value(values, "train", key).place, text)
