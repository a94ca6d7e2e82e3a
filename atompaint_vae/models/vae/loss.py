"""The negative evidence lower bound, up to the data term's scale.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .posterior import Posterior


class Loss(NamedTuple):
    """Averages over the batch; total = data + β · prior, where free nats may raise the prior."""

    total: Float[Tensor, ""]
    data: Float[Tensor, ""]
    prior: Float[Tensor, ""]


def calc_loss(
    image: Float[Tensor, "b c x y z"],
    reconstruction: Float[Tensor, "b c x y z"],
    posterior: Posterior,
    *,
    reduction: Literal["mean", "sum", "optimal"],
    beta: float,
    divergence: Literal["kl", "atompaint"] = "kl",
    free_nats: float = 0.0,
    channel_weights: Sequence[float] = (),
    occupied_weight: float = 1.0,
) -> Loss:
    """Return the loss of a batch.

    reduction: data loss of an image with D = c·x·y·z numbers. "sum": likelihood of a decoder with
               variance 1/2. "mean": the same with variance D / 2, where the prior always dominates.
               "optimal": D / 2 · ln of the batch's mean squared error, the likelihood with the
               variance that is best for this batch
    divergence: prior loss: "atompaint" for the mistake of atompaint 0.1.0
    free_nats: prior loss of each latent number that is free; for an irrep copy, it is compared with
               the average over its components, voxels and the batch
    channel_weights: of the squared errors in each channel; all 1 by default
    occupied_weight: of the squared errors in voxels that atoms touch

    source:    Lucas et al. 2019, Don't Blame the ELBO!, for the effect of the decoder's variance;
               Rybkin et al. 2021, Simple and Effective VAE Training with Calibrated Decoders, for
               the optimal variance; Kingma et al. 2016, Improving Variational Inference with
               Inverse Autoregressive Flow, app. C.8, for free nats
    """
    errors = (reconstruction - image).square()
    if any(weight != 1 for weight in channel_weights):
        weights = torch.tensor(channel_weights, dtype=errors.dtype)
        errors = errors * weights.to(errors.device, non_blocking=True).view(-1, 1, 1, 1)
    if occupied_weight != 1:
        is_occupied = (image > 0).any(dim=1, keepdim=True)
        errors = errors * torch.where(is_occupied, occupied_weight, 1.0)
    errors = errors.flatten(1)
    num_values = errors.shape[1]
    match reduction:
        case "sum":
            data = errors.sum(1).mean()
        case "mean":
            data = errors.mean(1).mean()
        case "optimal":
            data = num_values / 2 * errors.mean().log()
    kl = posterior.calc_kl() if divergence == "kl" else posterior.calc_mistaken_kl()
    prior = kl.flatten(1).sum(1).mean()
    paid = prior
    if free_nats:
        of_channel = kl.mean(dim=(0, 2, 3, 4))
        copies = posterior.copy_of_channel
        nothing = kl.new_zeros(posterior.copy_logvar.shape[1])
        dims = nothing.index_add(0, copies, torch.ones_like(of_channel))
        of_copy = nothing.index_add(0, copies, of_channel) / dims
        num_voxels = kl[0, 0].numel()
        paid = num_voxels * (dims * of_copy.clamp(min=free_nats)).sum()
    return Loss(data + beta * paid, data, prior)


def calc_beta(
    beta: float, schedule: Literal["constant", "warmup", "cyclic"], num_steps: int, step: int
) -> float:
    """Return the weight of the prior loss at a training step.

    beta:      weight at the end of the warm-up, or of each cycle
    num_steps: of the warm-up, or of a cycle, which rises over its first half

    source:    Bowman et al. 2016, Generating Sentences from a Continuous Space; Fu et al. 2019,
               Cyclical Annealing Schedule, eq. 6, with R = 1/2
    """
    match schedule:
        case "constant":
            return beta
        case "warmup":
            return beta * min(1.0, step / num_steps)
        case "cyclic":
            return beta * min(1.0, step % num_steps / (num_steps / 2))
