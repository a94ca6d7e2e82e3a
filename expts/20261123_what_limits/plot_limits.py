#!/usr/bin/env python3
"""Draw what each change to the base model does to R², and at what cost; write the table.

The base model is `irreps-10` of 20261123_rate_distortion, of two seeds.

Usage:
    plot_limits.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment, RecordedRun
from atompaint_vae.records.metrics import load_metrics
from atompaint_vae.training.cost import calc_cost
from atompaint_vae.training.plan import build_model

BASE = ("20261123_rate_distortion", "irreps-10")


def main(expt: Experiment):
    base_expt = Experiment(expt.expt_dir.with_name(BASE[0]))
    base = [run for run in base_expt.load_runs() if run.name.startswith(BASE[1])]
    table = pd.DataFrame([describe(run) for run in [*base, *expt.load_runs()]])
    of_base = table["test R²"][: len(base)]
    table["change of R²"] = table["test R²"] - of_base.mean()
    table = table.round({"test R²": 4, "change of R²": 4, "10¹² multiply-adds": 1})
    save_table(table, expt.expt_dir / f"{expt.date}_limits.csv")
    save_figure(draw(table, len(base)), expt.expt_dir / f"{expt.date}_limits.svg")


def describe(run: RecordedRun) -> dict:
    hparams = run.hparams
    cost = calc_cost(hparams, build_model(hparams), batch_size=hparams.optim.batch_size)
    num_steps = hparams.train.epochs * hparams.train.steps_per_epoch
    return {
        "run": run.name,
        "test R²": load_metrics(run.paths.test_metrics)["r2"].iloc[0],
        "parameters": run.record.num_parameters,
        "crops": num_steps * hparams.optim.batch_size,
        "10¹² multiply-adds": num_steps * cost.multiply_adds / 1e12,
    }


def draw(table: pd.DataFrame, num_base: int):
    base, changes = table[:num_base], table[num_base:].sort_values("test R²")
    figure, axis = make_figure(figsize=(7, 0.9 + 0.3 * len(changes)))
    axis.axvspan(
        base["test R²"].min(), base["test R²"].max(), color=RUN_COLOURS[0], alpha=0.25, lw=0,
        label=f"base, {num_base} seeds",
    )  # fmt: skip
    axis.axvline(base["test R²"].mean(), color=RUN_COLOURS[0])
    axis.plot(changes["test R²"], changes["run"], "o", color=RUN_COLOURS[1])
    base_cost = base["10¹² multiply-adds"].mean()
    for _, row in changes.iterrows():
        cost = f"  {row['10¹² multiply-adds'] / base_cost:.1f}× the multiply-adds"
        axis.annotate(cost, (row["test R²"], row["run"]), va="center", fontsize=7.5)
    low, high = table["test R²"].min(), table["test R²"].max()
    axis.set(xlabel="test R²", xlim=(low - 0.01, high + 0.35 * (high - low)))
    axis.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
