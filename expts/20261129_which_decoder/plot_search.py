#!/usr/bin/env python3
"""Draw the trials, the keys that matter, and quality against cost.

Usage:
    plot_search.py
"""

from pathlib import Path

from atompaint_vae.figures.importance import calc_importances, plot_importance
from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.search import plot_front, plot_parallel_coordinates
from atompaint_vae.figures.style import save_figure
from atompaint_vae.search.history import load_history
from atompaint_vae.training.cost import calc_cost
from atompaint_vae.training.plan import build_model
from atompaint_vae.training.weights import load_inputs


def main(expt):
    history = load_history(expt)
    runs = {name: x for name, x in history.runs.items() if x is not None}
    inputs = load_inputs(next(iter(runs.values())), expt.expt_dir).modules
    costs = {
        name: calc_cost(x, build_model(x, inputs=inputs), batch_size=1).multiply_adds
        for name, x in runs.items()
    }
    for stem, figure in {
        "trials": plot_parallel_coordinates(history),
        "importance": plot_importance(calc_importances(history)),
        "front": plot_front(history, costs, "multiply-adds of a training step, for one crop"),
    }.items():
        save_figure(figure, expt.expt_dir / f"{expt.date}_{stem}.svg")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
