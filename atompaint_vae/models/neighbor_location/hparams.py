"""The hyperparameters of neighbor location: the sections `model` and `loss` of hparams.nt."""

from typing import Annotated, Literal

from pydantic import Field

from ...text.typed import Float, Incomparable, TextModel
from ...text.values import Count, Density, FieldsText, Length, Side
from ..hparams import NetworkHparams

NUM_PLACEMENTS = 8
"""Placements of the views that are tried in a crop: 16 are hardly better."""

_VIEWS = Incomparable(("",), "their views are different")


class ViewsHparams(TextModel):
    """Where the two views of a crop are."""

    size_voxels: Annotated[Side, _VIEWS] = Field(15, ge=5, description="Side of a view, odd.")
    min_gap_A: Annotated[Length, _VIEWS] = Field(1.0, ge=0, description=(
        "Smallest distance between the facing sides of the two views, before the turn [Å]."))
    max_gap_A: Annotated[Length, _VIEWS] = Field(5.0, ge=0, description=(
        "Largest distance between the facing sides of the two views, before the turn [Å]."))
    max_turn_deg: Annotated[Float, _VIEWS] = Field(20.0, ge=0, le=180, description=(
        "Largest angle by which the second view is turned, about any axis [°]."))
    min_density_atoms_nm3: Annotated[Density, _VIEWS] = Field(45.0, ge=0, description=(
        f"Atoms per volume of both views [atoms/nm³]: of {NUM_PLACEMENTS} placements in a crop, "
        "the first that has it is taken; else that whose emptier view has most atoms."))


class ModelHparams(NetworkHparams):
    """The encoder of both views, and the head that classifies them."""

    features: FieldsText = Field(description=(
        "Output fields of the encoder, from which the head predicts the face."))
    downsampling: Literal["strided", "pooled"] = Field("strided", description=(
        "How layers halve the side: by strided convolutions, or by averages of neighbouring "
        "voxels after a convolution."))
    alignment: Literal["exact", "none"] = Field("exact", description=(
        "`exact` pads images such that all sides are odd, which keeps the symmetry of the cube; "
        "`none` always pads by half a kernel, so that sides such as 15 → 8 lose it."))
    head: Literal["mlp", "equivariant"] = Field("mlp", description=(
        "`mlp` is an ordinary multilayer perceptron; `equivariant` applies one to the features in "
        "24 orientations, so that turning both views turns the prediction. Even sides, "
        "which `alignment: none` allows, break this symmetry."))
    mlp_width: Count = Field(128, ge=1, description="Width of the perceptron's two hidden layers.")
    views: ViewsHparams


class LossHparams(TextModel):
    """The loss, the cross entropy of the faces, has no hyperparameters."""
