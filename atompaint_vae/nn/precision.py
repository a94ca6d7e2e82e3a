"""bfloat16 on processors that don't have it.

Without instructions of their own for it, torch's convolutions take more than a hundred times as
long in bfloat16 as in float32, and its matrix products several times.  There, numbers are rounded
to bfloat16 where the others store them, and float32 lies between; sums are in float32 on all.
"""

from functools import cache

import torch


def has_slow_bfloat16(device: torch.device) -> bool:
    """Whether arithmetic in bfloat16 is slower there than in float32."""
    return device.type == "cpu" and not _has_processor_bfloat16()


@cache
def _has_processor_bfloat16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()
