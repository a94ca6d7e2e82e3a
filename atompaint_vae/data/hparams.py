"""The hyperparameters of crops and their images: the section `data` of hparams.nt."""

from typing import Annotated, Literal

from pydantic import Field

from ..text.typed import Float, Incomparable, TextModel
from ..text.values import Count, Density, Elements, Length, Name, Side

_CROPS = Incomparable(("",), "their crops are different")


class DataHparams(TextModel):
    source: Annotated[Name, Incomparable(
        ("",), "they saw different structures, or another split of them", also=("data_hash",),
    )] = Field("starter", min_length=1, description=(
        "Structures to crop: `starter` is the set that comes with this package; else a set that "
        "`atompaint-vae data build` wrote, or a database of macromol_gym_unsupervised. A relative "
        "path begins at the experiment's folder."))
    size_voxels: Annotated[Side, _CROPS] = Field(35, ge=5, description=(
        "Side of an image; odd, so that a voxel sits at its centre."))
    num_train_structures: Annotated[Count, Incomparable(
        ("train.",), "their training crops are different",
    )] = Field(0, ge=0, description=(
        "Structures of the training split to crop, always the same for a number; 0 takes all."))
    num_train_crops: Annotated[Count, Incomparable(
        ("train.",), "their training crops are different",
    )] = Field(0, ge=0, description=(
        "Training crops, which are seen again and again; 0: each is seen once. Diffusion turns "
        "them by rotations of the cube."))
    resolution_A: Annotated[Length, _CROPS] = Field(1.0, gt=0, description="Side of a voxel [Å].")
    radius_A: Annotated[Length, _CROPS] = Field(0.75, gt=0, description="Radius of every atom [Å].")
    min_density_atoms_nm3: Annotated[Density, _CROPS] = Field(25.0, ge=0, description=(
        "Crops with fewer atoms per volume than this are passed over [atoms/nm³]."))
    density: Annotated[Literal["sphere", "gaussian"], _CROPS] = Field("sphere", description=(
        "What an atom is in an image: a ball, of which each voxel holds the part inside it; or a "
        "Gaussian of the same volume and variance."))
    elements: Annotated[Elements, _CROPS] = Field("all", description=(
        "Elements of the atoms that are kept, such as `C N O`; `all` keeps all."))
    min_occupancy: Annotated[Float, _CROPS] = Field(0.0, ge=0, le=1, description=(
        "Atoms of lower occupancy are left out."))
    min_nucleic_share: Annotated[Float, _CROPS] = Field(0.0, ge=0, le=1, description=(
        "Crops with a smaller part of their atoms in nucleic acid are passed over."))
    max_nucleic_share: Annotated[Float, _CROPS] = Field(1.0, ge=0, le=1, description=(
        "Crops with a larger part of their atoms in nucleic acid are passed over; 0 leaves "
        "protein and ligands."))
    min_border_distance_A: Annotated[Length, _CROPS] = Field(0.0, ge=0, description=(
        "Crops are centred near atoms at least this far inside the structure [Å]."))
