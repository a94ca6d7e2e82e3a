"""Constants that keep their precision, and bfloat16 on processors that don't support it.

There, torch's convolutions are up to a hundred times slower in bfloat16 than in float32, and its
matrix products several times.  The layers therefore calculate in float32, and round to bfloat16
wherever other processors store it.  Sums are in float32 on all processors.
"""

from functools import cache

import torch
from jaxtyping import Float64
from torch import Tensor, nn


def has_slow_bfloat16(device: torch.device) -> bool:
    """Return whether a device calculates more slowly in bfloat16 than in float32."""
    return device.type == "cpu" and not _has_processor_bfloat16()


@cache
@torch.compiler.assume_constant_result
def _has_processor_bfloat16() -> bool:
    # torch also says so of processors that emulate it by AVX-512, in over twice the time.
    emulates = torch.cpu._is_avx512_supported() and not torch.cpu._is_avx512_bf16_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and not emulates


class ExactModule(nn.Module):
    """A module with constant buffers that don't lose precision when it is converted."""

    def __init__(self):
        super().__init__()
        self._exact: dict[str, Tensor] = {}

    def register_exact(self, name: str, values: Float64[Tensor, "..."]):
        """Register a buffer that isn't saved, and is rounded anew when the module is converted."""
        self._exact[name] = values
        self.register_buffer(name, values.to(torch.get_default_dtype()), persistent=False)

    def _apply(self, *args, **kwargs):
        super()._apply(*args, **kwargs)
        # From the exact values, since rounding to float32 can't be undone in float64.
        for name, values in self._exact.items():
            setattr(self, name, values.to(getattr(self, name)))
        return self
