"""The page of a published model, a model card.

Its numbers are roles that read the run's record when the page is built.

source: Mitchell et al. 2019, Model Cards for Model Reporting, for its contents
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..config.schema import Hparams
from ..data import STARTER
from ..data.crops.voxelize import CHANNELS
from ..models.kind import KINDS, Kind, get_kind

FORMATS = {
    "num_parameters": ",", "steps": ",", "duration_s": ",", "device": "", "best_step": ",",
}  # fmt: skip


def make_card(name: str, run_id: str, hparams: Hparams, metrics: Sequence[str]) -> str:
    """Return the text of a model's page.

    run_id:  `experiment/run`
    metrics: columns of test.csv to show
    """
    data, train = hparams.data, hparams.train
    kind = get_kind(hparams.kind)
    experiment, _, run = run_id.rpartition("/")
    shown = [x for x in metrics if x.startswith(kind.card_metrics or "")]
    rows = [f"   * - ``{x}``\n     - {_refer(run_id, f'test.{x}', '.3g')}" for x in shown]
    shape = "ball" if data.density == "sphere" else "Gaussian of the volume of a ball"
    formats = FORMATS | {key: "" if key.endswith("_shape") else ".1f" for key in kind.sizes}
    return find_card_template(kind).read_text("utf-8").format(
        name=name,
        line="*" * len(name),
        run_id=run_id,
        run=run,
        experiment=experiment,
        num_channels=len(CHANNELS),
        channels=", ".join(CHANNELS),
        size=data.size_voxels,
        resolution=f"{data.resolution_A:g}",
        density=f"An atom is a {shape} of radius {data.radius_A:g} Å.",
        source=(
            ":doc:`/docs/notebook/starter_structures`"
            if data.source == STARTER
            else f"``{data.source}``"
        ),
        batch_size=hparams.optim.batch_size,
        precision=train.precision,
        num_test_crops=train.num_test_crops,
        rows="\n".join(rows),
        **kind.describe_for_card(hparams),
        **{f"metric_{key}": _refer(run_id, key, form) for key, form in formats.items()},
    )


def find_card_template(kind: Kind) -> Path:
    """Return the template of a kind's model cards, which is beside its declaration."""
    return Path(sys.modules[KINDS[kind.name]].__file__).with_name("card.rst")


def _refer(run_id: str, key: str, form: str) -> str:
    return f":metric:`{' '.join([run_id, key, form]).strip()}`"
