"""Figures of made-up searches, against positions worked out by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
from made_up_search import SPACE, make_history

from atompaint_vae.figures.search import (
    BEST_COLOURS,
    calc_front,
    calc_rank_correlation,
    find_limits,
    plot_front,
    plot_parallel_coordinates,
    plot_ranks,
)
from atompaint_vae.search.history import Outcome
from atompaint_vae.text.errors import UserError

RATE, CONVS, KIND = SPACE


def make_outcome(state, value, *params):
    return Outcome(dict(zip(SPACE, params, strict=True)), state, (value,))


@pytest.fixture
def history():
    return make_history({
        "trial-000": make_outcome("finished", 0.5, 1e-4, 1, 0),
        "trial-001": make_outcome("finished", 0.6, 1e-1, 2, 1),
        "trial-002": make_outcome("finished", 0.8, 1e-2, 3, 2),
        "trial-003": make_outcome("finished", 0.9, 1e-3, 2, 2),
        "trial-004": make_outcome("pruned", 0.1, 1e-2, 3, 0),
        "trial-005": make_outcome("open", 0.7, 1e-2, 3, 0),
    })  # fmt: skip


def find_lines(figure):
    """The lines of trials, which go down: a dozen points, apart from axes and ticks."""
    return [x for x in figure.axes[0].lines if len(x.get_xdata()) > 2]


def test_each_trial_is_a_line_across_the_axes(history):
    figure = plot_parallel_coordinates(history)
    pruned, *worst_first = find_lines(figure)
    # Choices and integers have a third of their axis each; trials are spread over 0.6 of that.
    third = np.array([1, 3, 5]) / 6
    side = 0.6 / 3 / 4
    expected = {
        "trial-000": [0, third[0], third[0] + side, 0],
        "trial-001": [1, third[1] - side, third[1], 0.25],
        "trial-002": [2 / 3, third[2] + side, third[2] - side, 0.75],
        "trial-003": [1 / 3, third[1] + side, third[2] + side, 1],
    }
    for line, (name, xs) in zip(worst_first, expected.items(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), xs, err_msg=name)
        np.testing.assert_allclose(line.get_ydata(), range(4))
    np.testing.assert_allclose(pruned.get_xdata(), [2 / 3, third[2] - side, third[0] - side])
    worst, *best = worst_first
    assert [line.get_color() for line in best[::-1]] == [*BEST_COLOURS]
    assert worst.get_lw() < best[0].get_lw()
    plt.close(figure)


def test_labels_of_the_axes(history):
    figure = plot_parallel_coordinates(history)
    (axes,) = figure.axes
    keys = [x.get_text().replace("\n", "") for x in axes.get_yticklabels()]
    assert keys == [*SPACE, "val.r2"]
    places = {x.get_text(): x.get_position() for x in axes.texts}
    for text, x, row in (
        ("0.001", 1 / 3, 0), ("2", 1 / 2, 1), ("relu", 1 / 2, 2), ("blank", 5 / 6, 2),
        ("0.6", 1 / 4, 3),
    ):  # fmt: skip
        assert places[text] == pytest.approx((x, row + 0.1)), text
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "blue: 4 finished trials; grey: 1 pruned or failed"
    best = [x.get_text() for x in legend.get_texts()]
    assert best == ["trial-003, 0.9", "trial-002, 0.8", "trial-001, 0.6"]
    plt.close(figure)


def test_a_very_bad_trial_ends_at_the_end_of_the_axis(history):
    history.outcomes["trial-006"] = make_outcome("finished", -50.0, 1e-2, 3, 0)
    figure = plot_parallel_coordinates(history)
    _, outlier, *_ = find_lines(figure)
    assert outlier.get_xdata()[-1] == 0
    title = figure.legends[0].get_title().get_text()
    assert title.startswith("blue: 5 finished trials, 1 of them beyond the axis")
    plt.close(figure)


@pytest.mark.parametrize(
    ("values", "better", "limits"),
    [
        ([1, 2, 3, 4, 5], "higher", (1, 5)),
        ([-99, 2, 3, 4, 5], "higher", (-1, 5)),  # quartiles 2 and 4
        ([1, 2, 3, 4, 99], "lower", (1, 7)),
        ([1, 2, 3, 4, 99], "higher", (1, 99)),
    ],
)
def test_limits(values, better, limits):
    assert find_limits(values, better) == limits


@pytest.mark.parametrize("plot", [plot_parallel_coordinates, lambda x: plot_front(x, {}, "s")])
def test_a_search_without_results(plot):
    with pytest.raises(UserError, match="no trial is finished yet"):
        plot(make_history({}))


COSTS = {"a": 1, "b": 2, "c": 2, "d": 3, "e": 4, "f": 4}


@pytest.mark.parametrize(
    ("better", "front"),
    [
        # d is worse than b and dearer, c equals b, f is worse than e.
        ("higher", ["a", "b", "e"]),
        ("lower", ["a", "d"]),
    ],
)
def test_front(better, front):
    values = {"a": 0.3, "b": 0.5, "c": 0.5, "d": 0.2, "e": 0.6, "f": 0.55}
    assert calc_front(COSTS, values, better) == front


def test_the_front_is_drawn_with_its_names(history):
    costs = {f"trial-00{i}": cost for i, cost in enumerate((1e6, 4e6, 2e6, 8e6, 3e6, 1e6))}
    figure = plot_front(history, costs, "multiply-adds of a step")
    (axes,) = figure.axes
    (front,) = axes.lines
    np.testing.assert_allclose(front.get_xydata(), [[1e6, 0.5], [2e6, 0.8], [8e6, 0.9]])
    assert [x.get_text() for x in axes.texts] == ["trial-000", "trial-002", "trial-003"]
    pruned, finished = axes.collections
    np.testing.assert_allclose(pruned.get_offsets(), [[3e6, 0.1]])
    assert len(finished.get_offsets()) == 4
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("multiply-adds of a step", "val.r2")
    plt.close(figure)


@pytest.mark.parametrize(
    ("a", "b", "tau"),
    [
        ([1, 2, 3, 4], [1, 2, 4, 3], 4 / 6),  # 5 pairs agree, 1 doesn't
        ([1, 1, 2], [1, 2, 3], 2 / np.sqrt(2 * 3)),  # one pair is tied in a
        ([1, 2, 3], [6, 5, 4], -1),
    ],
)
def test_rank_correlation_by_hand(a, b, tau):
    assert calc_rank_correlation(a, b, num_draws=20).tau == pytest.approx(tau)


def test_the_interval_is_that_of_a_paired_bootstrap():
    rng = np.random.default_rng(0)
    a = rng.normal(size=25)
    b = a + rng.normal(size=25)
    found = calc_rank_correlation(a, b)
    expected = scipy.stats.bootstrap(
        (a, b), lambda x, y: scipy.stats.kendalltau(x, y).statistic, paired=True,
        vectorized=False, method="percentile", n_resamples=2000, rng=1,
    ).confidence_interval  # fmt: skip
    assert found.num == 25
    # Of 2,000 samples, the 2.5 % quantile varies by about 0.01.
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.04)


def test_seeds_are_averaged_before_they_are_ranked():
    groups = ["x", "x", "y", "y", "z", "z"]
    a, b = [1, 9, 4, 4, 3, 3], [5, 5, 4, 4, 3, 3]
    found = calc_rank_correlation(a, b, groups)
    assert (found.tau, found.num) == (pytest.approx(1), 3)
    assert str(found).endswith(", n = 3")


@pytest.mark.parametrize(("better", "ranks"), [("higher", [1, 2, 3]), ("lower", [3, 2, 1])])
def test_ranks_and_those_of_single_seeds(better, ranks):
    groups = ["x", "x", "y", "y", "z", "z"]
    # x is best by its mean, 5, but its first seed alone would be worst.
    a, b = [1, 9, 4, 4, 3, 3], [9, 9, 8, 8, 7, 7]
    figure = plot_ranks(a, b, groups, labels=("early", "late"), better=better)
    (axes,) = figure.axes
    (bars,) = axes.containers
    points, _, (across, _) = bars
    np.testing.assert_allclose(points.get_xydata(), [[x, x] for x in ranks])
    spans = [segment[:, 0].tolist() for segment in across.get_segments()]
    ends = {"higher": [[1, 3], [2, 2], [3, 3]], "lower": [[1, 3], [2, 2], [1, 1]]}[better]
    assert spans == ends
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rank early", "rank late")
    assert axes.get_title().startswith("Kendall's τ = 1.00 [")
    plt.close(figure)
