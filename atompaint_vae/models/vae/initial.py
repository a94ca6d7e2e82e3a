"""Encoders that begin with the weights of another model's."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from ...text.formats import format_hparam
from ...text.located import Located, Problem, find_value
from ..checks import check_images, find_keys
from ..hparams import NetworkHparams, override
from .vae import VAE

SOURCE_KINDS = ("vae", "neighbor_location")


def list_encoder_values(hparams: Any) -> dict[str, Any]:
    """Return the hyperparameters that an encoder is made of, of either kind."""
    model, downsampling = hparams.model, getattr(hparams.model, "downsampling", "strided")
    if hparams.kind == "vae":
        model, downsampling = override(model, model.encoder), model.encoder.downsampling
    values = {name: getattr(model, name) for name in NetworkHparams.model_fields}
    return {**values, "downsampling": downsampling}


def check_encoder(hparams: Any, source: Any, written: Located) -> Iterator[Problem]:
    """Yield problems of an encoder that isn't the beginning of another model's.

    source: hyperparameters of the run or published model that `model.encoder_weights` names
    """
    name = hparams.model.encoder_weights
    if source.kind not in SOURCE_KINDS:
        place = find_value(written, "model", "encoder_weights").place
        kinds = " or ".join(SOURCE_KINDS)
        text = f"model.encoder_weights: {name} is of kind {source.kind}; expected {kinds}"
        yield Problem(place, text)
        return
    yield from check_images(hparams, source, name, written)
    ours, theirs = list_encoder_values(hparams), list_encoder_values(source)
    theirs["layers"] = theirs["layers"][: len(ours["layers"])]
    pairs = {find_keys(written, "encoder", x): (ours[x], theirs[x]) for x in ours}
    if getattr(source.model, "alignment", "exact") != "exact":
        pairs["model", "encoder_weights"] = "exact alignment of sizes", source.model.alignment
    for keys, (our, their) in pairs.items():
        if our != their:
            found, expected = format_hparam(our), format_hparam(their)
            text = f"{'.'.join(keys)}: {found}, but the encoder of {name} has {expected}"
            yield Problem(find_value(written, *keys).place, text)


def find_difference(model: VAE, source: nn.Module) -> str | None:
    """Return why the head that makes another model's posterior doesn't fit; None if it does."""
    if not isinstance(source, VAE):
        return "the other model has none"
    differences = {
        "the number of layers": len(source.encoder.blocks) != len(model.encoder.blocks),
        "latent": source.latent != model.latent,
        "posterior_std": source.posterior.std != model.posterior.std,
    }
    return next((f"{name} differs" for name, differs in differences.items() if differs), None)


def take_over_encoder(model: VAE, source: nn.Module, *, is_trained: bool):
    """Give a VAE's encoder the weights of another model's.

    source:     has an `encoder`, whose first blocks are like the VAE's.  If it fits, the head that
                makes the posterior is taken over too
    is_trained: whether these weights are trained further; otherwise they are frozen
    """
    encoder, other = model.encoder, source.encoder
    pairs = {"encoder.blocks": (encoder.blocks, other.blocks[: len(encoder.blocks)])}
    if find_difference(model, source) is None:
        pairs["encoder.head"] = encoder.head, other.head
    for part, other_part in pairs.values():
        part.load_state_dict(other_part.state_dict())
        part.requires_grad_(is_trained)
    model.loaded = tuple(pairs)


def describe_encoder(hparams: Any, model: VAE, source: nn.Module) -> str:
    """Return a line on what an encoder took over from the model that its hyperparameters name."""
    name, rate = hparams.model.encoder_weights, hparams.model.encoder_rate
    further = f"trained at {rate:g} × the learning rate" if rate else "frozen"
    difference = find_difference(model, source)
    if difference is None:
        return f"encoder_weights: encoder and posterior of {name}, {further}"
    return f"encoder_weights: encoder of {name}, {further}; its posterior is new: {difference}"
