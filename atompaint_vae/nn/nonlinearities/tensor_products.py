"""Tensor-product nonlinearity of irreps.

Letters: v voxels of all images, i o channels in and out, n copies of a degree l, m their
components, d e components of one copy of each degree, p couplings.
"""

import torch
from e3nn.o3 import Irreps, wigner_3j
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ..fields import list_copies
from .pointwise import PointwiseFunction
from .voxelwise import VoxelwiseNonlinearity


def calc_couplings(degrees: list[int], l: int) -> Float64[Tensor, "p e m d"]:
    """Calculate the Clebsch-Gordan products of degree l of two vectors, [d] and [e], that have one
    copy of each of some degrees.

    Independent components of unit variance give products of unit variance.
    """
    sizes = [2 * degree + 1 for degree in degrees]
    couplings = []
    for i, l1 in enumerate(degrees):
        for j, l2 in enumerate(degrees):
            if abs(l1 - l2) <= l <= l1 + l2:
                coupling = torch.zeros(sum(sizes), sum(sizes), 2 * l + 1, dtype=torch.float64)
                block = coupling.split(sizes)[i].split(sizes, dim=1)[j]
                # Its squares sum to 1, over all three indices.
                block.copy_((2 * l + 1) ** 0.5 * wigner_3j(l1, l2, l, dtype=torch.float64))
                couplings.append(coupling)
    return torch.stack(couplings).movedim(1, -1)


class TensorProductNonlinearity(VoxelwiseNonlinearity):
    """Products of two feature vectors, a and b, then a pointwise function of the scalars.

    The input is a, then b, both with the irreps of the output.  In the output, copy k of degree l
    is a learned sum of the Clebsch-Gordan products (l1, l2 → l) of a and b, for all degrees that
    they have.  Copy k of each degree is multiplied, modulo their number.  Independent components
    of unit variance give products of unit variance.

    function: see `PointwiseFunction`
    source:   Kondor et al. 2018, Clebsch-Gordan Nets; here of copies with the same index only
    """

    def __init__(self, irreps: Irreps, *, function: str):
        super().__init__()
        self.irreps_out = Irreps(irreps)
        self.irreps_in = self.irreps_out + self.irreps_out
        degrees = sorted({irrep.l for irrep in list_copies(self.irreps_out)})
        self.products = nn.ModuleList(_Product(self.irreps_out, degrees, l) for l in degrees)
        self.function = PointwiseFunction(function)
        self.num_out = self.irreps_out.dim
        self.num_values = sum(product.num_values for product in self.products)

    def calc(self, features: Float[Tensor, "v i"]) -> Float[Tensor, "v o"]:
        result = features.new_empty(len(features), self.num_out)
        for product in self.products:
            values = product.calc(features)
            if product.degree == 0:
                self.function.apply_(values)
            result[:, product.channels] = values
        return result

    def backpropagate(
        self, features: Float[Tensor, "v i"], grad: Float[Tensor, "v o"]
    ) -> tuple[Float[Tensor, "v i"], list[Tensor]]:
        grad_features = torch.zeros_like(features)
        weight_grads = []
        function_grads = [torch.zeros_like(p) for p in self.function.parameters()]
        for product in self.products:
            grad_values = grad[:, product.channels]
            if product.degree == 0:
                values = product.calc(features)
                function_grads = self.function.backpropagate_(values, grad_values)
            part, grads = product.backpropagate(features, grad_values)
            grad_features += part
            weight_grads += grads
        return grad_features, weight_grads + function_grads

    def extra_repr(self):
        return f"{self.irreps_in} -> {self.irreps_out}, {self.function.name}"


class _Product(VoxelwiseNonlinearity):
    """The products of one degree, l.

    channels: those of the copies of degree l in the output of all degrees [nm]
    """

    def __init__(self, irreps: Irreps, degrees: list[int], l: int):
        super().__init__()
        self.degree = l
        copies = list_copies(irreps)
        channels = torch.arange(irreps.dim).split([irrep.dim for irrep in copies])
        channels_of = {
            degree: torch.stack([c for c, i in zip(channels, copies, strict=True) if i.l == degree])
            for degree in degrees
        }
        num_copies = len(channels_of[l])
        order = torch.arange(num_copies)
        factors = torch.cat([c[order % len(c)] for c in channels_of.values()], dim=1)
        couplings = calc_couplings(degrees, l)
        self.irreps_in = irreps + irreps
        self.irreps_out = Irreps([(num_copies, (l, 1))])
        self.num_out = self.irreps_out.dim
        self.num_values = num_copies * couplings[0, ..., 0].numel()
        self.weight = nn.Parameter(torch.full((num_copies, len(couplings)), len(couplings) ** -0.5))
        self.register_exact("couplings", couplings)
        self.register_buffer("channels", channels_of[l].flatten(), persistent=False)
        # The channels of a, and of b, that each copy is made of [n, d].
        self.register_buffer("_factors", factors, persistent=False)

    def calc(self, features: Float[Tensor, "v i"]) -> Float[Tensor, "v o"]:
        _, b, _, half = self._multiply(features)
        return half.mul_(b.unsqueeze(2)).sum(1).flatten(0, 1).T

    def backpropagate(
        self, features: Float[Tensor, "v i"], grad: Float[Tensor, "v o"]
    ) -> tuple[Float[Tensor, "v i"], list[Tensor]]:
        a, b, matrices, half = self._multiply(features)
        grad = grad.T.contiguous().unflatten(0, (len(a), 1, -1))
        grad_half = (grad * b.unsqueeze(2)).flatten(1, 2)
        grads = matrices.mT @ grad_half, half.mul_(grad).sum(2)
        grad_features = torch.zeros_like(features.T, memory_format=torch.contiguous_format)
        for total, part in zip(grad_features.chunk(2), grads, strict=True):
            total.index_add_(0, self._factors.flatten(), part.flatten(0, 1))
        grad_matrices = (grad_half @ a.mT).flatten(1)
        return grad_features.T, [grad_matrices @ self.couplings.to(features).flatten(1).T]

    def _multiply(
        self, features: Float[Tensor, "v i"]
    ) -> tuple[
        Float[Tensor, "n d v"],
        Float[Tensor, "n e v"],
        Float[Tensor, "n em d"],
        Float[Tensor, "n e m v"],
    ]:
        """Return a, b, the matrices that multiply a, and the results, still to multiply by b.

        Voxels come last, for long loops over neighbouring numbers.
        """
        a, b = (
            part.index_select(0, self._factors.flatten()).unflatten(0, self._factors.shape)
            for part in features.T.contiguous().chunk(2)
        )
        couplings = self.couplings.to(features)
        matrices = self.weight.to(features) @ couplings.flatten(1)
        matrices = matrices.view(len(a), -1, couplings.shape[-1])
        return a, b, matrices, (matrices @ a).unflatten(1, couplings.shape[1:3])
