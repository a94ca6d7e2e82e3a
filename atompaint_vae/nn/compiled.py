"""Normalisation, gates and Fourier nonlinearities in compiled code, for CPUs.

In Python, each operation writes an intermediate result to memory, and that takes most of the time.
`compiled.cpp` reads and writes each voxel once.  It is compiled when a process first needs it, for
this processor, which takes a second.  Without a compiler, the layers do the same in Python.

Letters: g groups of images with their own scale and shift, u voxels of a group, i o channels in and
out, p points of a grid.
"""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..compiler import compile_library

SOURCE = Path(__file__).with_suffix(".cpp")
MIN_SHARE, MIN_FOURIER_SHARE, MAX_SHARES = 2048, 128, 16
"""Voxels that are worth a thread's while, and how many threads a group of images may have."""

NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def find_library(x: Tensor) -> ctypes.CDLL | None:
    """Return the compiled code if it can calculate with a tensor, else None."""
    # torch.compile makes code of its own, and only real tensors have values in memory.
    is_real = not torch.compiler.is_compiling() and type(x) is Tensor and x.device.type == "cpu"
    return load_library() if is_real and x.dtype in NAMES else None


def load_library() -> ctypes.CDLL | None:
    """Return the compiled code; None where there is no compiler."""
    return compile_library(SOURCE)


def calc_moments(library: ctypes.CDLL, x: Float[Tensor, "g u i"]) -> Float64[Tensor, "2 g i"]:
    """Calculate each channel's sums of values and of squares."""
    x = x.contiguous()

    def add(group: int, voxels: slice) -> tuple[int, Tensor]:
        sums = torch.zeros(2, x.shape[2], dtype=torch.float64)
        share = x[group, voxels]
        _call(library, "add_moments", share, *sums, sizes=share.shape)
        return group, sums

    return _add_up(_run_in_threads(add, x), x)


class CompiledNonlinearity:
    """A nonlinearity of scale · x + shift, in one pass over the voxels.

    name:      of its functions
    num_out:   channels of the result
    layout:    their last arguments
    min_share: voxels that are worth a thread's while
    """

    def __init__(
        self, library: ctypes.CDLL, name: str, num_out: int, layout: Sequence, min_share: int
    ):
        self.library = library
        self.name = name
        self.num_out = num_out
        self.layout = layout
        self.min_share = min_share

    def calc(
        self, x: Float[Tensor, "g u i"], scale: Float[Tensor, "g i"], shift: Float[Tensor, "g i"]
    ) -> Float[Tensor, "g u o"]:
        """Calculate the result in float32, and round it as x is."""
        x, scale, shift = x.contiguous(), _get_ready(scale), _get_ready(shift)
        result = x.new_empty(*x.shape[:2], self.num_out)

        def apply(group: int, voxels: slice):
            share = x[group, voxels]
            tensors = share, scale[group], shift[group], result[group, voxels]
            self._call("apply", *tensors, num_voxels=len(share))

        _run_in_threads(apply, x, self.min_share)
        return result

    def backpropagate(
        self,
        x: Float[Tensor, "g u i"],
        scale: Float[Tensor, "g i"],
        shift: Float[Tensor, "g i"],
        grad_result: Float[Tensor, "g u o"],
    ) -> tuple[Float[Tensor, "g u i"], Float[Tensor, "g i"], Float[Tensor, "g i"]]:
        """Calculate the gradients of x, scale and shift."""
        x, scale, shift = x.contiguous(), _get_ready(scale), _get_ready(shift)
        grad_result = grad_result.to(x).contiguous()
        grad_x = torch.empty_like(x)

        def apply(group: int, voxels: slice) -> tuple[int, Tensor]:
            sums = torch.zeros(2, x.shape[2], dtype=torch.float64)
            shares = [t[group, voxels] for t in (x, grad_result, grad_x)]
            tensors = shares[0], scale[group], shift[group], *shares[1:], *sums
            self._call("backpropagate", *tensors, num_voxels=len(shares[0]))
            return group, sums

        return grad_x, *_add_up(_run_in_threads(apply, x, self.min_share), x).to(scale)

    def _call(self, action: str, *tensors: Tensor, num_voxels: int):
        name = f"{action}{self.name}"
        _call(self.library, name, *tensors, sizes=[num_voxels], others=self.layout)


def compile_gate(
    library: ctypes.CDLL, parts: Sequence[tuple[int, int]]
) -> CompiledNonlinearity:
    """Return ELU of scalars, and other irrep copies scaled by the sigmoid of a scalar.

    parts: copies and components of each part of the result; the gates come before them
    """
    counts = (ctypes.c_int64 * (2 * len(parts)))(*(n for part in parts for n in part))
    num_out = sum(count * dim for count, dim in parts)
    layout = counts, ctypes.c_int64(len(parts))
    return CompiledNonlinearity(library, "", num_out, layout, MIN_SHARE)


class _Grid(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("num_fields", "dim", "num_points")),
        *((name, ctypes.c_void_p) for name in ("synthesis", "analysis")),
        *((name, ctypes.c_void_p) for name in ("analysis_rows", "synthesis_rows")),
    ]


def compile_fourier(
    library: ctypes.CDLL,
    num_fields: int,
    synthesis: Float[Tensor, "i p"],
    analysis: Float[Tensor, "p i"],
) -> CompiledNonlinearity:
    """Return ELU on the points of a grid, of Fourier fields of i components each."""
    matrices = [_get_ready(x) for x in (synthesis, analysis, analysis.T, synthesis.T)]
    grid = _Grid(num_fields, *synthesis.shape, *(x.data_ptr() for x in matrices))
    grid.matrices = matrices  # they live as long as it
    layout = (ctypes.byref(grid),)
    return CompiledNonlinearity(
        library, "_fourier", num_fields * len(synthesis), layout, MIN_FOURIER_SHARE
    )


def _get_ready(values: Tensor) -> Tensor:
    return values.float().contiguous()


def _call(
    library: ctypes.CDLL,
    name: str,
    x: Tensor,
    *tensors: Tensor,
    sizes: Sequence[int],
    others: Sequence[object] = (),
):
    """Call the function for x's precision with the addresses of tensors, sizes, and others."""
    getattr(library, f"{name}_{NAMES[x.dtype]}")(
        *(ctypes.c_void_p(t.data_ptr()) for t in (x, *tensors)),
        *map(ctypes.c_int64, sizes),
        *others,
    )


@cache
def _start_threads(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads)


def _run_in_threads(
    function: Callable[[int, slice], object], x: Float[Tensor, "g u i"], min_share: int = MIN_SHARE
) -> list:
    """Call a function for shares of each group's voxels, in as many threads as torch has.

    The shares, and so the order of sums, don't depend on the number of threads.
    """
    num_groups, num_voxels, _ = x.shape
    step = max(min_share, -(-num_voxels // MAX_SHARES))
    shares = [
        (group, slice(start, start + step))
        for group in range(num_groups)
        for start in range(0, num_voxels, step)
    ]
    num_threads = torch.get_num_threads()
    if num_threads == 1:
        return [function(*share) for share in shares]
    return list(_start_threads(num_threads).map(lambda share: function(*share), shares))


def _add_up(parts: Sequence[tuple[int, Tensor]], x: Tensor) -> Float64[Tensor, "2 g i"]:
    """Add up the sums of each group's shares."""
    totals = torch.zeros(2, len(x), x.shape[2], dtype=torch.float64)
    for group, sums in parts:
        totals[:, group] += sums
    return totals
