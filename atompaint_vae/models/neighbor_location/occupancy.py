"""A baseline: how well the face is predicted from where the views are filled, and how much.

Letters: n pairs of views, v = 1 or 2 views, d numbers of a pair, x y z cells.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...nn.rotations import make_octahedral_group, rotate_voxels
from .views import FACES, NORMALS, ViewPair

NUM_CELLS = 3
"""Cells along each side of a view: those at a face are an outer slab."""

RIDGE = 1e-4
"""Weight of the squared coefficients, of standardised numbers."""


def calc_occupancy_accuracies(
    train: Iterable[ViewPair], held_out: Iterable[ViewPair]
) -> dict[str, float]:
    """Return the held-out accuracies of logistic regressions on the occupancies of 3³ cells.

    train, held_out: batches of views; some thousand pairs are enough
    returns:         `both`, from both views; `first` and `second`, from one view alone
    """
    (cells, face), (held_out_cells, held_out_face) = map(_pool, (train, held_out))
    cells, face = _add_rotated(cells, face)
    parts = {"both": [0, 1], "first": [0], "second": [1]}
    accuracies = {}
    for name, views in parts.items():
        numbers, held_out_numbers = (x[:, views].flatten(1) for x in (cells, held_out_cells))
        mean, std = numbers.mean(dim=0), numbers.std(dim=0)
        weight, bias = _fit((numbers - mean) / std, face)
        logits = (held_out_numbers - mean) / std @ weight + bias
        accuracies[name] = (logits.argmax(dim=1) == held_out_face).double().mean().item()
    return accuracies


def _pool(pairs: Iterable[ViewPair]) -> tuple[Float[Tensor, "n v x y z"], Int[Tensor, " n"]]:
    """Return the occupancy of each cell, and the faces."""
    cells, faces = [], []
    for images, face in pairs:
        cells.append(F.adaptive_avg_pool3d(images.sum(dim=2).double(), NUM_CELLS))
        faces.append(face)
    return torch.cat(cells), torch.cat(faces)


def _add_rotated(
    cells: Float[Tensor, "n v x y z"], face: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "m v x y z"], Int[Tensor, " m"]]:
    """Return the pairs in all 24 orientations of the cube."""
    rotated, faces = [], []
    for rotation in make_octahedral_group():
        turned = (NORMALS @ rotation.T)[:, None] == NORMALS
        rotated.append(rotate_voxels(cells, rotation))
        faces.append(turned.all(dim=2).double().argmax(dim=1)[face])
    return torch.cat(rotated), torch.cat(faces)


def _fit(numbers: Float[Tensor, "n d"], face: Int[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """Return the weights [d, 6] and biases [6] of a multinomial logistic regression."""
    weight = numbers.new_zeros(numbers.shape[1], len(FACES), requires_grad=True)
    bias = numbers.new_zeros(len(FACES), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def calc_loss() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(numbers @ weight + bias, face) + RIDGE * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(calc_loss)
    return weight.detach(), bias.detach()
