#!/usr/bin/env python3
"""Write how much the reconstructions of test crops are filled in, for each finished run.

Runs that are already in the table aren't measured again.

Usage:
    measure_blocks.py
"""

from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from atompaint_vae.analysis.blocks import calc_filled_range, find_solid_blocks
from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.training.weights import load_trained

NUM_CROPS = 128


def main(expt: Experiment):
    path = expt.expt_dir / f"{expt.date}_crops.csv"
    tables = [pd.read_csv(path)] if path.exists() else []
    done = {name for table in tables for name in table["run"]}
    finished = [x.name for x in expt.load_runs() if x.paths.test_metrics.exists()]
    missing = [x for x in finished if x not in done]
    with tqdm(total=len(missing) * NUM_CROPS, unit="crop", disable=None) as bar:
        for name in missing:
            rows = []
            for row in measure(expt, name):
                rows.append({"run": name, **row})
                bar.update()
            tables.append(pd.DataFrame(rows))
            save_table(pd.concat(tables), path)


@torch.no_grad()
def measure(expt: Experiment, name: str):
    """Yield a row for each crop."""
    model, hparams = load_trained(f"{expt.expt_dir.name}/{name}", expt.expt_dir)
    train = hparams.train.model_copy(update={"num_test_crops": NUM_CROPS})
    dataset = make_dataset(hparams.model_copy(update={"train": train}), expt.expt_dir, "test")
    for i in range(NUM_CROPS):
        sample = dataset[i]
        image = dataset.make_images(collate_crops([sample]))
        reconstruction = model(image)[0].numpy()
        blocks = find_solid_blocks(image[0].numpy(), reconstruction, dataset.resolution_A)
        least, _ = calc_filled_range(reconstruction.sum(axis=0), dataset.resolution_A)
        yield {
            "structure": sample[1].structure,
            "blocks": len(blocks),
            "least_filled": f"{least.max():.4f}",
        }


if __name__ == "__main__":
    main(Experiment(Path(__file__).parent))
