"""The style of figures, and how they are saved."""

import io
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from ..text.files import write_atomic

RUN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b")
"""Colours that colour-blind readers can distinguish (Okabe and Ito 2008), without yellow, which has
too little contrast on white."""

MANY_DECADES = 100
"""From this ratio of the upper to the lower end of an axis, powers of ten are enough labels."""

MIN_LABELS = 3

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
    """Return `plt.subplots` in the notebook's style."""
    with plt.rc_context(STYLE):
        return plt.subplots(*args, **kwargs)


def set_log_ticks(axes: Axes) -> None:
    """
    Give a logarithmic y axis of less than two decades at least three labels.

    Powers of ten alone would give it one or none. Call this after everything is drawn.
    """
    low, high = axes.get_ylim()
    if high / low >= MANY_DECADES:
        return
    for locator in (LogLocator(subs=(1, 3)), LogLocator(subs=(1, 2, 5)), MaxNLocator(5)):
        if sum(low <= x <= high for x in locator.tick_values(low, high)) >= MIN_LABELS:
            break
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def render_figure(figure: Figure, kind: str = "svg", dpi: float | None = None) -> bytes:
    """
    Return a figure as a file of some kind, and close the figure.

    The same figure gives the same bytes each time.

    kind: svg, pdf or png
    dpi:  resolution of a PNG, in dots per inch
    """
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    file = io.BytesIO()
    with plt.rc_context(STYLE):
        figure.savefig(file, format=kind, metadata=dates[kind], dpi=dpi or "figure")
    plt.close(figure)
    return file.getvalue()


def save_figure(figure: Figure, path: Path):
    """Write an SVG atomically, and print its name."""
    write_atomic(path, render_figure(figure))
    print(path.name)
