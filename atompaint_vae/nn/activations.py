"""Equivariant nonlinearities: pointwise on a grid for Fourier and quotient fields, gates for
irreps.

Each takes the image and, if a normalisation comes before it, that one's scale and shift (see
`IrrepsNorm.calc_affine`), so that the normalised image is never stored.

Letters: b batch, x y z voxels, c channels, v voxels of all images, t fields of one term, f channels
of one field, g grid points.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from .fields import FieldType, Term, parse_field_type
from .grids import calc_analysis, calc_synthesis, load_grid

CHUNK_VALUES = 2**20
"""Grid values held at once on a CPU, 4 MB: less and the calls cost more than the work, more and
they no longer fit the cache."""


@dataclass(frozen=True)
class PointwiseFunction:
    """A function of real numbers with its derivative, both applied elementwise."""

    name: str

    def value(self, x: Tensor) -> Tensor:
        match self.name:
            case "elu":
                return F.elu(x)
            case "relu":
                return F.relu(x)
            case "hermite":
                return x * torch.exp((1 - x * x) / 2)

    def slope(self, x: Tensor) -> Tensor:
        match self.name:
            case "elu":
                return x.clamp(max=0).exp()
            case "relu":
                return (x > 0).to(x)
            case "hermite":
                return (1 - x * x) * torch.exp((1 - x * x) / 2)


POINTWISE_FUNCTIONS = ("elu", "relu", "hermite")
"""Hermite is the first Hermite function, scaled to have its extremes ±1 at ±1."""


def get_pointwise_function(name: str) -> PointwiseFunction:
    if name not in POINTWISE_FUNCTIONS:
        raise ValueError(
            f"nonlinearity {name!r} is unknown; expected one of {', '.join(POINTWISE_FUNCTIONS)}"
        )
    return PointwiseFunction(name)


class _NonlinearityOnGrid(torch.autograd.Function):
    """analysis(function(synthesis(scale · x + shift))), in chunks of voxels.

    Only the input is saved for the backward pass, which makes the grid values again: they are
    several times as many as the channels.
    """

    @staticmethod
    def forward(ctx, fields, scale, shift, synthesis, analysis, function):
        ctx.save_for_backward(fields, scale, shift, synthesis, analysis)
        ctx.function = function
        result = torch.empty_like(fields)
        for chunk in _chunk(fields, synthesis.shape[1]):
            values = torch.addcmul(shift, fields[chunk].to(scale), scale) @ synthesis
            result[chunk] = function.value(values) @ analysis
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_result):
        fields, scale, shift, synthesis, analysis = ctx.saved_tensors
        grad_fields = torch.empty_like(fields)
        grad_scale, grad_shift = torch.zeros_like(scale), torch.zeros_like(shift)
        for chunk in _chunk(fields, synthesis.shape[1]):
            x = fields[chunk].to(scale)
            values = torch.addcmul(shift, x, scale) @ synthesis
            grad_values = grad_result[chunk].to(scale) @ analysis.T
            grad_affine = grad_values.mul_(ctx.function.slope(values)) @ synthesis.T
            grad_fields[chunk] = grad_affine * scale
            grad_scale += torch.linalg.vecdot(grad_affine, x, dim=0)
            grad_shift += grad_affine.sum(dim=0)
        return grad_fields, grad_scale, grad_shift, None, None, None


def _chunk(fields: Tensor, num_points: int):
    num_voxels, num_fields, _ = fields.shape
    step = num_voxels
    if fields.device.type == "cpu":
        step = max(1, CHUNK_VALUES // (num_fields * num_points))
    return (slice(start, start + step) for start in range(0, num_voxels, step))


class FourierNonlinearity(nn.Module):
    """A pointwise function of the function that each field stands for.

    term:     Fourier or quotient fields
    grid:     the name of an SO(3) grid; equivariance is exact for the 24 rotations of the cube and,
              for others, as good as the grid is fine
    function: elu, relu or hermite

    source: Cesa et al. 2021, A Program to Build E(N)-Equivariant Steerable CNNs, sec. 4
    """

    def __init__(self, term: Term, *, grid: str, function: str):
        super().__init__()
        self.term = term
        self.grid = grid
        self.function = get_pointwise_function(function)
        self.irreps_in = self.irreps_out = term.irreps
        synthesis = calc_synthesis(term, load_grid(grid))
        self.register_buffer("synthesis", synthesis.to(torch.get_default_dtype()), persistent=False)
        analysis = calc_analysis(synthesis).to(torch.get_default_dtype())
        self.register_buffer("analysis", analysis, persistent=False)

    def forward(
        self,
        image: Float[Tensor, "b c x y z"],
        scale: Float[Tensor, " c"] | None = None,
        shift: Float[Tensor, " c"] | None = None,
    ) -> Float[Tensor, "b c x y z"]:
        num_fields, field_size = self.term.multiplicity, len(self.synthesis)
        if scale is None:
            scale, shift = self.synthesis.new_ones(image.shape[1]), self.synthesis.new_zeros(1)
            shift = shift.expand_as(scale)
        voxels_last = image.movedim(1, -1)
        result = _NonlinearityOnGrid.apply(
            voxels_last.reshape(-1, num_fields, field_size),
            scale.view(num_fields, field_size),
            shift.reshape(num_fields, field_size),
            self.synthesis,
            self.analysis,
            self.function,
        )
        return result.view(voxels_last.shape).movedim(-1, 1)

    def extra_repr(self):
        return f"{self.term}, {self.function.name} on {self.grid}"


class Gate(nn.Module):
    """A pointwise function of scalars; sigmoid gates, one more scalar each, for all other irreps.

    The gates' scalars come first among the input's channels.
    """

    def __init__(self, irreps: Irreps, *, function: str):
        super().__init__()
        self.irreps_out = Irreps(irreps)
        self.function = get_pointwise_function(function)
        self.num_gates = sum(count for count, irrep in self.irreps_out if irrep.l > 0)
        gates = [(self.num_gates, (0, 1))] if self.num_gates else []
        self.irreps_in = Irreps(gates) + self.irreps_out

    def forward(
        self,
        image: Float[Tensor, "b i x y z"],
        scale: Float[Tensor, " i"] | None = None,
        shift: Float[Tensor, " i"] | None = None,
    ) -> Float[Tensor, "b o x y z"]:
        if scale is not None:
            image = torch.addcmul(shift.view(-1, 1, 1, 1), image.to(scale), scale.view(-1, 1, 1, 1))
        sizes = [self.num_gates] + [count * irrep.dim for count, irrep in self.irreps_out]
        gates, *parts = image.split(sizes, dim=1)
        gates = iter(
            gates.sigmoid().split([n for n, irrep in self.irreps_out if irrep.l > 0], dim=1)
        )
        outputs = []
        for part, (_, irrep) in zip(parts, self.irreps_out, strict=True):
            if irrep.l == 0:
                outputs.append(self.function.value(part))
            else:
                outputs.append(part * next(gates).repeat_interleave(irrep.dim, dim=1))
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
