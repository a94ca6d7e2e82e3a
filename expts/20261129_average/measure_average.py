#!/usr/bin/env python3
"""Write the held-out loss of each run's weights, and of their average with several statistics.

Usage:
    measure_average.py

Interrupt the runs by ./train.py --max-steps to measure them at earlier steps; rows of other steps
stay in the table.
"""

from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from atompaint_vae.config.datasets import SEED_OF_SPLIT, make_dataset
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.figures.tables import save_table
from atompaint_vae.models.diffusion.objective import DiffusionObjective
from atompaint_vae.models.noise import Noise
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.training.checkpoints import load_checkpoint
from atompaint_vae.training.plan import build_model
from atompaint_vae.training.weights import load_inputs

STATISTICS = ("running_mean", "running_var")


def main(expt: Experiment):
    path = expt.expt_dir / f"{expt.date}_average.csv"
    rows = []
    for name, hparams in tqdm(expt.load_hparams().items(), unit="run", disable=None):
        checkpoint = load_checkpoint(expt.get_run_paths(name).best)
        state = checkpoint["state_dict"]
        raw = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
        prefix = "average.module."
        average = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        stale = {k: raw[k] if k.endswith(STATISTICS) else v for k, v in average.items()}
        for what, weights in (("weights", raw), ("average", average), ("stale average", stale)):
            rows.append({
                "run": name, "step": checkpoint["global_step"], "what": what,
                "band_loss": calc_band_loss(expt, hparams, weights),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    if path.exists():
        table = pd.concat([pd.read_csv(path), table])
        table = table.drop_duplicates(["run", "step", "what"], keep="last")
    save_table(table.sort_values(["run", "step"], kind="stable"), path)


def calc_band_loss(expt: Experiment, hparams, weights: dict) -> float:
    model = build_model(hparams, inputs=load_inputs(hparams, expt.expt_dir).modules)
    model.load_state_dict(weights)
    dataset = make_dataset(hparams, expt.expt_dir, "validation")
    objective = DiffusionObjective(model.eval(), hparams, dataset)
    objective.begin_held_out()
    with torch.no_grad():
        for start in range(0, len(dataset), 16):
            batch = collate_crops([dataset[i] for i in range(start, start + 16)])
            inputs = objective.make_inputs(batch, SEED_OF_SPLIT["validation"])
            objective.add_held_out(inputs, Noise(0, batch.sample_index))
    return objective.calc_metrics()["band_loss"]


if __name__ == "__main__":
    main(Experiment(Path(__file__).parent))
