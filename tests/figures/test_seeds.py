"""Means over seeds, against a table of Student's t and against scipy's own interval."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from atompaint_vae.figures.seeds import (
    calc_half_width,
    draw_means,
    draw_seeds,
    format_mean,
    list_means,
)


def test_three_seeds_have_the_interval_of_a_table():
    # t(0.975, 2 degrees of freedom) = 4.303; the SD of 1, 2, 3 is 1.
    assert calc_half_width([1, 2, 3]) == pytest.approx(4.303 / 3**0.5, abs=5e-4)


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(size=7)
    result = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert calc_half_width(values) == pytest.approx((result.high - result.low) / 2)


def test_a_single_seed_has_no_interval():
    assert np.isnan(calc_half_width([0.5]))
    assert format_mean([0.5]) == "0.500"
    assert format_mean([1.0, 2.0, 3.0], 2) == "2.00 ± 2.48"


def test_each_model_is_a_row_with_its_seeds_and_their_mean():
    runs = pd.DataFrame({
        "model": ["b", "b", "a"], "r2": [0.2, 0.4, 0.9],
        "r2_low": [0.1, 0.3, 0.8], "r2_high": [0.3, 0.5, 1.0],
    })  # fmt: skip
    _, axes = plt.subplots()
    colours = draw_seeds(axes, runs, "r2")
    assert list(colours) == ["b", "a"]
    assert [x.get_text() for x in axes.get_yticklabels()] == ["b", "a"]
    seeds, means = axes.lines[::2], axes.lines[1::2]
    np.testing.assert_array_equal(seeds[0].get_xdata(), [0.2, 0.4])
    np.testing.assert_allclose([x.get_xdata()[0] for x in means], [0.3, 0.9])
    assert [x.get_text() for x in axes.texts] == ["0.300", "0.900"]
    of_structures, of_mean = axes.collections[:2]
    spans = [np.array(bars.get_segments())[:, :, 0] for bars in (of_structures, of_mean)]
    np.testing.assert_allclose(spans[0], [[0.1, 0.3], [0.3, 0.5]])
    # t(0.975, 1) = 12.706; the SD of 0.2 and 0.4 is 0.1414.
    low, high = spans[1][0]
    assert high - low == pytest.approx(2 * 12.706 * 0.1, rel=1e-4)
    plt.close()


def test_more_models_than_colours_are_all_drawn():
    names = [*"abcdefghij"]
    _, axes = plt.subplots()
    colours = draw_seeds(axes, pd.DataFrame({"model": names, "r2": 0.5}), "r2")
    assert list(colours) == names
    assert len(axes.texts) == len(names)
    plt.close()


def test_each_model_is_a_line_of_its_means_and_a_row_of_the_table():
    runs = pd.DataFrame({"model": ["b", "a", "b"], "x": [1.0, 5.0, 3.0], "y": [4.0, 6.0, 4.0]})
    _, axes = plt.subplots()
    draw_means(axes, runs, ["y", "x"], {"b": "red", "a": "blue"})
    assert [list(line.get_ydata()) for line in axes.lines] == [[4, 2], [6, 5]]
    assert [x.get_text() for x in axes.get_xticklabels()] == ["y", "x"]
    # t(0.975, 1 degree of freedom) = 12.706; the SD of 1 and 3 is 2 ** 0.5.
    expected = [["b", 2, "4.000 ± 0.000", "2.000 ± 12.706"], ["a", 1, "6.000", "5.000"]]
    assert list_means(runs, ["y", "x"]).to_numpy().tolist() == expected
