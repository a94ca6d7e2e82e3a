"""The cost of a training step without computing it: multiply-adds and memory of each layer.

The step runs on tensors with shapes but no values (torch's fake tensors), so that models too large
for this machine can be planned on it.
"""

import copy
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ..config.schema import Hparams
from ..models.kind import get_kind
from ..models.noise import NoNoise


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer in a training step.

    fields_in, fields_out: field types
    shape_in, shape_out:   channels, then voxels along each axis
    multiply_adds:         of the batch, forward and backward
    saved_bytes:           of the batch, stored for the backward pass
    """

    name: str
    fields_in: str
    fields_out: str
    shape_in: tuple[int, ...]
    shape_out: tuple[int, ...]
    num_parameters: int
    multiply_adds: int
    saved_bytes: int


@dataclass(frozen=True)
class StepCost:
    """multiply_adds, saved_bytes: totals, with the computations outside the layers"""

    layers: tuple[LayerCost, ...]
    multiply_adds: int
    saved_bytes: int


class _Watch:
    """Tracks the active layer, its shapes, and the tensors saved during it."""

    def __init__(self):
        self.layer: str | None = None
        self.shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.saved_bytes: dict[str | None, int] = {}
        self.known: dict[int, object] = {}

    def enter(self, name: str):
        def hook(module, inputs):
            self.layer = name

        return hook

    def leave(self, name: str):
        def hook(module, inputs, output):
            self.layer = None
            self.shapes[name] = (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))

        return hook

    def ignore(self, tensor: Tensor):
        storage = tensor.untyped_storage()
        self.known[storage._cdata] = storage

    def save(self, tensor: Tensor) -> Tensor:
        # Keep the storage, so that no later one gets the same address.
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known[storage._cdata] = storage
            total = self.saved_bytes.get(self.layer, 0)
            self.saved_bytes[self.layer] = total + storage.nbytes()
        return tensor


def calc_cost(hparams: Hparams, model: nn.Module, *, batch_size: int) -> StepCost:
    """Return the cost of a training step of a run's model on the CPU, in the run's precision."""
    model = copy.deepcopy(model)  # frozen parts would keep kernels without numbers
    objective = get_kind(hparams.kind).load_objective()(model, hparams, None)
    layers = objective.find_layers(model)
    watch = _Watch()
    with ExitStack() as stack:
        for name, (layer, _, _) in layers.items():
            stack.callback(layer.register_forward_pre_hook(watch.enter(name)).remove)
            stack.callback(layer.register_forward_hook(watch.leave(name)).remove)
        mode = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        for tensor in (*model.parameters(), *model.buffers()):
            watch.ignore(tensor)
            watch.ignore(mode.from_tensor(tensor))
        counter = stack.enter_context(FlopCounterMode(display=False))
        inputs = objective.make_empty_inputs(model, batch_size)
        for tensor in [inputs] if isinstance(inputs, Tensor) else inputs:
            watch.ignore(tensor)
        # Recomputation in the backward pass saves tensors too, but only briefly.
        with (
            torch.autograd.graph.saved_tensors_hooks(watch.save, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=hparams.train.precision == "bf16-mixed"),
        ):
            losses = objective.calc_losses(inputs, NoNoise(), 0)
        parameters = [p for p in model.parameters() if p.requires_grad]
        loss = next(iter(losses.values()))
        torch.autograd.grad(loss, parameters, allow_unused=True)

    counts = {name: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    rows = [
        LayerCost(
            name=name,
            fields_in=fields_in,
            fields_out=fields_out,
            shape_in=watch.shapes[name][0],
            shape_out=watch.shapes[name][1],
            num_parameters=sum(p.numel() for p in layer.parameters()),
            multiply_adds=_find_count(counts, name),
            saved_bytes=watch.saved_bytes.get(name, 0),
        )
        for name, (layer, fields_in, fields_out) in layers.items()
    ]
    return StepCost(tuple(rows), counts["Global"], sum(watch.saved_bytes.values()))


def _find_count(counts: Mapping[str, int], name: str) -> int:
    """Return the multiply-adds of a module; torch's names start with the outermost class."""
    for found, count in counts.items():
        outermost, _, rest = found.partition(".")
        if name in (rest, f"{outermost.lower()}.{rest}"):
            return count
    return 0
