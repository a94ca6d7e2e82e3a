"""The kind `vae`: its declaration, which needs no torch."""

import math
from collections.abc import Mapping
from typing import Any

from ..hparams import override
from ..kind import Curve, Kind, Metric
from .hparams import LossHparams, ModelHparams

DOMINANT = 10
"""Ratio of the two losses above which a plan mentions it."""


def describe_collapse(metrics: Mapping[str, Any]) -> str | None:
    """Return the alarm of a collapsed latent; None without one, or if the loss isn't finite."""
    loss = metrics.get("loss")
    if metrics.get("active_units") != 0 or (loss is not None and not math.isfinite(loss)):
        return None
    priors = [
        f"{key.removeprefix('prior_')} {value:.3g}"
        for key, value in metrics.items()
        if key.startswith("prior_") and key != "prior_loss"
    ]
    return (
        f"the latent has collapsed: no unit is active, R² {metrics.get('r2', float('nan')):.3f}, "
        f"prior loss {', '.join(priors)}; the decoder ignores it (a smaller beta or reduction: sum "
        "may help)"
    )


def list_first_losses(losses: Mapping[str, float], hparams: Any) -> dict[str, float]:
    """Return the two terms of the total loss."""
    weighted = hparams.loss.beta * losses["prior_loss"]
    return {"data loss": losses["data_loss"], "beta × prior": weighted}


def find_dominant(losses: Mapping[str, float]) -> str | None:
    """Return a note on the dominant loss at the first step, None if neither dominates."""
    terms = {"data loss": losses["data loss"], "beta × prior loss": losses["beta × prior"]}
    (small, low), (large, high) = sorted(terms.items(), key=lambda item: item[1])
    if high < DOMINANT * low:
        return None
    if low > 0:
        text = f"at the first step, the {large} is {high / low:,.0f} times the {small}"
    else:
        text = f"at the first step, the {small} is zero beside the {large}"
    return f"{text}: the latent may collapse" if small == "data loss" else text


REDUCTIONS = {
    "sum": "Sum-reduced data loss",
    "mean": "Mean-reduced data loss",
    "optimal": "Data loss with the decoder variance that is best for each batch",
}


SYMMETRIES = {
    ("rotation", "rotation"): "rotation-equivariant",
    ("rotation", "none"): "with a rotation-equivariant encoder and a decoder without symmetry",
    ("none", "rotation"): "with an encoder without symmetry and a rotation-equivariant decoder",
    ("none", "none"): "without symmetry, for comparison",
}
"""What a VAE is called, by the symmetries of its encoder and of its decoder."""

SCHEDULES = {
    "constant": "",
    "warmup": " (raised from 0 over the first {} steps)",
    "cyclic": " (raised from 0 over the first half of every {} steps)",
}


def describe_for_card(hparams: Any) -> dict[str, str]:
    """Return the parts of a model card that describe a VAE's hyperparameters."""
    model, loss = hparams.model, hparams.loss
    halves = [override(model, part) for part in (model.encoder, model.decoder)]
    layers = [" → ".join(f"``{layer}``" for layer in half.layers) for half in halves]
    is_mirrored = layers[0] == layers[1]
    weights = {**dict(loss.channel_weights), "occupied voxels": loss.occupied_weight}
    errors = ", ".join(f"× {weight:g} in {x}" for x, weight in weights.items() if weight != 1)
    further = "trained further" if model.encoder_rate else "frozen"
    source = f"\n  The encoder's layers are those of ``{model.encoder_weights}``, {further}."
    return {
        "kind": SYMMETRIES[tuple(half.symmetry for half in halves)],
        "latent": model.latent,
        "layers": layers[0] if is_mirrored else "encoder {}, decoder {}".format(*layers),
        "encoder": source if model.encoder_weights else "",
        "reduction": REDUCTIONS[loss.reduction] + (f" (errors {errors})" if errors else ""),
        "beta": f"{loss.beta:g}" + SCHEDULES[loss.beta_schedule].format(loss.beta_steps),
    }


KIND = Kind(
    name="vae",
    model=ModelHparams,
    loss=LossHparams,
    objective="atompaint_vae.models.vae.objective:VAEObjective",
    losses=("loss", "data_loss", "prior_loss"),
    best=Metric("r2", "R²", "higher"),
    sizes=("latent_shape", "compression_ratio"),
    better={
        "r2": "higher", "bonded": "higher", "clashing": "lower", "isolated": "lower",
        "solid_blocks": "lower",
    },
    curves=(
        Curve("data_loss", "Data loss", "squared error, {loss.reduction}", log=True),
        Curve("prior_loss", "Prior loss", "KL divergence [nats]", log=True),
        Curve("r2", "R² of held-out crops", limits=(-0.25, 1.02)),
        Curve("active_units", "Active units", "% of latent channels", limits=(-3.0, 103.0),
              percent_of="latent_shape"),
    ),
    artifacts=("reconstructions.npz",),
    initial=("encoder_weights",),
    alarms={"collapsed": describe_collapse},
    first_losses=list_first_losses,
    judge_first_losses=find_dominant,
    card_metrics=("r2", "bonded", "prior_loss", "active", "equivariance", "encoder_equivariance"),
    describe_for_card=describe_for_card,
)  # fmt: skip
