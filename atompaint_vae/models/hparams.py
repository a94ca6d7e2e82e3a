"""Hyperparameters that the networks of several kinds of model share."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from ..text.typed import Int, TextModel, annotate
from ..text.values import FieldsText, Voxels, limit


class NetworkHparams(TextModel):
    """Convolutional layers at several resolutions."""

    layers: tuple[FieldsText, ...] = Field(min_length=1, description=(
        "Output fields of each layer of the encoder. Each layer halves the image's side."))
    convs_per_layer: Annotated[Int, AfterValidator(limit(99))] = Field(1, ge=1, description=(
        "Convolutions at each resolution."))
    blocks: Literal["plain", "residual"] = Field("plain", description=(
        "`residual` replaces all but the first convolution of each layer by residual blocks of two "
        "convolutions."))
    kernel_size: Voxels = Field(3, ge=3, le=7, description=(
        "Side of every convolution's kernel [voxels]."))
    symmetry: Literal["rotation", "none"] = Field("rotation", description=(
        "`rotation` makes every layer equivariant; `none` makes plain convolutions, for which "
        "fields are only channels."))
    normalisation: Literal["batch", "instance"] = Field("batch", description=(
        "Statistics of the normalisations: of each batch, or of each image alone."))
    grid: Literal[
        "auto", "octahedral_48", "octahedral_72", "octahedral_96", "octahedral_120",
        "octahedral_144", "octahedral_192",
    ] = Field("auto", description=(
        "Points of SO(3) where the nonlinearity of Fourier fields is applied; `auto` takes 48 for "
        "fields of frequency 1, 96 for 2 and 192 for 3."))
    nonlinearity: Literal["elu", "relu", "hermite", "learned_hermite"] = Field("elu", description=(
        "Pointwise function of Fourier fields and of scalars; `hermite` is the first Hermite "
        "function, `learned_hermite` a learned sum of the first four."))
    irreps_nonlinearity: Literal["gate", "norm", "tensor_product"] = Field("gate", description=(
        "Nonlinearity of plain irreps above l = 0: `gate` scales them by additional scalars, "
        "`norm` by their own norms; `tensor_product` multiplies two sets of irreps."))


_BLANK = BeforeValidator(lambda value: None if value == "" else value)


def make_optional(model: type[TextModel], **others: Any) -> type[TextModel]:
    """Return a model with the same keys, which may all be left out or left blank.

    others: more keys, as for `pydantic.create_model`
    """
    keys = {}
    for name, field in model.model_fields.items():
        value = Annotated[annotate(field) | None, _BLANK]
        description = f"`model.{name}` of this half alone; blank: the same."
        keys[name] = (value, Field(None, description=description))
    return create_model(model.__name__, __base__=TextModel, **keys, **others)


def override(model: NetworkHparams, part: TextModel) -> NetworkHparams:
    """Return the hyperparameters of a part of a model: its own, and the model's for the others."""
    names = NetworkHparams.model_fields
    own = {x: getattr(part, x) for x in names if getattr(part, x) is not None}
    return NetworkHparams.model_construct(**{x: getattr(model, x) for x in names} | own)
