"""Checks of a VAE's hyperparameters."""

import os
from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from typing import Any

import torch

from ...data.crops.voxelize import CHANNELS
from ...nn.fields import parse_field_type
from ...text.formats import format_bytes
from ...text.located import Located, Problem, find_value
from ..checks import check_network, find_keys
from ..encoder import calc_sizes
from ..hparams import override
from .hparams import LossHparams
from .vae import calc_compression_ratio, calc_latent_shape

BYTES_OF_NUMBER = 4  # float32

PARTS = ("encoder", "decoder")


def check(hparams: Any, written: Located) -> Iterator[Problem]:
    """Yield problems of hyperparameters that don't fit together."""
    if hparams.loss is not None:
        yield from check_loss(hparams.loss, written)
    model, data = hparams.model, hparams.data
    if model is None:
        return
    networks = {part: override(model, getattr(model, part)) for part in PARTS}
    size_voxels = None if data is None else data.size_voxels
    found = []
    for part, network in networks.items():
        found += check_network(network, size_voxels, written, part)
    num_layers = {part: len(network.layers) for part, network in networks.items()}
    if num_layers["encoder"] != num_layers["decoder"]:
        keys = find_keys(written, "decoder", "layers")
        found.append(Problem(
            find_value(written, *keys).place,
            f"{'.'.join(keys)}: {num_layers['decoder']} layers, but the encoder has "
            f"{num_layers['encoder']}",
        ))  # fmt: skip
    yield from found
    if not found and data is not None and hparams.optim is not None:
        yield from check_memory(hparams, networks, written)


def check_loss(loss: LossHparams, written: Located) -> Iterator[Problem]:
    """Yield problems of a loss one of whose terms is always zero by mistake."""
    if not any(loss.channel_weights.model_dump().values()):
        place = find_value(written, "loss", "channel_weights").place
        yield Problem(place, "loss.channel_weights: all are 0; expected at least one above 0")
    if loss.beta_schedule == "cyclic" and loss.beta_steps == 1:
        place = find_value(written, "loss", "beta_steps").place
        text = "loss.beta_steps: 1, but cycles of one step never raise beta above 0; expected >= 2"
        yield Problem(place, text)


def check_effects(hparams: Any, written: Located) -> Iterator[Problem]:
    """Yield warnings of keys that have no effect, and of a beta that training never reaches.

    Defaults are no mistake: a run may begin with the resolved hyperparameters of another.
    """
    loss, train = hparams.loss, hparams.train
    found, num_steps = {}, train.epochs * train.steps_per_epoch
    rises = {"constant": 0, "warmup": loss.beta_steps, "cyclic": ceil(loss.beta_steps / 2)}
    if (rise := rises[loss.beta_schedule]) >= num_steps:
        found["loss", "beta_steps"] = (
            f"beta rises for {rise} steps, but the run has only {num_steps}; it never reaches "
            "loss.beta, which validations use"
        )
    default = LossHparams.model_fields["beta_steps"].default
    if loss.beta_schedule == "constant" and loss.beta_steps != default:
        found["loss", "beta_steps"] = "no effect, since loss.beta_schedule is constant"
    if hparams.model.encoder_rate and not hparams.model.encoder_weights:
        found["model", "encoder_rate"] = "no effect without model.encoder_weights"
    for keys, text in found.items():
        place = find_value(written, *keys).place
        yield Problem(place, f"warning: {'.'.join(keys)}: {text}")


def check_sizes(hparams: Any, written: Located) -> Iterator[Problem]:
    """Yield the warning of a latent that isn't smaller than the image."""
    model, data = hparams.model, hparams.data
    if model is None or data is None or any(check(hparams, written)):
        return
    num_layers = len(override(model, model.encoder).layers)
    image = torch.Size((len(CHANNELS), *[data.size_voxels] * 3))
    latent = parse_field_type(model.latent)
    shape = torch.Size(calc_latent_shape(data.size_voxels, num_layers, latent))
    ratio = calc_compression_ratio(image, shape)
    if ratio <= 1:
        yield Problem(
            find_value(written, "model", "latent").place,
            f"warning: model.latent: {shape.numel():,} numbers, no fewer than the image's "
            f"{image.numel():,}: compression ratio {ratio:.2f}",
        )


def check_devices(hparams: Any, written: Located) -> Iterator[Problem]:
    """Yield problems of losses that several devices can't share."""
    why = "of a batch isn't the mean of its parts', so --devices would train something else"
    if hparams.loss.reduction == "optimal":
        place = find_value(written, "loss", "reduction").place
        yield Problem(place, f"loss.reduction: the loss 'optimal' {why}")
    if hparams.loss.free_nats:
        place = find_value(written, "loss", "free_nats").place
        yield Problem(place, f"loss.free_nats: the prior loss with free nats {why}")


def check_memory(hparams: Any, networks: dict[str, Any], written: Located) -> Iterator[Problem]:
    """Yield the problem of a batch that exceeds this machine's memory."""
    num_latent = parse_field_type(hparams.model.latent).size
    num_numbers = 0
    for network in networks.values():
        sizes = calc_sizes(hparams.data.size_voxels, len(network.layers))
        channels = [len(CHANNELS), *(parse_field_type(layer).size for layer in network.layers)]
        num_in_images = num_latent * sizes[-1] ** 3
        num_in_images += sum(n * size**3 for n, size in zip(channels, sizes, strict=True))
        num_in_kernels = num_latent * channels[-1]
        for before, after in pairwise(channels):
            num_in_kernels += after * (before + (network.convs_per_layer - 1) * after)
        num_in_kernels *= network.kernel_size**3
        num_numbers += hparams.optim.batch_size * num_in_images + num_in_kernels
    num_bytes = BYTES_OF_NUMBER * num_numbers
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_bytes > memory_bytes:
        text = (
            f"data.size_voxels: a batch and the model's kernels take at least "
            f"{format_bytes(num_bytes)}; this machine has {format_bytes(memory_bytes)}"
        )
        yield Problem(find_value(written, "data", "size_voxels").place, text)
