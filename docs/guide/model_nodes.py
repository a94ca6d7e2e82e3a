#!/usr/bin/env python3
"""Model how well several machines would train committed runs, from the sizes of their messages.

Usage:
    model_nodes.py
"""

from pathlib import Path

import pandas as pd

from atompaint_vae.config.hparams import load_resolved
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.metrics import load_columns
from atompaint_vae.records.record import RunPaths, load_record

RUNS = (
    "20241217_train_vae/2-layer-wide",
    "20261129_neighbor_location/cnn-0",
    "20261129_latents_or_voxels/voxels-long-0",
)

NUM_SUMS = 20
"""Sums of a step besides the gradients: of ten normalisation layers, forward and backward."""

MESSAGE_S = 50e-6
"""From one machine to the next, by TCP."""

NUM_BYTES = 4
"""Of a gradient."""

LARGER = (1, 8)
"""Batches, in those of the record; a step takes as many times longer."""

CASES = ((2, 1, 1), (8, 1, 1), (8, 10, 1), (8, 10, 30))
"""Machines, Gbit/s between them, how many times faster than the record each of them computes."""


def main(folder: Path):
    expts = folder.parents[1] / "expts"
    rows = [make_row(expts, name, times) for name in RUNS for times in LARGER]
    save_table(pd.DataFrame(rows), folder / "nodes.csv")


def make_row(expts: Path, name: str, times: int) -> dict[str, str]:
    experiment, run = name.split("/")
    paths = RunPaths(expts / experiment / "runs" / run)
    num_parameters = load_record(paths.record).num_parameters
    batch_size = times * load_resolved(paths.hparams).optim.batch_size
    train = load_columns(paths.train_metrics)
    (time_s, num_steps) = (train[key][-1] - train[key][0] for key in ("elapsed_s", "step"))
    step_s = times * time_s / num_steps
    row = {
        "run": name,
        "batch": f"{batch_size}",
        "step [s]": f"{step_s:.2g}",
        "size [MB]": f"{1e-6 * NUM_BYTES * num_parameters:.2g}",
    }
    for num_nodes, gbit_per_s, speed in CASES:
        case = f"{num_nodes}, {gbit_per_s} Gbit/s" + f", {speed} ×" * (speed > 1)
        efficiency = calc_efficiency(step_s / speed, num_parameters, num_nodes, gbit_per_s)
        row[case] = f"{efficiency:.0%}" if batch_size % num_nodes == 0 else ""
    return row


def calc_efficiency(
    step_s: float, num_parameters: int, num_nodes: int, gbit_per_s: float
) -> float:
    """Return the share of the time in which machines compute; sums run around a ring.

    step_s: of the whole batch on one machine, of which each does an equal part
    """
    gradients_s = NUM_BYTES * num_parameters * 8 / (gbit_per_s * 1e9)
    num_hops = 2 * (num_nodes - 1)
    sums_s = num_hops * (gradients_s / num_nodes + (NUM_SUMS + 1) * MESSAGE_S)
    return step_s / num_nodes / (step_s / num_nodes + sums_s)


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
