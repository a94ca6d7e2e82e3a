"""Sums and collections over the processes that share a batch."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def count_processes() -> int:
    """Return the number of processes; 1 if torch.distributed isn't running."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def get_rank() -> int:
    """Return this process's number, from 0; 0 if torch.distributed isn't running."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_processes(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the sum of all processes' tensors, in each process; differentiable."""
    return _Sum.apply(tensor) if count_processes() > 1 else tensor


def gather_from_processes(items: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the items of all processes together, in each process."""
    if count_processes() == 1:
        return dict(items)
    parts: list[Any] = [None] * count_processes()
    dist.all_gather_object(parts, dict(items))
    return {key: value for part in parts for key, value in part.items()}


class _Sum(torch.autograd.Function):
    """A differentiable all_reduce; torch's own has no gradient, apart from a deprecated one."""

    @staticmethod
    def forward(context, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        # The loss of each process depends on the tensors of all processes.
        return sum_over_processes(gradient)
