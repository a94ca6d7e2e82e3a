"""The hyperparameters of diffusion: the sections `model` and `loss` of hparams.nt."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ...text.typed import Bool, Float, Incomparable, Int, TextModel
from ...text.values import Count, FieldsText, Name, Weight, limit
from ..hparams import NetworkHparams

_SAMPLES = Incomparable(("test.",), "their samples were drawn differently")


class SamplerHparams(TextModel):
    """How samples are drawn, with EDM's names; σ is relative to the standard deviation of data."""

    num_steps: Annotated[Count, _SAMPLES] = Field(18, ge=1, description=(
        "Noise levels of a sample; each but the last takes two evaluations of the denoiser."))
    sigma_min: Annotated[Float, _SAMPLES] = Field(0.02, gt=0, description="Lowest noise level.")
    sigma_max: Annotated[Weight, _SAMPLES] = Field(80.0, gt=0, description="Highest noise level.")
    rho: Annotated[Float, _SAMPLES] = Field(7.0, gt=0, description=(
        "The larger, the more of the noise levels are low."))
    S_churn: Annotated[Weight, _SAMPLES] = Field(0.0, ge=0, description=(
        "Noise that is added anew, in all steps together; 0 makes the sampler deterministic."))
    S_min: Annotated[Float, _SAMPLES] = Field(0.0, ge=0, description=(
        "Noise is added anew at this noise level and above."))
    S_max: Annotated[Weight, _SAMPLES] = Field(1e30, gt=0, description=(
        "Noise is added anew at this noise level and below."))
    S_noise: Annotated[Float, _SAMPLES] = Field(1.0, gt=0, description=(
        "Standard deviation of the noise that is added anew, relative to the right one."))


class ModelHparams(NetworkHparams):
    """The denoiser: a U-Net on images, or on the latents of an autoencoder."""

    autoencoder: Annotated[Name, Incomparable(
        ("loss", "band"), "their denoisers see different data",
    )] = Field("", description=(
        "A run (`experiment/run`) or a published model, of kind `vae`, in whose latent space "
        "diffusion runs; empty: it runs on images."))
    layers: tuple[FieldsText, ...] = Field(min_length=1, description=(
        "Fields of the U-Net at each resolution, the finest first; each but the first halves the "
        "side."))
    convs_per_layer: Annotated[Int, AfterValidator(limit(99))] = Field(2, ge=1, description=(
        "Blocks at each resolution, on the way down and again on the way up."))
    blocks: Literal["plain", "residual"] = Field("residual", description=(
        "`residual` replaces all but the first convolution of each layer by residual blocks of two "
        "convolutions."))
    normalisation: Literal["batch", "instance"] = Field("instance", description=(
        "Statistics of the normalisations: of each batch, or of each image alone."))
    noise_embedding: Literal["fourier", "linear"] = Field("fourier", description=(
        "How the network is told the noise level: by random Fourier features of ln σ / 4, or by "
        "that number itself; either goes through a perceptron."))
    num_conditions: Count = Field(64, ge=1, description=(
        "Width of that perceptron, whose output scales each field and shifts the scalars."))
    self_conditioning: Bool = Field(False, description=(
        "Whether the network also sees the previous estimate of the data."))
    sampler: SamplerHparams


class LossHparams(TextModel):
    """The noise levels of training, with EDM's names: ln σ ~ N(P_mean, P_std²)."""

    P_mean: Annotated[Float, Incomparable(
        (".loss",), "their noise levels are distributed differently",
    )] = Field(-0.8, description=(
        "Mean of ln σ, where σ is relative to the standard deviation of the data."))
    P_std: Annotated[Float, Incomparable(
        (".loss",), "their noise levels are distributed differently",
    )] = Field(1.2, ge=0, description="Standard deviation of ln σ.")
