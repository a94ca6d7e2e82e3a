"""The base of all nonlinearities: they act on each voxel's features independently.

Each takes the image and, if a normalisation precedes it, the scale and shift of the latter (see
`IrrepsNorm.calc_affine`; of each image apart, `InstanceNorm.calc_affine`), so that the normalised
image is never stored.  Gradients are written out.
The intermediate values are several times as large as image and result, so they are calculated in
chunks of voxels that fit the processor's cache, and again in the backward pass; or not stored at
all, where there is compiled code.

Letters: b batch, x y z voxels, i o channels in and out, v voxels of all images; in chunks, g
groups of images with their own scale and shift, each of u voxels.
"""

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor

from ..compiled import CompiledNonlinearity
from ..precision import ExactModule, has_slow_bfloat16

CHUNK_VALUES = 2**19
"""Intermediate values of a chunk on a CPU, 2 MB: with fewer, the overhead of calls dominates; with
more, they no longer fit the cache."""


class VoxelwiseNonlinearity(ExactModule):
    """A nonlinearity of each voxel's features.

    num_out:    number of channels of the result, since torch.compile can't trace Irreps
    num_values: number of intermediate values per voxel
    """

    irreps_in: Irreps
    irreps_out: Irreps
    num_out: int
    num_values: int

    def __repr__(self):
        return f"{type(self).__name__}({self.extra_repr()})"

    def calc(self, features: Float[Tensor, "v i"]) -> Float[Tensor, "v o"]:
        """Calculate the result; features may be overwritten."""
        raise NotImplementedError

    def backpropagate(
        self, features: Float[Tensor, "v i"], grad: Float[Tensor, "v o"]
    ) -> tuple[Float[Tensor, "v i"], list[Tensor]]:
        """Calculate the gradients of the features and of each parameter, from that of the result;
        features may be overwritten."""
        raise NotImplementedError

    def find_compiled(self, x: Tensor, scale: Tensor) -> CompiledNonlinearity | None:
        """Return compiled code that does the same for such x and scale, None if there is none."""
        return None

    def forward(
        self,
        image: Float[Tensor, "b i x y z"],
        scale: Float[Tensor, " i"] | Float[Tensor, "b i"] | None = None,
        shift: Float[Tensor, " i"] | Float[Tensor, "b i"] | None = None,
    ) -> Float[Tensor, "b o x y z"]:
        """Apply the nonlinearity to scale · image + shift, or to the image if they are None."""
        if scale is None or shift is None:
            scale, shift = image.new_ones(image.shape[1]), image.new_zeros(image.shape[1])
        channels_last = image.movedim(1, -1)
        if scale.dim() == 1:
            x, scale, shift = channels_last.flatten(0, -2)[None], scale[None], shift[None]
        else:
            x = channels_last.flatten(1, -2)
        result = _InChunks.apply(x, scale, shift, self, *self.parameters())
        return result.view(*channels_last.shape[:-1], self.num_out).movedim(-1, 1)


class _InChunks(torch.autograd.Function):
    """nonlinearity(scale · x + shift), in chunks of voxels; of these, only x is saved.

    x:          [g, u, i]; its precision is that of the result, and of the nonlinearity unless
                bfloat16 is slow
    scale:      [g, i], like shift; their precision is that of the product and of all sums
    parameters: the nonlinearity's
    """

    @staticmethod
    def forward(ctx, x, scale, shift, nonlinearity, *parameters):
        ctx.save_for_backward(x, scale, shift, *parameters)
        ctx.nonlinearity = nonlinearity
        ctx.compiled = nonlinearity.find_compiled(x, scale)
        if ctx.compiled is not None:
            return ctx.compiled.calc(x, scale, shift)
        precision = _choose_precision(x)
        result = x.new_empty(*x.shape[:2], nonlinearity.num_out)
        # Autocast chooses types of its own: bfloat16 for matrix products on CPUs, where it may be
        # slow, and float32 for sums on GPUs.
        with torch.autocast("cuda" if x.is_cuda else "cpu", enabled=False):
            for chunk in _chunk(x, nonlinearity.num_values):
                features = torch.addcmul(shift[:, None], x[:, chunk].to(scale), scale[:, None])
                values = nonlinearity.calc(features.to(precision).flatten(0, 1))
                result[:, chunk] = values.unflatten(0, features.shape[:2])
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_result):
        x, scale, shift, *parameters = ctx.saved_tensors
        if ctx.compiled is not None:
            return *ctx.compiled.backpropagate(x, scale, shift, grad_result), None
        precision = _choose_precision(x)
        grad_x = torch.empty_like(x)
        sums = [torch.zeros_like(p) for p in (scale, shift, *parameters)]
        for chunk in _chunk(x, ctx.nonlinearity.num_values):
            x_chunk = x[:, chunk].to(scale)
            features = torch.addcmul(shift[:, None], x_chunk, scale[:, None])
            grad, grads = ctx.nonlinearity.backpropagate(
                features.to(precision).flatten(0, 1),
                grad_result[:, chunk].to(precision).flatten(0, 1),
            )
            grad = grad.to(scale).view(x_chunk.shape)
            grads = [torch.linalg.vecdot(grad, x_chunk, dim=1), grad.sum(1), *grads]
            for total, part in zip(sums, grads, strict=True):
                total += part
            grad_x[:, chunk] = grad.mul_(scale[:, None])
        return grad_x, sums[0], sums[1], None, *sums[2:]


def _choose_precision(x: Tensor) -> torch.dtype:
    is_slow = x.dtype == torch.bfloat16 and has_slow_bfloat16(x.device)
    return torch.float32 if is_slow else x.dtype


def _chunk(x: Tensor, num_values: int):
    num_groups, length, _ = x.shape
    is_cpu = x.device.type == "cpu"
    step = max(1, CHUNK_VALUES // (num_groups * num_values) if is_cpu else length)
    return (slice(start, start + step) for start in range(0, length, step))
