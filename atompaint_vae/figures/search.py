"""Figures of a search: its trials, what the best ones cost, and how their ranks last."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from scipy import stats

from ..config.space import Choices, Range
from ..search.history import History, find_best, format_param
from ..text.errors import UserError
from .style import RUN_COLOURS, make_figure

GREY = "#9a9a9a"
VALUE_COLOURS = LinearSegmentedColormap.from_list(
    "value", colormaps["Blues"](np.linspace(0.2, 0.95, 64)))
BEST_COLOURS = (RUN_COLOURS[1], RUN_COLOURS[2], RUN_COLOURS[3])

MAX_SLOTS = 12
"""Integers of a range that are drawn apart, as choices are."""

SLOT_WIDTH = 0.6
"""Part of a choice's place that its trials are spread over."""

LINE_CHARACTERS = 110
"""That fit across a figure, in the labels of an axis."""


def plot_parallel_coordinates(history: History) -> Figure:
    """
    Draw each trial as a line across an axis for each searched key, down to its metric.

    The three best trials have colours of their own. Pruned and failed trials don't reach the axis
    of the metric. Trials of the same choice or integer are drawn side by side, the best last.
    """
    space, is_higher = history.search.space, history.search.metric.better == "higher"
    values = history.rank_finished()
    best = dict(zip(values, BEST_COLOURS, strict=False))
    cut_short = [k for k, x in history.outcomes.items() if x.state in ("pruned", "failed")]
    metric = Range(
        *find_limits([*values.values()], history.search.metric.better), None, False, False
    )
    names = [*cut_short, *reversed(values)]  # the best are drawn last, above the others
    params = [history.outcomes[name].params for name in names]
    places = [_place_params(x, [point[key] for point in params]) for key, x in space.items()]
    figure, axes = make_figure(figsize=(8, 0.8 + 0.62 * (len(space) + 1)))
    for name, xs in zip(names, np.transpose(places), strict=True):
        if name not in values:
            axes.plot(xs, range(len(xs)), color=GREY, lw=0.6, alpha=0.5)
            continue
        x = _scale(metric, np.clip(values[name], metric.low, metric.high))
        style = {"color": VALUE_COLOURS(x if is_higher else 1 - x), "lw": 0.9}
        if name in best:
            label = f"{name}, {values[name]:.4g}"
            style = {"color": best[name], "lw": 2.2, "label": label}
        axes.plot([*xs, x], range(len(xs) + 1), **style)
    for row, dimension in enumerate((*space.values(), metric)):
        _draw_axis(axes, row, *_list_ticks(dimension))
    strip = np.linspace(0, 1, 256)[None, :: 1 if is_higher else -1]
    extent = (0, 1, len(space) + 0.05, len(space) - 0.05)
    axes.imshow(strip, extent=extent, cmap=VALUE_COLOURS, aspect="auto", zorder=3)
    labels = [_break_key(key) for key in (*space, history.search.settings.metric)]
    axes.set(xlim=(-0.02, 1.02), ylim=(len(space) + 0.5, -0.15), xticks=[])
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    num_beyond = sum(not metric.low <= x <= metric.high for x in values.values())
    title = f"blue: {len(values)} finished trials"
    title += f", {num_beyond} of them beyond the axis" * bool(num_beyond)
    title += f"; grey: {len(cut_short)} pruned or failed" * bool(cut_short)
    handles = axes.get_legend_handles_labels()[0][::-1]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, title=title, frameon=False
    )
    return figure


def _break_key(key: str) -> str:
    """Return a dotted key with its last part on a line of its own."""
    return ".\n".join(key.rsplit(".", 1))


def find_limits(
    values: Sequence[float], better: Literal["higher", "lower"]
) -> tuple[float, float]:
    """Return the ends of an axis, so that few very bad values don't compress the good ones.

    It ends at most 1.5 times the interquartile range beyond the worse quartile, as whiskers do.

    raises: UserError if there are no values
    """
    if not values:
        raise UserError("no trial is finished yet")
    low, high = min(values), max(values)
    lower, upper = np.quantile(values, (0.25, 0.75))
    if better == "higher":
        low = max(low, lower - 1.5 * (upper - lower))
    else:
        high = min(high, upper + 1.5 * (upper - lower))
    margin = abs(low) / 2 + 1e-6 if low == high else 0
    return float(low - margin), float(high + margin)


def _count_slots(dimension: Range | Choices) -> int | None:
    """Return the number of an axis's places, None if it is continuous."""
    if isinstance(dimension, Choices):
        return len(dimension.values)
    if not dimension.is_integer or dimension.log:
        return None
    number = round((dimension.high - dimension.low) / (dimension.step or 1)) + 1
    return number if number <= MAX_SLOTS else None


