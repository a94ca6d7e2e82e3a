#!/usr/bin/env python3
"""Draw and correlate the ranks of decoders after short and long trainings, and list their scores.

Usage:
    plot_ranks.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.search import calc_rank_correlation, plot_ranks
from atompaint_vae.figures.seeds import format_mean
from atompaint_vae.figures.style import save_figure
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.records.metrics import load_metrics

SHORT = "20261129_which_decoder"
METRICS = ("r2", "bonded")
GOOD_R2 = 0.9


def main(expt: Experiment):
    trials = Experiment(expt.expt_dir.with_name(SHORT))
    rows = []
    for run in expt.load_runs():
        trial, decoder = run.name.rpartition("-")[0], run.hparams.model.decoder
        rows.append({
            "trial": trial,
            "decoder": (
                f"{' '.join(decoder.layers)}, symmetry {decoder.symmetry}, "
                f"{decoder.convs_per_layer} {decoder.blocks}, {decoder.upsampling}"
            ),
            "early": load_metrics(trials.get_run_paths(trial).val_metrics)["r2"].max(),
            "late": run.record.best.value,
            "time_s": load_metrics(run.paths.val_metrics)["elapsed_s"].iloc[-1],
            **load_metrics(run.paths.test_metrics).iloc[0][[*METRICS]],
        })  # fmt: skip
    runs = pd.DataFrame(rows)
    figure = plot_ranks(
        runs["early"], runs["late"], runs["trial"],
        labels=("after 200 steps", "after 2,000 steps"),
    )  # fmt: skip
    save_figure(figure, expt.expt_dir / f"{expt.date}_ranks.svg")
    of_trials = runs.groupby(["trial", "decoder", "early"], sort=False)
    table = pd.DataFrame(
        {
            "trial": trial,
            "decoder": decoder,
            "shortest time [s]": f"{group['time_s'].min():.0f}",
            "val R², 200 steps": f"{early:.3f}",
            "val R², 2,000 steps": format_mean(group["late"]),
            **{f"test {key}": format_mean(group[key]) for key in METRICS},
        }
        for (trial, decoder, early), group in of_trials
    )
    save_table(table, expt.expt_dir / f"{expt.date}_scores.csv")
    save_table(correlate_ranks(expt, runs), expt.expt_dir / f"{expt.date}_correlations.csv")


def correlate_ranks(expt: Experiment, runs: pd.DataFrame) -> pd.DataFrame:
    """Return how the ranks of the trials, and of each validation of the long runs, agree with those
    at their end."""
    early = load_r2(expt)
    last = early.pop(early.columns[-1])
    early.insert(0, "200, trials", runs["early"].to_numpy())
    trials = runs["trial"]
    is_good = (last.groupby(trials.to_numpy()).transform("mean") > GOOD_R2).to_numpy()
    return pd.DataFrame(
        {
            "steps": str(step),
            "all decoders": describe(early[step], last, trials),
            f"those of R² > {GOOD_R2}": describe(
                early[step][is_good], last[is_good], trials[is_good]
            ),
        }
        for step in early
    )


def load_r2(expt: Experiment) -> pd.DataFrame:
    """Return a row for each run, with its R² at each validation."""
    return pd.DataFrame({
        run.name: load_metrics(run.paths.val_metrics).set_index("step")["r2"]
        for run in expt.load_runs()
    }).T  # fmt: skip


def describe(early: pd.Series, late: pd.Series, trials: pd.Series) -> str:
    correlation = calc_rank_correlation(early, late, list(trials))
    return str(correlation).removeprefix("Kendall's τ = ").partition(", n")[0]


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
