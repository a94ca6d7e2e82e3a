"""Sums over the processes that compute one batch together, a part of it each."""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def count_processes() -> int:
    """How many there are; 1 where torch.distributed doesn't run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The sum of every process's tensor, in each of them; with a gradient."""
    return _Sum.apply(tensor) if count_processes() > 1 else tensor


class _Sum(torch.autograd.Function):
    """torch's own all_reduce has no gradient, but for one that is deprecated."""

    @staticmethod
    def forward(context, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        # Every process's loss depends on every process's tensor.
        return sum_over_processes(gradient)
