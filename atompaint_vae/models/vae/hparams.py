"""The hyperparameters of a VAE: the sections `model` and `loss` of hparams.nt."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ...text.typed import Incomparable, Int, TextModel
from ...text.values import FieldsText, Voxels, Weight, limit


class ModelHparams(TextModel):
    layers: tuple[FieldsText, ...] = Field(min_length=1, description=(
        "Output fields of each layer of the encoder. Each layer halves the image's side; the "
        "decoder mirrors them."))
    latent: FieldsText = Field(description="Fields of the latent.")
    convs_per_layer: Annotated[Int, AfterValidator(limit(99))] = Field(1, ge=1, description=(
        "Convolutions at each resolution."))
    kernel_size: Voxels = Field(3, ge=3, le=7, description=(
        "Side of every convolution's kernel [voxels]."))
    symmetry: Literal["rotation", "none"] = Field("rotation", description=(
        "`rotation` makes every layer equivariant; `none` makes a plain CNN to compare with, whose "
        "fields are scalars such as `64x0e`."))
    grid: Literal[
        "auto", "octahedral_48", "octahedral_72", "octahedral_96", "octahedral_120",
        "octahedral_144", "octahedral_192",
    ] = Field("auto", description=(
        "Points of SO(3) where the nonlinearity of Fourier fields is applied; `auto` takes 48 for "
        "fields of frequency 1, 96 for 2 and 192 for 3."))
    nonlinearity: Literal["elu", "relu", "hermite", "learned_hermite"] = Field("elu", description=(
        "Pointwise function of Fourier fields and of scalars; `hermite` is the first Hermite "
        "function, `learned_hermite` a learned sum of the first four."))
    irreps_nonlinearity: Literal["gate", "norm"] = Field("gate", description=(
        "Nonlinearity of plain irreps above l = 0: `gate` uses additional scalars, `norm` their "
        "own norms."))
    posterior_std: Literal["logvar", "softplus"] = Field("logvar", description=(
        "Source of the posterior's standard deviations: `logvar`, scalars that are log-variances; "
        "`softplus`, the softplus of irreps' norms, as in atompaint 0.1.0, never below ln 2."))


_WEIGHTED = Incomparable((".loss",), "their total losses are weighted differently")


class LossHparams(TextModel):
    reduction: Annotated[Literal["mean", "sum", "optimal"], Incomparable(
        (".loss", "data_loss"), "their losses are on different scales",
    )] = Field("sum", description=(
        "Reduction of an image's squared errors to its data loss; batches are always averaged. "
        "`optimal` is the likelihood with the decoder variance that is best for each batch."))
    beta: Annotated[Weight, _WEIGHTED] = Field(1.0, ge=0, description="Weight of the prior loss.")
    free_nats: Annotated[Weight, _WEIGHTED] = Field(0.0, ge=0, description=(
        "Prior loss of each latent number that is free [nats]."))
