"""Equivariant nonlinearities: pointwise on a grid for Fourier and quotient fields, gates for
irreps.

Each takes the image and, if a normalisation comes before it, that one's scale and shift (see
`IrrepsNorm.calc_affine`), so that the normalised image is never stored.

Letters: b batch, x y z voxels, i o channels in and out, v voxels of all images, t fields of one
term, f channels of one field, g grid points.
"""

import torch
import torch.nn.functional as F
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from .fields import FieldType, Term, parse_field_type
from .grids import calc_analysis, calc_synthesis, load_grid

POINTWISE_FUNCTIONS = ("elu", "relu", "hermite", "learned_hermite")

CHUNK_VALUES = 2**20
"""Numbers held at once on a CPU, 4 MB: less and the calls cost more than the work, more and they
no longer fit the cache."""


class PointwiseFunction(nn.Module):
    """A function of real numbers, applied elementwise.

    name: elu, relu; hermite, the first Hermite function, scaled to have its extremes ±1 at ±1; or
          learned_hermite, a sum of the first four, scaled alike, whose weights are learned and
          begin as those of hermite
    """

    def __init__(self, name: str):
        super().__init__()
        if name not in POINTWISE_FUNCTIONS:
            raise ValueError(
                f"nonlinearity {name!r} is unknown; "
                f"expected one of {', '.join(POINTWISE_FUNCTIONS)}"
            )
        self.name = name
        if name == "learned_hermite":
            self.weights = nn.Parameter(torch.tensor([0.0, 1.0, 0.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        match self.name:
            case "elu":
                return F.elu(x)
            case "relu":
                return F.relu(x)
            case "hermite":
                return x * torch.exp((1 - x * x) / 2)
            case "learned_hermite":
                # Of the probabilists' polynomials 1, x, x² − 1, x³ − 3x.
                w0, w1, w2, w3 = self.weights
                polynomial = ((w3 * x + w2) * x + (w1 - 3 * w3)) * x + (w0 - w2)
                return polynomial * torch.exp((1 - x * x) / 2)


class _InChunks(torch.autograd.Function):
    """function(scale · x + shift) @ analysis, in chunks of voxels.

    Only x is saved for the backward pass, which does the rest again: what a nonlinearity needs in
    between is several times as large.

    x:          [v, i]
    scale:      [i], as is shift; their precision is that of the work, x's that of the result
    analysis:   [g, f], applied to the last axis of [v, t, g]; None to leave it out
    function:   from [v, i]
    num_values: numbers that it makes for a voxel
    parameters: those that it uses
    """

    @staticmethod
    def forward(ctx, x, scale, shift, analysis, function, num_values, *parameters):
        ctx.save_for_backward(x, scale, shift, analysis, *parameters)
        ctx.function, ctx.num_values = function, num_values
        results = []
        for chunk in _chunk(x, num_values):
            values = function(torch.addcmul(shift, x[chunk].to(scale), scale))
            if analysis is not None:
                values = (values @ analysis).flatten(1)
            results.append(values.to(x))
        return torch.cat(results)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_result):
        x, scale, shift, analysis, *parameters = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        sums = [torch.zeros_like(p) for p in (scale, shift, *parameters)]
        for chunk in _chunk(x, ctx.num_values):
            x_chunk = x[chunk].to(scale)
            grad_values = grad_result[chunk].to(scale)
            if analysis is not None:
                grad_values = grad_values.unflatten(1, (-1, analysis.shape[1])) @ analysis.T
            affine = torch.addcmul(shift, x_chunk, scale).requires_grad_()
            with torch.enable_grad():
                values = ctx.function(affine)
            grad_affine, *grads = torch.autograd.grad(values, [affine, *parameters], grad_values)
            grad_x[chunk] = grad_affine * scale
            grads = [torch.linalg.vecdot(grad_affine, x_chunk, dim=0), grad_affine.sum(0), *grads]
            for total, grad in zip(sums, grads, strict=True):
                total += grad
        return grad_x, sums[0], sums[1], None, None, None, *sums[2:]


def _chunk(x: Tensor, num_values: int):
    step = max(1, CHUNK_VALUES // num_values) if x.device.type == "cpu" else len(x)
    return (slice(start, start + step) for start in range(0, len(x), step))


class VoxelwiseNonlinearity(nn.Module):
    """What the nonlinearities share: they turn each voxel's features by itself."""

    irreps_in: Irreps
    irreps_out: Irreps
    num_values: int
    analysis: Tensor | None

    def calc_values(self, features: Float[Tensor, "v i"]) -> Float[Tensor, "v ..."]:
        """The nonlinear part; `analysis`, if there is one, is applied to its last axis."""
        raise NotImplementedError

    def forward(
        self,
        image: Float[Tensor, "b i x y z"],
        scale: Float[Tensor, " i"] | None = None,
        shift: Float[Tensor, " i"] | None = None,
    ) -> Float[Tensor, "b o x y z"]:
        """The nonlinearity of scale · image + shift; of the image, if they are not given."""
        if scale is None or shift is None:
            scale, shift = image.new_ones(image.shape[1]), image.new_zeros(image.shape[1])
        voxels_last = image.movedim(1, -1)
        result = _InChunks.apply(
            voxels_last.flatten(0, -2),
            scale,
            shift,
            self.analysis,
            self.calc_values,
            self.num_values,
            *self.parameters(),
        )
        return result.view(*voxels_last.shape[:-1], -1).movedim(-1, 1)


class FourierNonlinearity(VoxelwiseNonlinearity):
    """A pointwise function of the function that each field stands for.

    term:     Fourier or quotient fields
    grid:     the name of an SO(3) grid; equivariance is exact for the 24 rotations of the cube and,
              for others, as good as the grid is fine
    function: see `PointwiseFunction`

    source: Cesa et al. 2021, A Program to Build E(N)-Equivariant Steerable CNNs, sec. 4
    """

    def __init__(self, term: Term, *, grid: str, function: str):
        super().__init__()
        self.term = term
        self.grid = grid
        self.function = PointwiseFunction(function)
        self.irreps_in = self.irreps_out = term.irreps
        synthesis = calc_synthesis(term, load_grid(grid))
        dtype = torch.get_default_dtype()
        self.register_buffer("synthesis", synthesis.to(dtype), persistent=False)
        self.register_buffer("analysis", calc_analysis(synthesis).to(dtype), persistent=False)
        self.num_values = term.multiplicity * synthesis.shape[1]

    def calc_values(self, features: Float[Tensor, "v i"]) -> Float[Tensor, "v t g"]:
        fields = features.unflatten(1, (self.term.multiplicity, -1))
        return self.function(fields @ self.synthesis)

    def extra_repr(self):
        return f"{self.term}, {self.function.name} on {self.grid}"


class Gate(VoxelwiseNonlinearity):
    """A pointwise function of scalars; sigmoid gates, one more scalar each, for all other irreps.

    The gates' scalars come first among the input's channels.

    function: see `PointwiseFunction`

    source: Weiler et al. 2018, 3D Steerable CNNs, sec. 4.3
    """

    def __init__(self, irreps: Irreps, *, function: str):
        super().__init__()
        self.irreps_out = Irreps(irreps)
        self.function = PointwiseFunction(function)
        # Plain numbers: torch.compile can't look into Irreps.
        self._parts = [(count, irrep.dim) for count, irrep in self.irreps_out]
        self.num_gates = sum(count for count, dim in self._parts if dim > 1)
        gates = [(self.num_gates, (0, 1))] if self.num_gates else []
        self.irreps_in = Irreps(gates) + self.irreps_out
        self.num_values = self.irreps_in.dim + self.irreps_out.dim
        self.register_buffer("analysis", None)

    def calc_values(self, features: Float[Tensor, "v i"]) -> Float[Tensor, "v o"]:
        gates = features[:, : self.num_gates].sigmoid().unsqueeze(2)
        outputs = []
        gate, start = 0, self.num_gates
        for count, dim in self._parts:
            part = features[:, start : start + count * dim]
            start += count * dim
            if dim == 1:
                outputs.append(self.function(part))
            else:
                copies = part.unflatten(1, (count, dim))
                outputs.append((copies * gates[:, gate : gate + count]).flatten(1))
                gate += count
        return torch.cat(outputs, dim=1)

    def extra_repr(self):
        return f"{self.irreps_out}, {self.function.name} and sigmoid gates"


class FieldNonlinearity(nn.Module):
    """The nonlinearity of a field type: Fourier and quotient terms on a grid, irreps gated.

    irreps_in has, before the plain irreps, a scalar for each gate.
    """

    def __init__(self, field_type: str | FieldType, *, grid: str, function: str):
        super().__init__()
        self.field_type = parse_field_type(field_type)
        parts: list[nn.Module] = []
        plain = Irreps([])
        for term in self.field_type.terms:
            if term.kind == "irrep":
                plain += term.irreps
                continue
            if plain:
                parts.append(Gate(plain, function=function))
                plain = Irreps([])
            parts.append(FourierNonlinearity(term, grid=grid, function=function))
        if plain:
            parts.append(Gate(plain, function=function))
        self.parts = nn.ModuleList(parts)
        self.irreps_in = sum((part.irreps_in for part in parts), Irreps([]))
        self.irreps_out = self.field_type.irreps

    def forward(
        self,
        image: Float[Tensor, "b i x y z"],
        scale: Float[Tensor, " i"] | None = None,
        shift: Float[Tensor, " i"] | None = None,
    ) -> Float[Tensor, "b o x y z"]:
        if len(self.parts) == 1:
            return self.parts[0](image, scale, shift)
        sizes = [part.irreps_in.dim for part in self.parts]
        images = image.split(sizes, dim=1)
        scales = [None] * len(sizes) if scale is None else scale.split(sizes)
        shifts = [None] * len(sizes) if shift is None else shift.split(sizes)
        inputs = zip(self.parts, images, scales, shifts, strict=True)
        return torch.cat([part(*arguments) for part, *arguments in inputs], dim=1)
