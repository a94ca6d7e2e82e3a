"""Nonlinearities of irreps: gates and norms.

Letters: v voxels of all images, i o channels in and out, n irrep copies with l > 0.
"""

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ..compiled import CompiledNonlinearity, compile_gate, find_library
from .pointwise import PointwiseFunction
from .voxelwise import VoxelwiseNonlinearity


class IrrepsNonlinearity(VoxelwiseNonlinearity):
    """A pointwise function of scalars; other irrep copies are scaled by the sigmoid of a scalar.

    function: see `PointwiseFunction`
    """

    num_gates: int
    """Input channels before those of irreps_out."""

    def __init__(self, irreps: Irreps, *, function: str):
        super().__init__()
        self.irreps_out = Irreps(irreps)
        self.num_out = self.irreps_out.dim
        self.function = PointwiseFunction(function)
        # As numbers, since torch.compile can't trace Irreps.
        self._parts = [(count, irrep.dim) for count, irrep in self.irreps_out]
        self.num_scaled = sum(count for count, dim in self._parts if dim > 1)

    def calc_logits(self, gates: Tensor, scaled: list[Tensor]) -> Float[Tensor, "v n"]:
        """Calculate the sigmoid's argument.

        scaled: copies [v, copy, component] of each l
        """
        raise NotImplementedError

    def backpropagate_logits(
        self, grad_logits: Float[Tensor, "v n"], scaled: list[Tensor], grad_scaled: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the gradients of the gates and of each parameter; those of the copies are added to
        grad_scaled, in place."""
        raise NotImplementedError

    def calc(self, features: Float[Tensor, "v i"]) -> Float[Tensor, "v o"]:
        gates, scalars, scaled = self._split(features)
        factors = self.calc_logits(gates, scaled).sigmoid()
        for part in scalars:
            self.function.apply_(part)
        for part, factor in zip(scaled, self._split_copies(factors), strict=True):
            part.mul_(factor.unsqueeze(2))
        return features[:, self.num_gates :]

    def backpropagate(
        self, features: Float[Tensor, "v i"], grad: Float[Tensor, "v o"]
    ) -> tuple[Float[Tensor, "v i"], list[Tensor]]:
        grad_features = torch.empty_like(features)
        grad_features[:, self.num_gates :] = grad
        gates, scalars, scaled = self._split(features)
        grad_gates, grad_scalars, grad_scaled = self._split(grad_features)
        function_grads = [torch.zeros_like(p) for p in self.function.parameters()]
        for part, grad_part in zip(scalars, grad_scalars, strict=True):
            grads = self.function.backpropagate_(part, grad_part)
            function_grads = [a + b for a, b in zip(function_grads, grads, strict=True)]
        factors = self.calc_logits(gates, scaled).sigmoid()
        products = [(a * b).sum(2) for a, b in zip(scaled, grad_scaled, strict=True)]
        for grad_part, factor in zip(grad_scaled, self._split_copies(factors), strict=True):
            grad_part.mul_(factor.unsqueeze(2))
        grad_logits = torch.cat([gates[:, :0], *products], dim=1) * factors * (1 - factors)
        grads_of_gates, own_grads = self.backpropagate_logits(grad_logits, scaled, grad_scaled)
        grad_gates.copy_(grads_of_gates)
        return grad_features, own_grads + function_grads

    def _split(self, features: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return views: gates, scalars [v, copy], other copies [v, copy, component]."""
        sizes = [self.num_gates, *(count * dim for count, dim in self._parts)]
        gates, *parts = features.split(sizes, dim=1)
        scalars, scaled = [], []
        for part, (count, dim) in zip(parts, self._parts, strict=True):
            if dim == 1:
                scalars.append(part)
            else:
                scaled.append(part.unflatten(1, (count, dim)))
        return gates, scalars, scaled

    def _split_copies(self, values: Float[Tensor, "v n"]) -> tuple[Tensor, ...]:
        return values.split([count for count, dim in self._parts if dim > 1], dim=1)

    def extra_repr(self):
        return f"{self.irreps_in} -> {self.irreps_out}, {self.function.name}"


class Gate(IrrepsNonlinearity):
    """Gates: the scalars whose sigmoids scale the copies are the first channels of the input.

    source: Weiler et al. 2018, 3D Steerable CNNs, sec. 4.3
    """

    def __init__(self, irreps: Irreps, *, function: str):
        super().__init__(irreps, function=function)
        self.num_gates = self.num_scaled
        gates = [(self.num_gates, (0, 1))] if self.num_gates else []
        self.irreps_in = Irreps(gates) + self.irreps_out
        self.num_values = self.irreps_in.dim

    def find_compiled(self, x: Tensor, scale: Tensor) -> CompiledNonlinearity | None:
        library = find_library(x)
        if library is None or scale.dtype != torch.float32 or self.function.name != "elu":
            return None
        return compile_gate(library, self._parts)

    def calc_logits(self, gates, scaled):
        return gates

    def backpropagate_logits(self, grad_logits, scaled, grad_scaled):
        return grad_logits, []


class NormNonlinearity(IrrepsNonlinearity):
    """Norms: a copy is scaled by the sigmoid of its own norm plus a learned bias, x · σ(|x| + b).

    The norm is the root mean square of the 2l + 1 components.

    source: Worrall et al. 2017, Harmonic Networks, sec. 4.2, with a smooth function
    """

    num_gates = 0

    def __init__(self, irreps: Irreps, *, function: str):
        super().__init__(irreps, function=function)
        self.irreps_in = self.irreps_out
        self.num_values = self.irreps_in.dim
        self.bias = nn.Parameter(torch.zeros(self.num_scaled))

    def calc_logits(self, gates, scaled):
        return torch.cat([gates, *self._calc_lengths(scaled)], dim=1) + self.bias

    def backpropagate_logits(self, grad_logits, scaled, grad_scaled):
        lengths = self._calc_lengths(scaled)
        grads = self._split_copies(grad_logits)
        for part, grad_part, grad, length in zip(scaled, grad_scaled, grads, lengths, strict=True):
            # d|x|/dx = x / ((2l + 1) |x|), and 0 where x is 0.
            slope = grad / (part.shape[2] * length.clamp(min=torch.finfo(length.dtype).tiny))
            grad_part.addcmul_(part, slope.unsqueeze(2))
        return grad_logits[:, :0], [grad_logits.sum(0)]

    @staticmethod
    def _calc_lengths(scaled: list[Tensor]) -> list[Tensor]:
        return [part.square().mean(2).sqrt() for part in scaled]
