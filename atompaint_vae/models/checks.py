"""Checks of hyperparameters that the networks of several kinds of model share."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..nn.fields import parse_field_type
from ..nn.grids import GRIDS, calc_synthesis, load_grid
from ..text.formats import format_hparam
from ..text.located import Located, Problem, find_value, is_written
from .encoder import list_sizes
from .hparams import NetworkHparams

IMAGE_KEYS = ("resolution_A", "radius_A", "density", "elements")
"""Hyperparameters of the images that a network has learned to read, of any side."""


def check_images(
    hparams: Any, source: Any, name: str, written: Located, *, also: Sequence[str] = ()
) -> Iterator[Problem]:
    """Yield problems of images that aren't like those of another model.

    source: hyperparameters of the other model
    name:   of the other model
    also:   other keys of `data` that must agree
    """
    for key in (*also, *IMAGE_KEYS):
        our, their = getattr(hparams.data, key), getattr(source.data, key)
        if our != their:
            found, expected = format_hparam(our), format_hparam(their)
            text = f"data.{key}: {found}, but the images of {name} have {expected}"
            yield Problem(find_value(written, "data", key).place, text)


def find_keys(written: Located, part: str, key: str) -> tuple[str, ...]:
    """Return the keys under which a hyperparameter of a part of the model, or of all, is given.

    part: `encoder` or `decoder`; empty if the model has no parts
    """
    if key in NetworkHparams.model_fields and not is_written(written, "model", part, key):
        return "model", key
    return "model", part, key


def check_network(
    network: NetworkHparams, size_voxels: int | None, written: Located, part: str = ""
) -> Iterator[Problem]:
    """Yield problems of layers that don't fit their grid, or of too many layers for the images.

    size_voxels: side of the images; None if it is ill formed
    part:        `encoder` or `decoder`, whose keys may be given apart
    """
    yield from check_grids(network, written, part)
    if size_voxels is not None:
        yield from check_num_layers(network, size_voxels, written, part)


def check_grids(network: NetworkHparams, written: Located, part: str = "") -> Iterator[Problem]:
    """Yield problems of layers whose fields are too fine for the grid."""
    if network.grid == "auto" or network.symmetry == "none":
        return
    keys, grid = find_keys(written, part, "layers"), find_keys(written, part, "grid")
    for i, layer in enumerate(network.layers):
        for term in parse_field_type(layer).terms:
            if term.kind == "irrep" or _can_hold(network.grid, term):
                continue
            others = [grid for grid in GRIDS if _can_hold(grid, term)]
            yield Problem(
                find_value(written, *keys, i).place,
                f"{'.'.join(keys)}[{i}]: {term.kind} fields of frequency {term.frequency} are too "
                f"fine for {'.'.join(grid)} {network.grid}; expected {' or '.join(others)}",
            )


def _can_hold(grid: str, term: Any) -> bool:
    try:
        calc_synthesis(term, load_grid(grid))
    except ValueError:
        return False
    return True


def check_num_layers(
    network: NetworkHparams, size_voxels: int, written: Located, part: str = ""
) -> Iterator[Problem]:
    """Yield the problem of too many layers for the images' size."""
    sizes = list_sizes(size_voxels)
    most = len(sizes) - 1
    if len(network.layers) > most:
        keys = find_keys(written, part, "layers")
        yield Problem(
            find_value(written, *keys, most).place,
            f"{'.'.join(keys)}: {len(network.layers)} layers, but {size_voxels} voxels can be "
            f"halved only {most} times: {' → '.join(map(str, sizes))}",
        )
