"""Images of atoms in compiled code, for CPUs; without a compiler, `voxelize` makes the same images.

With tensors, each operation writes an intermediate result for all atoms and voxels; `compiled.cpp`
takes one atom after the other.  See `voxelize.py` for the letters.
"""

import ctypes
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...compiler import compile_library

SOURCE = Path(__file__).with_suffix(".cpp")
NAMES = {torch.float32: "float32", torch.float64: "float64"}


def find_library(*tensors: Tensor) -> ctypes.CDLL | None:
    """Return the compiled code if it can calculate with these, else None."""
    # Only real tensors have values in memory, and torch.compile makes code of its own.
    is_real = all(type(x) is Tensor and x.is_cpu for x in tensors)
    needs_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    can_calculate = is_real and not needs_gradient and not torch.compiler.is_compiling()
    return load_library() if can_calculate else None


def load_library() -> ctypes.CDLL | None:
    """Return the compiled code; None where there is no compiler."""
    return compile_library(SOURCE)


def look_up_balls(
    library: ctypes.CDLL,
    position: Float[Tensor, "n 3"],
    channels: Int64[Tensor, "n"],
    image: Float[Tensor, "c x y z"],
    *,
    table: Float[Tensor, "nodes k3"],
    num_nodes: int,
    radius: float,
    first: int,
    last: int,
):
    """Add balls of one radius to channels of an image, with overlaps from a table.

    position, radius: in voxels, from the centre of voxel 0
    """
    numbers = num_nodes, ctypes.c_double(radius), first, last - first + 1
    _add(library, "look_up", position, channels, image, table, *numbers)


def add_balls(
    library: ctypes.CDLL,
    position: Float[Tensor, "n 3"],
    channels: Int64[Tensor, "n"],
    image: Float[Tensor, "c x y z"],
    radii: Float[Tensor, "n"],
):
    """Add balls to channels of an image, with exact overlaps; lengths as in `look_up_balls`."""
    _add(library, "add_balls", position, channels, image, radii)


def _add(
    library: ctypes.CDLL,
    name: str,
    position: Tensor,
    channels: Tensor,
    image: Tensor,
    values: Tensor,
    *numbers: int | ctypes.c_double,
):
    position, channels, values = (x.contiguous() for x in (position, channels, values))
    pointers = (ctypes.c_void_p(x.data_ptr()) for x in (position, channels, image))
    sizes = map(ctypes.c_int64, (len(position), image.shape[-1]))
    others = (x if isinstance(x, ctypes.c_double) else ctypes.c_int64(x) for x in numbers)
    function = getattr(library, f"{name}_{NAMES[position.dtype]}")
    function(*pointers, *sizes, ctypes.c_void_p(values.data_ptr()), *others)