def _place_params(dimension: Range | Choices, params: Sequence[Any]) -> np.ndarray:
    """Return where trials cross an axis, from 0 to 1; in the same slot, in their order."""
    num_slots = _count_slots(dimension)
    if num_slots is None:
        return _scale(dimension, params)
    slots = np.asarray(params)
    if isinstance(dimension, Range):
        slots = np.rint((slots - dimension.low) / (dimension.step or 1)).astype(int)
    places = np.empty(len(slots))
    for slot in range(num_slots):
        inside = slots == slot
        spread = (np.arange(inside.sum()) + 0.5) / max(inside.sum(), 1) - 0.5
        places[inside] = (slot + 0.5 + SLOT_WIDTH * spread) / num_slots
    return places


def _scale(dimension: Range, values: Sequence[float] | float) -> np.ndarray:
    """Return where numbers are on an axis, from 0 to 1."""
    scale = np.log if dimension.log else np.asarray
    low, high = scale(dimension.low), scale(dimension.high)
    return (scale(np.asarray(values, dtype=float)) - low) / (high - low)


def _list_ticks(dimension: Range | Choices) -> tuple[Sequence[float], list[str]]:
    """Return places from 0 to 1 of an axis's labels, and the labels."""
    if num_slots := _count_slots(dimension):
        if isinstance(dimension, Choices):
            texts = [format_param(x) for x in dimension.values]
        else:
            step = int(dimension.step or 1)
            texts = [str(dimension.low + i * step) for i in range(num_slots)]
        texts = [textwrap.fill(x, LINE_CHARACTERS // num_slots) for x in texts]
        return (np.arange(num_slots) + 0.5) / num_slots, texts
    low, high = dimension.low, dimension.high
    is_wide = dimension.log and high / low >= 10
    locator = LogLocator(subs=(1, 3)) if is_wide else MaxNLocator(6, steps=(1, 2, 5, 10))
    marks = [x for x in locator.tick_values(low, high) if low <= x <= high]
    return _scale(dimension, marks), [f"{x:g}" for x in marks]


def _draw_axis(axes: Axes, row: int, places: Sequence[float], texts: Sequence[str]):
    axes.plot([0, 1], [row, row], color="black", lw=0.8, zorder=2.5)
    for place, text in zip(places, texts, strict=True):
        axes.plot([place, place], [row, row + 0.06], color="black", lw=0.8, zorder=2.5)
        axes.text(
            place, row + 0.1, text, ha="center", va="top", fontsize=7, zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 0.6},
        )  # fmt: skip


def plot_front(history: History, costs: Mapping[str, float], cost_label: str) -> Figure:
    """
    Draw the metric of each trial against its cost, and the front of those that none beats in both.

    Pruned trials are at their best value so far, and never on the front.

    costs: of each trial, such as multiply-adds of a step
    """
    search, values = history.search, history.rank_finished()
    front = calc_front(costs, values, search.metric.better)
    pruned = {
        name: find_best(search, outcome.curve)
        for name, outcome in history.outcomes.items()
        if outcome.state == "pruned"
    }
    figure, axes = make_figure(figsize=(7, 4.4))
    for shown, marker, style in (
        (pruned, "x", {"color": GREY, "s": 16, "lw": 0.9, "label": "pruned"}),
        (values, "o", {"color": RUN_COLOURS[0], "s": 20, "label": "finished"}),
    ):
        if shown:
            xs, ys = [costs[name] for name in shown], [*shown.values()]
            axes.scatter(xs, ys, marker=marker, **style)
    xs, ys = [costs[name] for name in front], [values[name] for name in front]
    axes.plot(
        xs, ys, "o-", color=RUN_COLOURS[1], ms=6, lw=1.6, drawstyle="steps-post", label="front"
    )
    side = 1 if search.metric.better == "higher" else -1
    for name, x, y in zip(front, xs, ys, strict=True):
        axes.annotate(
            name, (x, y), (-2, 5 * side), textcoords="offset points", fontsize=7, ha="right",
            va="bottom" if side == 1 else "top", rotation=-30 * side, rotation_mode="anchor",
        )  # fmt: skip
    low, high = find_limits([*values.values()], search.metric.better)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    axes.set(xscale="log", xlabel=cost_label, ylabel=search.settings.metric)
    axes.margins(x=0.12)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def calc_front(
    costs: Mapping[str, float], values: Mapping[str, float], better: Literal["higher", "lower"]
) -> list[str]:
    """Return the trials than which none is as cheap and better, or cheaper and as good.

    The cheapest is first; of trials that agree in both, the first is taken.
    """
    sign = 1 if better == "higher" else -1
    front, best = [], -np.inf
    for name in sorted(values, key=lambda name: (costs[name], -sign * values[name])):
        if sign * values[name] > best:
            front.append(name)
            best = sign * values[name]
    return front


@dataclass(frozen=True)
class RankCorrelation:
    """
    Kendall's τ-b of two scorings, and its 95 % bootstrap interval over configurations.

    num: configurations
    """

    tau: float
    low: float
    high: float
    num: int

    def __str__(self) -> str:
        return f"Kendall's τ = {self.tau:.2f} [{self.low:.2f}, {self.high:.2f}], n = {self.num}"


def calc_rank_correlation(
    a: Sequence[float],
    b: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    num_draws: int = 2000,
    seed: int = 0,
) -> RankCorrelation:
    """
    Return how well one scoring of configurations ranks them as another one does.

    a, b:   score of each run, such as its R² after few and after many steps
    groups: configuration of each run, to average the scores of its seeds; by default each run is
            a configuration
    source: Kendall 1945 (τ-b, which corrects for ties)
    """
    means = _average_groups(a, b, groups).to_numpy()
    rng = np.random.default_rng(seed)
    draws = [means[rng.choice(len(means), len(means))] for _ in range(num_draws)]
    # A sample of a single configuration has no ranks: NaN.
    taus = [stats.kendalltau(*draw.T).statistic for draw in draws]
    low, high = np.nanquantile(taus, (0.025, 0.975))
    return RankCorrelation(
        float(stats.kendalltau(*means.T).statistic), float(low), float(high), len(means)
    )


def plot_ranks(
    a: Sequence[float],
    b: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    labels: tuple[str, str],
    better: Literal["higher", "lower"] = "higher",
) -> Figure:
    """
    Draw the rank of each configuration by one scoring against its rank by another; 1 is the best.

    A bar spans the ranks that its seeds would have alone, among the means of the others.

    a, b, groups: as for `calc_rank_correlation`
    labels:       of the axes, such as "after 200 steps"
    """
    runs = pd.DataFrame({"a": a, "b": b, "group": _name_groups(a, groups)})
    means = _average_groups(a, b, groups)
    xs, x_bars = _span_ranks(runs, means, "a", better)
    ys, y_bars = _span_ranks(runs, means, "b", better)
    num = len(means)
    figure, axes = make_figure(figsize=(5, 5.2))
    axes.plot([1, num], [1, num], color=GREY, lw=0.9, ls="--", zorder=1)
    axes.errorbar(
        xs, ys, y_bars, x_bars, fmt="o", color=RUN_COLOURS[0], ecolor=GREY, elinewidth=0.8, ms=5
    )
    ticks = range(1, num + 1) if num < 9 else [1, *range(5, num + 1, 5)]
    axes.set(
        xlabel=f"rank {labels[0]}", ylabel=f"rank {labels[1]}", xlim=(num + 0.7, 0.3),
        ylim=(num + 0.7, 0.3), xticks=ticks, yticks=ticks, aspect="equal",
        title=str(calc_rank_correlation(a, b, groups)),
    )  # fmt: skip
    return figure


def _name_groups(a: Sequence[float], groups: Sequence[str] | None) -> Sequence:
    return range(len(a)) if groups is None else groups


def _average_groups(
    a: Sequence[float], b: Sequence[float], groups: Sequence[str] | None
) -> pd.DataFrame:
    """Return the mean scores `a` and `b` of each configuration, in their order."""
    table = pd.DataFrame({"a": a, "b": b, "group": _name_groups(a, groups)})
    return table.groupby("group", sort=False)[["a", "b"]].mean()


def _span_ranks(
    runs: pd.DataFrame, means: pd.DataFrame, key: str, better: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return each configuration's rank, and how far its seeds' are better and worse [2, n]."""
    sign = 1 if better == "higher" else -1
    scores = sign * means[key]

    def rank(group, score):
        others = scores.drop(group)
        return 1 + (others > score).sum() + (others == score).sum() / 2

    middle = np.array([rank(group, score) for group, score in scores.items()])
    ranks = [
        [rank(group, sign * score) for score in of_seeds]
        for group, of_seeds in runs.groupby("group", sort=False)[key]
    ]
    bars = [middle - [min(x) for x in ranks], [max(x) for x in ranks] - middle]
    return middle, np.array(bars)
