"""What a training step costs, found without computing it: multiply-adds and memory of each layer.

The step runs on tensors that have shapes, but no numbers (torch's fake tensors), so that a model
too large for this machine can be planned on it.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ..models.encoder import ConvBlock
from ..models.vae.loss import calc_loss
from ..models.vae.vae import VAE


@dataclass(frozen=True)
class LayerCost:
    """One layer's part in a training step.

    fields_in, fields_out: field types
    shape_in, shape_out:   channels, then voxels along each axis
    multiply_adds:         of the batch, forward and backward
    saved_bytes:           of the batch, kept from the forward to the backward pass
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
    """multiply_adds, saved_bytes: of everything; also what is between and behind the layers"""

    layers: tuple[LayerCost, ...]
    multiply_adds: int
    saved_bytes: int


class _Watch:
    """Notes the layer that is at work, the shapes that it sees, and what is saved meanwhile."""

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
        # Kept, so that no later storage takes the address of one that is gone.
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known[storage._cdata] = storage
            total = self.saved_bytes.get(self.layer, 0)
            self.saved_bytes[self.layer] = total + storage.nbytes()
        return tensor


def find_layers(model: VAE) -> dict[str, nn.Module]:
    """The convolutions with what follows each, in the order in which data pass them."""
    return {
        f"{part}.{name}": module
        for part in ("encoder", "decoder")
        for name, module in [
            *((f"blocks.{i}", block) for i, block in enumerate(getattr(model, part).blocks)),
            ("head", getattr(model, part).head),
        ]
    }


def calc_cost(model: VAE, *, batch_size: int, precision: str = "32-true") -> StepCost:
    """The cost of a training step of a model on the CPU.

    precision: as in hparams, "32-true" or "bf16-mixed"
    """
    layers = find_layers(model)
    watch = _Watch()
    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(watch.enter(name)).remove)
            stack.callback(layer.register_forward_hook(watch.leave(name)).remove)
        mode = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        for tensor in (*model.parameters(), *model.buffers()):
            watch.ignore(tensor)
            watch.ignore(mode.from_tensor(tensor))
        counter = stack.enter_context(FlopCounterMode(display=False))
        images = torch.empty(batch_size, *model.image_shape)
        watch.ignore(images)
        # The backward pass saves things too, where it computes anew, but not for long.
        with (
            torch.autograd.graph.saved_tensors_hooks(watch.save, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"),
        ):
            posterior = model.encode(images)
            latent = posterior.sample(torch.empty_like(posterior.mean))
            reconstruction = model.decode(latent)
            loss = calc_loss(images, reconstruction, posterior, reduction="sum", beta=1.0)
        parameters = [p for p in model.parameters() if p.requires_grad]
        torch.autograd.grad(loss.total, parameters, allow_unused=True)

    counts = {name: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    rows, fields = [], str(model.irreps_in)
    for name, layer in layers.items():
        part, _, rest = name.partition(".")
        if name == "decoder.blocks.0":
            fields = str(model.latent)
        fields_in, fields = fields, _name_fields(layer)
        rows.append(
            LayerCost(
                name=name,
                fields_in=fields_in,
                fields_out=fields,
                shape_in=watch.shapes[name][0],
                shape_out=watch.shapes[name][1],
                num_parameters=sum(p.numel() for p in layer.parameters()),
                multiply_adds=counts[f"{part.title()}.{rest}"],
                saved_bytes=watch.saved_bytes.get(name, 0),
            )
        )
    return StepCost(tuple(rows), counts["Global"], sum(watch.saved_bytes.values()))


def _name_fields(layer: nn.Module) -> str:
    if isinstance(layer, ConvBlock):
        return str(layer.nonlinearity.field_type)
    return str(Irreps(layer.irreps_out).simplify())
