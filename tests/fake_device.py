"""A stand-in for a GPU: tensors on it have shapes and types, but no values.

Tensors of torch's device `meta` take its place, as autograd needs more of a GPU than its name. All
others stay real, so that what is drawn or chosen on the CPU is so here as well.
"""

from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atompaint_vae.data.crops import voxelize

aten = torch.ops.aten

READERS = {
    aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default,
    aten.masked_select.default, aten.nonzero.default,
}  # fmt: skip
"""What needs the values of a tensor, or makes one whose shape depends on them."""

INDEXERS = {
    aten.index.Tensor, aten.index_put.default, aten.index_put_.default,
    aten._index_put_impl_.default,
}  # fmt: skip


class HostWait(Exception):
    """Something that would make the CPU wait for a GPU."""


class FakeDevice(TorchDispatchMode):
    """Computes shapes and types of whatever is on the device.

    raises: HostWait while `waiting_is_wrong`; RuntimeError if tensors of two devices are mixed
    """

    name = "meta"

    def __init__(self):
        super().__init__()
        self._shapes = FakeTensorMode(allow_non_fake_inputs=True)
        self.waiting_is_wrong = False

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        is_there = [self._is_there(x.device) for x in tensors]
        target = kwargs.get("device")
        is_made_there = target is not None and self._is_there(torch.device(target))
        if not (is_made_there or any(isinstance(x, FakeTensor) for x in tensors)):
            return operator(*args, **kwargs)
        if self.waiting_is_wrong and (why := self._find_wait(operator, args, kwargs, is_there)):
            raise HostWait(f"{operator}: {why}")
        with self._shapes:
            return operator(*args, **kwargs)

    def _is_there(self, device: torch.device) -> bool:
        return device.type == self.name

    def _find_wait(self, operator, args, kwargs, is_there) -> str | None:
        if operator in READERS:
            return "reads values"
        if operator is aten._to_copy.default:
            is_to_there = is_there[0]
            if (target := kwargs.get("device")) is not None:
                is_to_there = self._is_there(torch.device(target))
            is_sent = is_to_there and kwargs.get("non_blocking")
            return None if is_to_there == is_there[0] or is_sent else f"a blocking copy to {target}"
        if operator is aten.copy_.default and is_there[0] != is_there[1]:
            is_sent = is_there[0] and (args[2:] == (True,) or kwargs.get("non_blocking"))
            return None if is_sent else "a blocking copy"
        if operator in INDEXERS:
            indices = [x for x in args[1] if x is not None]
            if any(x.dtype == torch.bool for x in indices):
                return "an index of unknown length"
            if not all(self._is_there(x.device) for x in indices):
                return "an index on another device"
        return None


@contextmanager
def use_fake_device():
    """Yield a stand-in for a GPU, on which everything inside can compute."""
    autocast = torch.autocast

    def make_autocast(device, *args, **kwargs):  # which the stand-in doesn't have
        return nullcontext() if device == FakeDevice.name else autocast(device, *args, **kwargs)

    def new_tensor(own, values, **options):  # which the stand-in makes without a copy
        return torch.tensor(values, dtype=own.dtype).to(own.device)

    with pytest.MonkeyPatch.context() as patch, FakeDevice() as device:
        patch.setattr(torch, "autocast", make_autocast)
        patch.setattr(Tensor, "new_tensor", new_tensor)
        try:
            yield device
        finally:
            voxelize._make_overlap_table.cache_clear()
