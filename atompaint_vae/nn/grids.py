"""Grids on SO(3), and the Fourier transforms between fields and their values on a grid.

Letters: g grid points, f channels of one field.
"""

from functools import cache
from importlib import resources

import numpy as np
import torch
from e3nn.o3 import spherical_harmonics
from jaxtyping import Float64
from torch import Tensor

from .fields import Term
from .rotations import calc_wigner

GRIDS = tuple(f"octahedral_{num_points}" for num_points in (48, 72, 96, 120, 144, 192))
"""The project was given all but the last; `optimise_grid` made octahedral_192, the only one with
enough points for Fourier fields of frequency 3."""

DEFAULT_GRIDS = {
    0: "octahedral_48",
    1: "octahedral_48",
    2: "octahedral_96",
    3: "octahedral_192",
}
"""The grid used for fields of each frequency, unless another is named."""

SPHERE_POLE = (0.0, 0.0, 1.0)


@cache
def load_grid(name: str) -> Float64[Tensor, "g 3 3"]:
    """Load the rotation matrices of a grid on SO(3).

    Each grid is a union of left cosets of the octahedral group, placed to reduce the aliasing of
    pointwise nonlinearities.  A rotation by 90° about an axis of the cube permutes the grid's
    points.

    raises: ValueError if there is no grid of that name
    """
    if name not in GRIDS:
        raise ValueError(f"grid {name!r} is unknown; expected one of {', '.join(GRIDS)}")
    with (
        resources.files(__package__).joinpath("so3_grids.npz").open("rb") as file,
        np.load(file) as grids,
    ):
        return torch.from_numpy(grids[name])


def calc_synthesis(term: Term, grid: Float64[Tensor, "g 3 3"]) -> Float64[Tensor, "f g"]:
    """Return the matrix that maps a field's coefficients to the function's values on a grid.

    Fourier fields:  f(R) = Σ_l √(2l+1) Σ_n [D^l(R)^T c^l_n]_n; the rotation c → D(Q) c gives
                     f(Q⁻¹R).
    Quotient fields: f(R) = Σ_l c^l · Y^l(R p) with p the pole of the sphere.

    Rows are scaled so that independent coefficients of unit variance give values of unit variance.

    raises: ValueError if the term is of plain irreps, or the grid has too few points for its
            frequency
    """
    degrees = range(term.frequency + 1)
    match term.kind:
        case "fourier":
            # D^l(R)_mn is the coefficient of component m of copy n.
            rows = [
                (2 * l + 1) ** 0.5 * calc_wigner(l, grid).mT.reshape(len(grid), -1) for l in degrees
            ]
        case "quotient":
            points = grid @ torch.tensor(SPHERE_POLE, dtype=grid.dtype)
            rows = [
                spherical_harmonics(l, points, normalize=True, normalization="component")
                for l in degrees
            ]
        case "irrep":
            raise ValueError(f"{term} is not a function on a grid; use gates or norms")

    matrix = torch.cat(rows, dim=1).T / term.field_irreps.dim**0.5
    if torch.linalg.matrix_rank(matrix) < len(matrix):
        raise ValueError(
            f"a grid of {len(grid)} points can't hold a {term.kind} field of frequency "
            f"{term.frequency}, which has {len(matrix)} channels"
        )
    return matrix


def calc_analysis(synthesis: Float64[Tensor, "f g"]) -> Float64[Tensor, "g f"]:
    """Return the matrix that maps values on a grid to coefficients.

    It is the pseudo-inverse, so that the round trip from coefficients to values and back is exact.
    """
    return torch.linalg.pinv(synthesis)
