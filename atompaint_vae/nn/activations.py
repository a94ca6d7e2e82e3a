"""Equivariant nonlinearities of field types: on a grid for Fourier and quotient fields; gates,
norms or tensor products for irreps.

Letters: b batch, x y z voxels, i o channels in and out, v voxels of all images, g grid points.
"""

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float, Float64
from torch import Tensor, nn

from .fields import FieldType, Term, parse_field_type
from .gates import Gate, NormNonlinearity
from .grids import DEFAULT_GRIDS, calc_analysis, calc_synthesis, load_grid
from .pointwise import PointwiseFunction
from .tensor_products import TensorProductNonlinearity
from .voxelwise import VoxelwiseNonlinearity

IRREPS_NONLINEARITIES = {
    "gate": Gate,
    "norm": NormNonlinearity,
    "tensor_product": TensorProductNonlinearity,
}


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


class FieldNonlinearity(nn.Module):
    """The nonlinearity of a field type: on a grid for Fourier and quotient terms; by gates, norms
    or tensor products for plain irreps.

    grid, function: see `FourierNonlinearity`
    irreps:         "gate", "norm" or "tensor_product"; irreps_in has a scalar per gate, before the
                    plain irreps, with gates, and has the plain irreps twice with tensor products
    """

    def __init__(
        self,
        field_type: str | FieldType,
        *,
        grid: str | None = None,
        function: str = "elu",
        irreps: str = "gate",
    ):
        super().__init__()
        if irreps not in IRREPS_NONLINEARITIES:
            known = ", ".join(IRREPS_NONLINEARITIES)
            raise ValueError(
                f"nonlinearity of irreps {irreps!r} is unknown; expected one of {known}"
            )
        self.field_type = parse_field_type(field_type)
        make_plain = IRREPS_NONLINEARITIES[irreps]
        parts: list[nn.Module] = []
        plain = Irreps([])
        for term in self.field_type.terms:
            if term.kind == "irrep":
                plain += term.irreps
                continue
            if plain:
                parts.append(make_plain(plain, function=function))
                plain = Irreps([])
            parts.append(FourierNonlinearity(term, grid=grid, function=function))
        if plain:
            parts.append(make_plain(plain, function=function))
        self.parts = nn.ModuleList(parts)
        # As numbers, since torch.compile can't trace Irreps.
        self._sizes = [part.irreps_in.dim for part in parts]
        self.irreps_in = sum((part.irreps_in for part in parts), Irreps([]))
        self.irreps_out = self.field_type.irreps

    def __repr__(self):
        return " + ".join(map(repr, self.parts))

    def forward(
        self,
        image: Float[Tensor, "b i x y z"],
        scale: Float[Tensor, " i"] | Float[Tensor, "b i"] | None = None,
        shift: Float[Tensor, " i"] | Float[Tensor, "b i"] | None = None,
    ) -> Float[Tensor, "b o x y z"]:
        if len(self.parts) == 1:
            return self.parts[0](image, scale, shift)
        images = image.split(self._sizes, dim=1)
        scales = [None] * len(images) if scale is None else scale.split(self._sizes, dim=-1)
        shifts = [None] * len(images) if shift is None else shift.split(self._sizes, dim=-1)
        inputs = zip(self.parts, images, scales, shifts, strict=True)
        return torch.cat([part(*arguments) for part, *arguments in inputs], dim=1)
