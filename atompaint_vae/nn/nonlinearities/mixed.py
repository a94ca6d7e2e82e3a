"""The nonlinearity of any field type: on a grid for Fourier and quotient fields; gates, norms or
tensor products for irreps.

Letters: b batch, x y z voxels, i o channels in and out.
"""

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ..fields import FieldType, parse_field_type
from .fourier import FourierNonlinearity
from .gates import Gate, NormNonlinearity
from .tensor_products import TensorProductNonlinearity

IRREPS_NONLINEARITIES = {
    "gate": Gate,
    "norm": NormNonlinearity,
    "tensor_product": TensorProductNonlinearity,
}


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
