#!/usr/bin/env python3
"""Draw the ranks of settings on latents and on voxels, and list their scores.

Usage:
    plot_settings.py
"""

from itertools import combinations
from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.search import calc_rank_correlation, plot_ranks
from atompaint_vae.figures.seeds import format_mean
from atompaint_vae.figures.style import save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.records.metrics import load_metrics

SPACES = {"short": "latents, 250 steps", "long": "latents, 1,500 steps", "voxels": "voxels"}
SCORES = {"band_loss": "lower", "bonded": "higher"}


def main(expt: Experiment):
    runs = pd.concat([load_scores(expt, space) for space in SPACES])
    spaces = list(runs["space"].unique())  # those that are trained
    means = runs.groupby(["setting", "space"], sort=False)[["minutes", *SCORES]].agg(list)
    table = means.map(format_mean).unstack("space")
    table.columns = [f"{score}, {SPACES[space]}" for score, space in table.columns]
    save_table(table.reset_index(), expt.expt_dir / f"{expt.date}_settings.csv")
    rows = []
    for score, better in SCORES.items():
        scores = runs.pivot(index=["setting", "seed"], columns="space", values=score)
        for a, b in combinations(spaces, 2):
            wide = scores[[a, b]].dropna()
            settings = wide.index.get_level_values("setting")
            found = calc_rank_correlation(wide[a], wide[b], settings)
            rows.append({
                "score": score, "a": SPACES[a], "b": SPACES[b],
                "τ": f"{found.tau:.2f} [{found.low:.2f}, {found.high:.2f}]",
            })  # fmt: skip
            if score == "band_loss" and (a, b) != ("short", "voxels"):
                figure = plot_ranks(
                    wide[a], wide[b], settings, labels=(SPACES[a], SPACES[b]), better=better
                )
                save_figure(figure, expt.expt_dir / f"{expt.date}_ranks_{a}_{b}.svg")
    save_table(pd.DataFrame(rows), expt.expt_dir / f"{expt.date}_correlations.csv")


def load_scores(expt: Experiment, space: str) -> pd.DataFrame:
    other = Experiment(expt.expt_dir.with_name(f"{expt.date}_settings_{space}"))
    rows = []
    for run in other.load_runs():
        val, test = (load_metrics(x) for x in (run.paths.val_metrics, run.paths.test_metrics))
        rows.append({
            "space": space,
            "setting": run.name.rpartition("-")[0],
            "seed": run.hparams.seed,
            "band_loss": val["band_loss"].min(),
            "bonded": test["bonded"].iloc[0],
            "minutes": val["elapsed_s"].iloc[-1] / 60,
        })  # fmt: skip
    return pd.DataFrame(rows)


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
