"""bfloat16 on processors that don't support it.

There, torch's convolutions are over a hundred times slower in bfloat16 than in float32, and its
matrix products several times.  The layers therefore calculate in float32, and round to bfloat16
wherever other processors store it.  Sums are in float32 on all processors.
"""

from functools import cache

import torch


def has_slow_bfloat16(device: torch.device) -> bool:
    """Return whether a device calculates more slowly in bfloat16 than in float32."""
    return device.type == "cpu" and not _has_processor_bfloat16()


@cache
def _has_processor_bfloat16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()
