"""The nonlinearity of Fourier and quotient fields: a pointwise function on a grid.

Letters: v voxels of all images, i channels, g grid points.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..compiled import CompiledNonlinearity, compile_fourier, find_library
from ..fields import Term
from ..grids import DEFAULT_GRIDS, calc_analysis, calc_synthesis, load_grid
from .pointwise import PointwiseFunction
from .voxelwise import VoxelwiseNonlinearity


class FourierNonlinearity(VoxelwiseNonlinearity):
    """A pointwise nonlinearity of the function that each field represents.

    term:     Fourier or quotient fields
    grid:     the name of an SO(3) grid, or its rotation matrices; by default that of
              `DEFAULT_GRIDS`.  Equivariance is exact for the 24 rotations of the cube, if they
              permute the grid's points, and better for other rotations the finer the grid.
    function: see `PointwiseFunction`

    source: Cesa et al. 2021, A Program to Build E(N)-Equivariant Steerable CNNs, sec. 4
    """

    def __init__(
        self,
        term: Term,
        *,
        grid: str | Float64[Tensor, "g 3 3"] | None = None,
        function: str = "elu",
    ):
        super().__init__()
        if grid is None:
            grid = DEFAULT_GRIDS[term.frequency]
        self.term = term
        self.function = PointwiseFunction(function)
        self.irreps_in = self.irreps_out = term.irreps
        rotations = load_grid(grid) if isinstance(grid, str) else grid
        synthesis = calc_synthesis(term, rotations)
        self.register_exact("synthesis", synthesis)
        self.register_exact("analysis", calc_analysis(synthesis))
        self.num_out = term.size
        self.num_values = term.multiplicity * synthesis.shape[1]

    def find_compiled(self, x: Tensor, scale: Tensor) -> CompiledNonlinearity | None:
        library = find_library(x)
        if library is None or scale.dtype != torch.float32 or self.function.name != "elu":
            return None
        return compile_fourier(library, self.term.multiplicity, self.synthesis, self.analysis)

    def calc(self, features: Float[Tensor, "v i"]) -> Float[Tensor, "v i"]:
        values = self.function.apply_(self._split_fields(features) @ self.synthesis.to(features))
        return (values @ self.analysis.to(features)).view(features.shape)

    def backpropagate(
        self, features: Float[Tensor, "v i"], grad: Float[Tensor, "v i"]
    ) -> tuple[Float[Tensor, "v i"], list[Tensor]]:
        synthesis, analysis = self.synthesis.to(features), self.analysis.to(features)
        values = self._split_fields(features) @ synthesis
        grad_values = self._split_fields(grad) @ analysis.T
        grads = self.function.backpropagate_(values, grad_values)
        return (grad_values @ synthesis.T).view(features.shape), grads

    def _split_fields(self, features: Tensor) -> Tensor:
        """Reshape to one row per field and voxel."""
        return features.reshape(-1, len(self.synthesis))

    def extra_repr(self):
        points = f"{self.synthesis.shape[1]} points"
        return f"{self.term} -> {self.term}, {self.function.name} on {points}"
