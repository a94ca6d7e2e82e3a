"""How figures look, and how they are saved."""

import io
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..runs.record import write_atomic

RUN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b")
"""Told apart by colour-blind readers too (Okabe and Ito 2008); yellow is left out, which white
paper swallows."""

CHANNELS = ("C", "N", "O", "P", "S", "other")

CHANNEL_COLOURS = (
    (0.25, 0.25, 0.25),
    (0.10, 0.30, 0.90),
    (0.90, 0.10, 0.10),
    (1.00, 0.50, 0.00),
    (0.80, 0.70, 0.00),
    (0.60, 0.10, 0.70),
)
"""Of the voxels that atoms of a channel fill, about as chemists draw the elements."""

STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "axes.prop_cycle": matplotlib.cycler(color=RUN_COLOURS),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "font.size": 9,
    # The same data give the same file.
    "svg.hashsalt": "atompaint_vae",
}


def make_figure(*args, **kwargs):
    """plt.subplots in the notebook's style."""
    with plt.rc_context(STYLE):
        return plt.subplots(*args, **kwargs)


def render_figure(figure: Figure, kind: str = "svg") -> bytes:
    """A figure as an SVG or PDF, the same each time; closes the figure."""
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    file = io.BytesIO()
    with plt.rc_context(STYLE):
        figure.savefig(file, format=kind, metadata=dates[kind])
    plt.close(figure)
    return file.getvalue()


def save_figure(figure: Figure, path: Path):
    """Write an SVG, whole or not at all, and say so."""
    write_atomic(path, render_figure(figure))
    print(path.name)
