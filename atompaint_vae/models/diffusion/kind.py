"""The kind `diffusion`: its declaration, which needs no torch."""

from itertools import pairwise
from typing import Any

from ..kind import Curve, Kind, Metric
from .hparams import LossHparams, ModelHparams

BAND_EDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Noise levels between the bands for which losses are recorded: half a decade each."""

BANDS = {f"loss_{low:g}_{high:g}": (low, high) for low, high in pairwise(BAND_EDGES)}
"""The column of each band's loss, and its limits."""


def describe_for_card(hparams: Any) -> dict[str, str]:
    """Return the parts of a model card that describe a denoiser's hyperparameters."""
    model = hparams.model
    is_equivariant = model.symmetry == "rotation"
    return {
        "kind": "rotation-equivariant" if is_equivariant else "without symmetry",
        "layers": " → ".join(f"``{layer}``" for layer in model.layers),
        "space": f"latents of ``{model.autoencoder}``" if model.autoencoder else "images",
        "num_steps": str(model.sampler.num_steps),
    }


KIND = Kind(
    name="diffusion",
    model=ModelHparams,
    loss=LossHparams,
    objective="atompaint_vae.models.diffusion.objective:DiffusionObjective",
    losses=("loss",),
    best=Metric("band_loss", "band loss", "lower"),
    sizes=("data_shape",),
    better={
        "bonded": "higher", "clashing": "lower", "isolated": "lower",
    },
    curves=(
        Curve("loss", "Loss", "weighted squared error"),
        Curve("band_loss", "Mean of all bands of σ", "weighted squared error"),
        *(
            Curve(name, f"σ from {low:g} to {high:g}", "weighted squared error")
            for name, (low, high) in BANDS.items()
        ),
    ),
    artifacts=("samples.npz",),
    inputs=("autoencoder",),
    card_metrics=("band_loss", "loss", "bonded", "clashing", "isolated", "atoms_nm3", "sample_s"),
    describe_for_card=describe_for_card,
)  # fmt: skip
