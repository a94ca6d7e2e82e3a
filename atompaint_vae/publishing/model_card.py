"""The page of a published model, a model card.

Its numbers are roles that read the run's record when the page is built.

source: Mitchell et al. 2019, Model Cards for Model Reporting, for what it says
"""

from collections.abc import Sequence
from pathlib import Path

from ..config.hparams import STARTER, Hparams
from ..data.crops.voxelize import CHANNELS

FORMATS = {
    "latent_shape": "", "compression_ratio": ".1f", "num_parameters": ",", "steps": ",",
    "duration_s": ",", "device": "", "best_step": ",",
}  # fmt: skip

REDUCTIONS = {
    "sum": "Sum-reduced data loss",
    "mean": "Mean-reduced data loss",
    "optimal": "Data loss with the decoder variance that is best for each batch",
}


def make_card(name: str, run_id: str, hparams: Hparams, metrics: Sequence[str]) -> str:
    """The page's text.

    run_id:  `experiment/run`
    metrics: columns of test.csv to show
    """
    data, model, train = hparams.data, hparams.model, hparams.train
    experiment, _, run = run_id.rpartition("/")
    shown = [x for x in metrics if x.startswith(("r2", "prior_loss", "active", "equivariance"))]
    rows = [f"   * - ``{x}``\n     - {_refer(run_id, f'test.{x}', '.3g')}" for x in shown]
    is_equivariant = model.symmetry == "rotation"
    shape = "ball" if data.density == "sphere" else "Gaussian of the volume of a ball"
    template = Path(__file__).with_suffix(".rst").read_text("utf-8")
    return template.format(
        name=name,
        line="*" * len(name),
        run_id=run_id,
        run=run,
        experiment=experiment,
        kind="rotation-equivariant" if is_equivariant else "without symmetry, for comparison",
        num_channels=len(CHANNELS),
        channels=", ".join(CHANNELS),
        size=data.size_voxels,
        resolution=f"{data.resolution_A:g}",
        density=f"An atom is a {shape} of radius {data.radius_A:g} Å.",
        latent=model.latent,
        layers=" → ".join(f"``{layer}``" for layer in model.layers),
        source=(
            ":doc:`/docs/notebook/starter_structures`"
            if data.source == STARTER
            else f"``{data.source}``"
        ),
        reduction=REDUCTIONS[hparams.loss.reduction],
        beta=f"{hparams.loss.beta:g}",
        batch_size=hparams.optim.batch_size,
        precision=train.precision,
        num_test_crops=train.num_test_crops,
        rows="\n".join(rows),
        **{f"metric_{key}": _refer(run_id, key, form) for key, form in FORMATS.items()},
    )


def _refer(run_id: str, key: str, form: str) -> str:
    return f":metric:`{' '.join([run_id, key, form]).strip()}`"
