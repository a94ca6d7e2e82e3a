import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from atompaint_vae.figures.run_curves import (
    average_curves,
    plot_run_curves,
    read_curve,
    smooth_values,
)
from atompaint_vae.figures.style import make_figure, set_log_ticks
from atompaint_vae.records.find import find_runs
from atompaint_vae.records.properties import PropertyError, load_runs


@pytest.fixture
def runs(write_run, tmp_path):
    for seed, tau in enumerate((2, 4, 8)):
        write_run(tmp_path / "20250101_x", f"a_seed{seed}", {"seed": seed}, tau=tau)
    write_run(tmp_path / "20250101_x", "b", {"loss.beta": 3}, tau=3)
    return load_runs(find_runs(tmp_path))


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.99])
def test_smoother_is_the_debiased_moving_average(weight):
    values = np.random.default_rng(0).normal(size=50).tolist()
    expected = pd.Series(values).ewm(alpha=1 - weight, adjust=True).mean()
    np.testing.assert_allclose(smooth_values(values, weight), expected, rtol=1e-12)


def test_smoother_passes_over_what_is_no_number():
    smoothed = smooth_values([1.0, float("nan"), 3.0], 0.5)
    # weights 1/2 and 1 of 1.0 and 3.0
    assert smoothed[0] == 1 and np.isnan(smoothed[1]) and smoothed[2] == pytest.approx(7 / 3)


def test_mean_and_deviation_over_seeds(runs):
    curves = [read_curve(run, "val.r2", "epoch", 0) for run in runs[:3]]
    xs, mean, deviation = average_curves(curves)
    epochs = np.arange(1, 21)
    r2 = np.array([1 - np.exp(-epochs / tau) for tau in (2, 4, 8)])
    np.testing.assert_allclose(xs, epochs)
    np.testing.assert_allclose(mean, r2.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(deviation, r2.std(axis=0, ddof=1), rtol=1e-6)


def test_mean_is_taken_at_steps_that_all_have():
    xs, mean, _ = average_curves([
        ([10, 20, 30], [1, 2, 3], None, [1.0, 2.0, 3.0]),
        ([20, 30, 40], [4, 5, 6], None, [4.0, float("nan"), 6.0]),
    ])  # fmt: skip
    assert (xs, mean) == ([3.0], [3.0])


def test_axes_legend_and_notes_of_the_picture(runs):
    figure = plot_run_curves(
        runs, "train.loss", x="elapsed_s", logx=True, logy=True, smooth=0.6, seeds=True
    )
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("elapsed time [min]", "train.loss")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    (legend,) = figure.legends
    assert [x.get_text() for x in legend.get_texts()] == ["a (3 seeds)", "b"]
    assert "exponential moving average, debiased, weight 0.6" in axes.get_title("left")
    assert "mean ± standard deviation (n − 1) over seeds" in axes.get_title("left")
    # The mean, then b as recorded and smoothed; 6 s a step, the first row at step 5.
    assert [len(line.get_xdata()) for line in axes.lines] == [40, 40, 40]
    assert axes.lines[1].get_xdata()[0] == pytest.approx(0.5)
    loss = 100 * np.exp(-np.arange(0.5, 20.5, 0.5)[:, None] / [2, 4, 8, 3])
    smoothed = pd.DataFrame(loss).ewm(alpha=0.4).mean()
    for line, expected in zip(axes.lines, (smoothed.iloc[:, :3].mean(axis=1), loss[:, 3],
                                           smoothed[3]), strict=True):  # fmt: skip
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
    assert axes.lines[1].get_lw() < axes.lines[2].get_lw()
    (band,) = axes.collections
    deviation = smoothed.iloc[:, :3].std(axis=1, ddof=1)
    (path,) = band.get_paths()
    at_first = path.vertices[np.isclose(path.vertices[:, 0], axes.lines[0].get_xdata()[0]), 1]
    assert np.ptp(at_first) == pytest.approx(2 * deviation[0], rel=1e-6)


def test_a_picture_of_what_isnt_there(runs):
    with pytest.raises(PropertyError, match=r"no curve of 'test\.r2'; known: val\.loss, val\.r2"):
        plot_run_curves(runs, "test.r2")


@pytest.mark.parametrize(
    "low, high", [(0.95, 1.05), (0.5, 2), (3e3, 1.1e4), (6e4, 4e5), (0.02, 0.9)]
)
def test_narrow_logarithmic_axes_have_labels(low, high):
    figure, axes = make_figure()
    axes.set(yscale="log", ylim=(low, high))
    set_log_ticks(axes)
    figure.canvas.draw()
    labels = [float(x.get_text().replace(",", "")) for x in axes.get_yticklabels()]
    assert sum(low <= x <= high for x in labels) >= 3
    places = [y for _, y in (x.get_position() for x in axes.get_yticklabels())]
    np.testing.assert_allclose(labels, places, rtol=1e-5)
    plt.close(figure)


def test_wide_logarithmic_axes_have_powers_of_ten():
    figure, axes = make_figure()
    axes.set(yscale="log", ylim=(1e-3, 1e4))
    set_log_ticks(axes)
    figure.canvas.draw()
    assert "$\\mathdefault{10^{2}}$" in [x.get_text() for x in axes.get_yticklabels()]
    plt.close(figure)
