"""The page of a published model, a model card.

Its numbers are roles that read the run's record when the page is built.

source: Mitchell et al. 2019, Model Cards for Model Reporting, for what it says
"""

from collections.abc import Sequence

from ..data.voxelize import CHANNELS
from .hparams import STARTER, Hparams

CARD = """\
.. Written by `atompaint-vae publish {run_id} {name}`.

{line}
{name}
{line}

A variational autoencoder of macromolecular structures, {kind}.  It was trained as the run ``{run}`` of 
:expt:`{experiment}`, which says what it is compared with; :doc:`/docs/guide/pretrained` shows how it is used.

.. list-table::
   :widths: auto

   * - Load
     - ``atompaint_vae.load_pretrained("{name}")``
   * - Image
     - {num_channels} channels ({channels}) of {size}³ voxels of {resolution} Å.  {density}
   * - Latent
     - ``{latent}``: {metric_latent_shape} numbers, {metric_compression_ratio}× fewer than in the image
   * - Layers
     - {layers}
   * - Parameters
     - {metric_num_parameters}
   * - Weights
     - :download:`weights.safetensors </atompaint_vae/pretrained/{name}/weights.safetensors>`, float32; 
       :download:`SHA-256 </atompaint_vae/pretrained/{name}/weights.sha256>`
   * - Records
     - :download:`hparams.nt </atompaint_vae/pretrained/{name}/hparams.nt>`, 
       :download:`record.nt </atompaint_vae/pretrained/{name}/record.nt>`, 
       :download:`test.csv </atompaint_vae/pretrained/{name}/test.csv>`

Intended use
============

Research on generative models of structures: images to latents and back, distributions over latents, comparisons 
with other autoencoders.  It is not made to validate, refine or predict structures, nor for any 
clinical use.

Training
========

- Random crops, in random orientations, of the training structures of {source}.

- {reduction}, β = {beta}, Adam, {metric_steps} steps of {batch_size} crops, ``{precision}``; 
  {metric_duration_s} s on {metric_device}.

- The weights are those of the best validation, at step {metric_best_step}.

Test
====

{num_test_crops} crops of the test structures, reconstructed from the posterior's mean:

.. list-table::
   :widths: auto
   :header-rows: 1

   * - Metric
     - Value
{rows}

``r2`` is against the mean of each channel, ``r2_zero`` against an empty image, ``r2_C`` of one channel.  The 
equivariance errors are of one rotation of the cube and of one other, where most of the error comes from the 
interpolation of the images; :expt:`equivariance` tells the two apart.

``atompaint-vae evaluate {name} starter`` measures the same again, in float32, and 
``atompaint-vae evaluate {name} FILES`` on any other structures.

Limits
======

- Few structures: what is rare among them is reconstructed badly.  See the channels' R² above.

- Crops are centred on atoms and full of them: surfaces are seen, solvent alone isn't.  Water and hydrogen are left out.

- Images of another resolution, radius or size than above aren't what the model has learned.

- The posteriors of all images together are not the prior: images decoded from the prior don't look like 
  structures.  See :doc:`/docs/guide/pretrained`.

Licence
=======

MIT, as this package.  The structures are from the Protein Data Bank, in the public domain.
"""

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
    return CARD.format(
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
