#!/usr/bin/env python3
"""Draw starter_structures.svg and starter_crops.svg beside this script.

Usage:
    draw_starter_structures.py
"""

from pathlib import Path

from atompaint_vae.data.crops.dataset import CropDataset, load_split
from atompaint_vae.data.sets.summary import load_summary
from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.structures import plot_crops, plot_summary
from atompaint_vae.figures.style import save_figure

SEED = 1  # as in validation
NUM_CROPS = 5


def main(folder: Path):
    save_figure(plot_summary(load_summary("starter")), folder / "starter_structures.svg")
    dataset = CropDataset(load_split("starter", "validation"), num_samples=NUM_CROPS, seed=SEED)
    save_figure(plot_crops(dataset, list(range(NUM_CROPS))), folder / "starter_crops.svg")


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
