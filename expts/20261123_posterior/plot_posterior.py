#!/usr/bin/env python3
"""Draw what each kind of posterior and loss makes of the latent, and write the table.

The runs `beta-0.1` and `finer-25-beta-0.1` are `irreps-10` and `finer-25` of
20261123_rate_distortion.

Usage:
    plot_posterior.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.nn.fields import parse_field_type
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics

BASE_EXPT = "20261123_rate_distortion"
BASES = {"irreps-10": "beta-0.1", "finer-25": "finer-25-beta-0.1"}
DEGREES = (0, 1, 2)


def main(expt: Experiment):
    runs = {run.name: run for run in Experiment(expt.expt_dir.with_name(BASE_EXPT)).load_runs()}
    bases = [describe(runs[name]) | {"run": here} for name, here in BASES.items()]
    table = pd.DataFrame([*bases, *map(describe, expt.load_runs())])
    # The runs at 26× last, together.
    table = table.sort_values("run", key=lambda name: name.str.startswith("finer"), kind="stable")
    save_table(table.round(4), expt.expt_dir / f"{expt.date}_posterior.csv")
    save_figure(draw(table), expt.expt_dir / f"{expt.date}_posterior.svg")


def describe(run: RecordedRun) -> dict:
    test = load_metrics(run.paths.test_metrics).iloc[0]
    num_voxels = np.prod(run.record.sizes["latent_shape"][1:])
    irreps = parse_field_type(run.hparams.model.latent).irreps
    degrees = [l for l in DEGREES if l in irreps.ls]
    num_channels = {l: sum(x.dim for x in irreps if x.ir.l == l) for l in degrees}
    return {
        "run": run.name,
        "test R²": test["r2"],
        "prior loss [nats]": round(test["prior_loss"], 1),
        "active units": int(test["active_units"]),
        **{
            f"nats a number, l = {l}": test[f"prior_{l}e"] / (num_channels[l] * num_voxels)
            for l in degrees
        },
        **{f"variance of the mean, l = {l}": test[f"var_mean_{l}e"] for l in degrees},
        **{f"mean of the variance, l = {l}": test[f"mean_var_{l}e"] for l in degrees},
    }


def draw(table: pd.DataFrame):
    figure, axes = make_figure(1, 3, figsize=(9, 0.9 + 0.34 * len(table)), sharey=True)
    places = np.arange(len(table))[::-1]
    axes[0].plot(table["test R²"], places, "o", color=RUN_COLOURS[0])
    axes[0].set(title="Test R²", yticks=places, yticklabels=table["run"])
    for k, l in enumerate(DEGREES):
        offset = places + 0.22 * (1 - k)
        style = {"height": 0.2, "color": RUN_COLOURS[k]}
        axes[1].barh(offset, table[f"nats a number, l = {l}"], **style, label=f"l = {l}")
        of_mean = table[f"variance of the mean, l = {l}"]
        axes[2].barh(offset, of_mean, **style)
        mean = table[f"mean of the variance, l = {l}"]
        axes[2].barh(offset, mean, left=of_mean, **style, alpha=0.4)
    axes[1].set(title="Prior loss", xlabel="nats a number of the latent")
    axes[1].legend(loc="best")
    axes[2].set(title="Variance of the aggregate", xlabel="of the mean; within (pale)")
    axes[2].axvline(1, color="#5b5b5b", ls=":", lw=1)
    return figure


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
