#!/usr/bin/env python3
"""Draw the figures of the performance page, and write its tables, from benchmarks/records.

Usage:
    draw_performance.py
"""

import json
import re
from pathlib import Path

import pandas as pd
from matplotlib.ticker import FuncFormatter

from atompaint_vae.figures.provenance.script import run_page_script
from atompaint_vae.figures.style import RUN_COLOURS, make_figure, save_figure
from atompaint_vae.figures.tables import save_table

RECORDS = Path(__file__).parents[2] / "benchmarks" / "records"
BENCHMARKS = (
    "training", "gates", "layers", "grids", "devices", "diffusion", "voxelize", "feed", "build",
    "notebook",
)  # fmt: skip
LIBRARIES = {"escnn": RUN_COLOURS[0], "torch, unconstrained": RUN_COLOURS[1]}


def main(folder: Path):
    for name in BENCHMARKS:
        save_table(make_table(load_rows(name)), folder / f"performance_{name}.csv")
    save_table(make_machine_table(), folder / "performance_machine.csv")
    save_figure(plot_ratios(load_rows("training")), folder / "performance_training.svg")
    save_figure(plot_grids(load_rows("grids")), folder / "performance_grids.svg")


def load_rows(name: str) -> pd.DataFrame:
    return pd.DataFrame(load_record(name)["rows"])


def load_record(name: str) -> dict:
    return json.loads((RECORDS / f"{name}.json").read_text("utf-8"))


def make_table(rows: pd.DataFrame) -> pd.DataFrame:
    table = rows.rename(columns={"name": "what", "reference_name": "compared with"})
    for column in ("ours", "reference", "ratio"):
        table[column] = [
            "" if pd.isna(value) else f"{value:.3g}" if value < 1000 else f"{value:.0f}"
            for value in table[column]
        ]
    return table[["what", "ours", "reference", "unit", "ratio", "compared with", "n"]].fillna("")


def make_machine_table() -> pd.DataFrame:
    rows = []
    for name in BENCHMARKS:
        machine = load_record(name)["machine"]
        share = machine.pop("processor_share_of_others")
        shown = {key: value for key, value in machine.items() if value is not None}
        others = "" if share is None else f"{share:.0%}"
        rows.append({"benchmark": name, "others' share": others, **shown})
    return pd.DataFrame(rows).fillna("")


def plot_ratios(rows: pd.DataFrame):
    """Times of a whole training step, as ratios: to the right of 1 ours is faster."""
    rows = rows[(rows.unit == "ms") & ~rows.name.str.startswith("constructing")]
    names = list(dict.fromkeys(rows.name))
    figure, axes = make_figure(figsize=(8, 0.3 * len(names) + 1.2))
    for library, colour in LIBRARIES.items():
        own = rows[rows.reference_name == library].set_index("name").ratio
        places = [names.index(name) for name in own.index]
        axes.plot(own, places, "o", color=colour, label=f"against {library}")
        for ratio, place in zip(own, places, strict=True):
            axes.annotate(
                f"{ratio:.2f}", (ratio, place), (0, 5), textcoords="offset points",
                ha="center", fontsize=7, color=colour,
            )  # fmt: skip
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    axes.set_xlabel("time of a step, theirs / ours")
    axes.set_yticks(range(len(names)), [name.removeprefix("VAE ") for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.06)
    axes.legend(loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=2, frameon=False)
    return figure


def plot_grids(rows: pd.DataFrame):
    """Aliasing of ELU against time, a panel for each frequency."""
    pattern = re.compile(r"L = (\d), elu: (error|time) on (.*)")
    points = {}
    for row in rows.itertuples():
        if match := pattern.fullmatch(row.name):
            frequency, what, grid = match.groups()
            points.setdefault((int(frequency), grid), {})[what] = row.ours
    frequencies = sorted({frequency for frequency, _ in points})
    figure, panels = make_figure(1, len(frequencies), figsize=(9, 3.6), sharey=True)
    for panel, frequency in zip(panels, frequencies, strict=True):
        for (other, grid), point in points.items():
            if other != frequency or point["error"] > 100:
                continue
            kind = grid.split(" ")[0].split("_")[0]
            colour = {"octahedral": RUN_COLOURS[0], "escnn": RUN_COLOURS[1], "e3nn": RUN_COLOURS[2]}
            panel.plot(point["time"], point["error"], "o", color=colour[kind])
            is_ours = kind == "octahedral"
            panel.annotate(
                re.search(r"\d+$", grid)[0], (point["time"], point["error"]),
                (-4, -4) if is_ours else (4, 4), textcoords="offset points", fontsize=7,
                ha="right" if is_ours else "left", va="top" if is_ours else "bottom",
                color=colour[kind],
            )  # fmt: skip
        panel.set_title(f"L = {frequency}")
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.margins(x=0.12, y=0.1)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda time_ms, _: f"{time_ms:g}"))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{error:g}"))
    figure.supxlabel("forward and backward, 20,000 fields [ms]", fontsize="medium")
    panels[0].set_ylabel("equivariance error of ELU [%]")
    for name, colour in (("ours", 0), ("escnn thomson_cube", 1), ("e3nn SO3Grid", 2)):
        panels[-1].plot([], [], "o", color=RUN_COLOURS[colour], label=name)
    panels[-1].legend(frameon=False, loc="lower left")
    return figure


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
