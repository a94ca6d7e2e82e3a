"""The hyperparameters of a VAE: the sections `model` and `loss` of hparams.nt."""

from typing import Annotated, Literal

from pydantic import Field

from ...text.typed import Float, Incomparable, TextModel
from ...text.values import Count, FieldsText, Name, Weight
from ..hparams import NetworkHparams, make_optional

EncoderHparams = make_optional(
    NetworkHparams,
    downsampling=(Literal["strided", "pooled"], Field("strided", description=(
        "How layers halve the side: by strided convolutions, or by averages of neighbouring "
        "voxels after a convolution."))),
)

DecoderHparams = make_optional(
    NetworkHparams,
    upsampling=(Literal["transposed", "nearest", "trilinear"], Field("transposed", description=(
        "How layers double the side: by transposed convolutions, or by copying or interpolating "
        "voxels before a convolution."))),
)


class ModelHparams(NetworkHparams):
    """The layers of encoder and decoder, and where they differ."""

    latent: FieldsText = Field(description="Fields of the latent.")
    posterior_std: Literal["logvar", "softplus"] = Field("logvar", description=(
        "Source of the posterior's standard deviations: `logvar`, scalars that are log-variances; "
        "`softplus`, the softplus of irreps' norms, as in atompaint 0.1.0, never below ln 2."))
    encoder: EncoderHparams
    decoder: DecoderHparams
    encoder_weights: Name = Field("", description=(
        "A run (`experiment/run`) or a published model, of kind `vae` or `neighbor_location`, that "
        "gives the weights of the encoder's layers, which must be its first ones; from a VAE of "
        "the same latent, also those of the layer that makes the posterior."))
    encoder_rate: Float = Field(0.0, ge=0, le=1, description=(
        "Learning rate of what `encoder_weights` gives, relative to `optim.learning_rate`; 0 "
        "freezes it."))


_WEIGHTED = Incomparable((".loss",), "their total losses are weighted differently")

_ANNEALED = Incomparable(("train.loss",), "their total losses in training are weighted differently")

_ERRORS = Incomparable((".loss", "data_loss"), "their errors are weighted differently")

_Factor = Annotated[Weight, _ERRORS]


class ChannelWeights(TextModel):
    """Weights of the squared errors of each channel."""

    C: _Factor = Field(1.0, ge=0, description="Weight of the carbon channel's errors.")
    N: _Factor = Field(1.0, ge=0, description="Weight of the nitrogen channel's errors.")
    O: _Factor = Field(1.0, ge=0, description="Weight of the oxygen channel's errors.")
    P: _Factor = Field(1.0, ge=0, description="Weight of the phosphorus channel's errors.")
    S: _Factor = Field(1.0, ge=0, description="Weight of the sulfur channel's errors.")
    other: _Factor = Field(1.0, ge=0, description="Weight of the errors of all other elements.")


class LossHparams(TextModel):
    reduction: Annotated[Literal["mean", "sum", "optimal"], Incomparable(
        (".loss", "data_loss"), "their losses are on different scales",
    )] = Field("sum", description=(
        "Reduction of an image's squared errors to its data loss; batches are always averaged. "
        "`optimal` is the likelihood with the decoder variance that is best for each batch."))
    channel_weights: ChannelWeights
    occupied_weight: _Factor = Field(1.0, ge=0, description=(
        "Weight of the squared errors of voxels that atoms touch."))
    beta: Annotated[Weight, _WEIGHTED] = Field(1.0, ge=0, description="Weight of the prior loss.")
    beta_schedule: Annotated[Literal["constant", "warmup", "cyclic"], _ANNEALED] = Field(
        "constant", description=(
            "`warmup` raises beta from zero over the first `beta_steps` steps; `cyclic` does so "
            "again and again, over the first half of every `beta_steps` steps."))
    beta_steps: Annotated[Count, _ANNEALED] = Field(1000, ge=1, description=(
        "Steps of beta's warm-up, or of each of its cycles."))
    divergence: Annotated[Literal["kl", "atompaint"], Incomparable(
        (".loss", "prior_loss"), "their prior losses are different quantities",
    )] = Field("kl", description=(
        "Prior loss: `kl`, the divergence from the standard normal; `atompaint`, what atompaint "
        "0.1.0 had in its place, with standard deviations where variances belong."))
    free_nats: Annotated[Weight, _WEIGHTED] = Field(0.0, ge=0, description=(
        "Prior loss of each latent number that is free [nats]."))
