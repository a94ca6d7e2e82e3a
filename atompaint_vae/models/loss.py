"""The negative evidence lower bound, up to the data term's scale.

Letters: b batch, c channels, x y z voxels.
"""

from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor

from .posterior import Posterior


class Loss(NamedTuple):
    """total = data + β · prior, each averaged over the batch."""

    total: Float[Tensor, ""]
    data: Float[Tensor, ""]
    prior: Float[Tensor, ""]


def calc_loss(
    image: Float[Tensor, "b c x y z"],
    reconstruction: Float[Tensor, "b c x y z"],
    posterior: Posterior,
    *,
    reduction: Literal["mean", "sum"],
    beta: float,
) -> Loss:
    """The loss of a batch.

    reduction: whether the squared error of each image is summed or averaged over its voxels and
               channels.  A sum is the likelihood of a decoder with variance 1/2; a mean, of one
               with variance c·x·y·z / 2, next to which the prior always wins.
    source:    Lucas et al. 2019, Don't Blame the ELBO!, for what the decoder's variance does
    """
    errors = (reconstruction - image).square().flatten(1)
    data = (errors.sum(1) if reduction == "sum" else errors.mean(1)).mean()
    prior = posterior.calc_kl().flatten(1).sum(1).mean()
    return Loss(data + beta * prior, data, prior)
