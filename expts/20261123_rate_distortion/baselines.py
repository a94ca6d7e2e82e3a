#!/usr/bin/env python3
"""Score what needs no network, on the test crops of this experiment's runs, at many compression
ratios: principal components of patches, and images of fewer voxels.

Usage:
    baselines.py
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from torch import Tensor

from atompaint_vae.analysis.baselines import PatchPCA, coarsen
from atompaint_vae.analysis.reconstructions import ReconstructionMetrics
from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.data.crops.voxelize import CHANNELS
from atompaint_vae.figures.provenance.script import run_script
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.experiment import Experiment

NUM_TRAIN_CROPS = 256
PATCH_VOXELS = 7
RATIOS = (2, 3, 5, 7, 10, 15, 25, 35, 50, 75, 100)
COARSE_SIZES = (29, 25, 21, 19, 17, 15, 13, 11, 9, 7)


def main(expt: Experiment):
    hparams = next(iter(expt.load_hparams().values()))

    def iter_images(split: str) -> Iterator[Tensor]:
        dataset = make_dataset(hparams, expt.expt_dir, split)
        for i in range(NUM_TRAIN_CROPS if split == "train" else len(dataset)):
            yield dataset.make_images(collate_crops([dataset[i]]))

    pca = PatchPCA(iter_images("train"), PATCH_VOXELS)
    num_values = len(CHANNELS) * PATCH_VOXELS**3
    methods: list[tuple[str, float, Callable[[Tensor], Tensor]]] = []
    for ratio in RATIOS:
        num = round(num_values / ratio)
        methods.append(("PCA", num_values / num, lambda x, num=num: pca.reconstruct(x, num)))
    for size in COARSE_SIZES:
        ratio = (hparams.data.size_voxels / size) ** 3
        methods.append(("coarser voxels", ratio, lambda x, size=size: coarsen(x, size)))

    metrics = [ReconstructionMetrics(CHANNELS) for _ in methods]
    for image in iter_images("test"):
        for (_, _, reconstruct), metric in zip(methods, metrics, strict=True):
            metric.update(image, reconstruct(image))
    rows = [
        {"method": name, "compression ratio": f"{ratio:.2f}"}
        | {key: f"{value:z.4f}" for key, value in metric.calc().items()}
        for (name, ratio, _), metric in zip(methods, metrics, strict=True)
    ]
    save_table(pd.DataFrame(rows), expt.expt_dir / f"{expt.date}_baselines.csv")


if __name__ == "__main__":
    run_script(__doc__, Path(__file__), main)
