#!/usr/bin/env python3
"""Look for solid blocks in the reconstructions that all runs of this notebook have kept.

Usage:
    count_blocks.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

from atompaint_vae.analysis.blocks import calc_filled_range, find_solid_blocks
from atompaint_vae.config.hparams import load_resolved
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.tables import save_table
from atompaint_vae.records.find import find_expts_dir, find_runs


def main(folder: Path):
    rows = []
    for name, paths in find_runs(find_expts_dir(folder)).items():
        if not paths.reconstructions.exists():
            continue
        resolution_A = load_resolved(paths.hparams).data.resolution_A
        with np.load(paths.reconstructions) as stored:
            images, reconstructions = (
                stored[key].astype(np.float32) for key in ("image", "reconstruction")
            )
            r2 = stored["r2"]
        blocks = sum(
            len(find_solid_blocks(*pair, resolution_A))
            for pair in zip(images, reconstructions, strict=True)
        )
        least = [
            max(float(calc_filled_range(x.sum(axis=0), resolution_A)[0].max()) for x in crops)
            for crops in (images, reconstructions)
        ]
        rows.append((name, len(images), blocks, *map("{:z.2f}".format, (*r2[[0, -1]], *least))))
    columns = ("run", "crops", "solid blocks", "worst R²", "best R²",
               "least filled, input", "least filled, reconstruction")  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    save_table(table, folder / f"{folder.name.split('_')[0]}_runs.csv")


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
