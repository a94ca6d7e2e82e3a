"""The kind `neighbor_location`: its declaration, which needs no torch."""

from typing import Any

from ..kind import Curve, Kind, Metric
from .hparams import LossHparams, ModelHparams


def describe_for_card(hparams: Any) -> dict[str, str]:
    """Return the parts of a model card that describe a classifier's hyperparameters."""
    model, views = hparams.model, hparams.model.views
    is_equivariant = model.symmetry == "rotation"
    is_exact = is_equivariant and model.alignment == "exact"
    head = "equivariant" if model.head == "equivariant" else "ordinary"
    if is_exact:
        kind = "rotation-equivariant"
    elif is_equivariant:
        kind = "rotation-equivariant except for even sides, as ``alignment`` is ``none``"
    else:
        kind = "without symmetry, for comparison"
    return {
        "kind": kind,
        "view_size": str(views.size_voxels),
        "views": (
            f"{views.min_gap_A:g} to {views.max_gap_A:g} Å apart, the second then turned by up to "
            f"{views.max_turn_deg:g}°"
        ),
        "layers": " → ".join(f"``{layer}``" for layer in model.layers),
        "features": model.features,
        "invariance": (
            ", which don't change when an image is rotated by one of the 24 rotations of the cube"
            if is_exact
            else ""
        ),
        "head": f"an {head} multilayer perceptron of width {model.mlp_width}",
        "min_density": f"{hparams.data.min_density_atoms_nm3:g}",
    }


KIND = Kind(
    name="neighbor_location",
    model=ModelHparams,
    loss=LossHparams,
    objective="atompaint_vae.models.neighbor_location.objective:NeighborObjective",
    losses=("loss",),
    best=Metric("accuracy", "accuracy", "higher"),
    sizes=("features_shape",),
    curves=(
        Curve("loss", "Loss", "cross entropy [nats]"),
        Curve("accuracy", "Accuracy on held-out crops", limits=(0.0, 1.02)),
    ),
    artifacts=("confusion.csv", "noise.csv"),
    card_metrics=("accuracy", "loss"),
    describe_for_card=describe_for_card,
)
