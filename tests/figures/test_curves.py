"""The curves of an experiment's runs: what is drawn, against what is written here."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from atompaint_vae.config.hparams import load_resolved
from atompaint_vae.figures.curves import plot_curves
from atompaint_vae.figures.style import RUN_COLOURS
from atompaint_vae.records.experiment import RecordedRun
from atompaint_vae.records.record import load_record

EPOCHS = np.array([1.0, 2.0, 3.0])


def write_curves(path, num_rows_an_epoch, scale):
    names = ("data_loss", "prior_loss", "r2", "active_units")
    epochs = np.arange(1, 3 * num_rows_an_epoch + 1) / num_rows_an_epoch
    rows = [[10 * x, x, 1.0, scale * x, 2 * scale * x, x / 4, x] for x in epochs]
    columns = ",".join(["step", "epoch", "elapsed_s", *names])
    lines = [",".join(str(int(x)) if i == 0 else f"{x}" for i, x in enumerate(row)) for row in rows]
    path.write_text("\n".join([columns, *lines, ""]))


@pytest.fixture
def runs(write_run, tmp_path):
    found = []
    for name, scale in (("a", 10.0), ("b", 20.0)):
        sizes = {"latent_shape": [8, 5, 5, 5], "compression_ratio": 2.5 * scale}
        paths = write_run(tmp_path / "20250101_x", name, sizes=sizes)
        write_curves(paths.val_metrics, 1, scale)
        write_curves(paths.train_metrics, 2, scale)
        record = load_record(paths.record)
        found.append(RecordedRun(paths, load_resolved(paths.hparams), record))
    return found


def test_each_run_has_its_curves_in_its_colour(runs):
    figure = plot_curves(runs)
    titles = ["Data loss", "Prior loss", "R² of held-out crops", "Active units"]
    assert [axis.get_title() for axis in figure.axes] == titles
    # Of 8 channels, as percentages.
    factors = np.array([[10, 20, 1 / 4, 100 / 8], [20, 40, 1 / 4, 100 / 8]])
    for axis, of_runs in zip(figure.axes, factors.T, strict=True):
        lines = [x for x in axis.lines if x.get_alpha() is None and len(x.get_xdata()) == 3]
        assert len(lines) == 2
        for line, colour, factor in zip(lines, RUN_COLOURS, of_runs, strict=False):
            np.testing.assert_allclose(line.get_xdata(), EPOCHS)
            np.testing.assert_allclose(line.get_ydata(), factor * EPOCHS)
            assert to_rgb(line.get_color()) == to_rgb(colour)
            low, high = axis.get_ylim()
            assert ((low <= line.get_ydata()) & (line.get_ydata() <= high)).all()
        thin = [x for x in axis.lines if x.get_alpha() == 0.35]
        assert [len(x.get_xdata()) for x in thin] == [6, 6]
        np.testing.assert_allclose(thin[1].get_ydata()[1::2], of_runs[1] * EPOCHS)
    (legend,) = figure.legends
    assert [x.get_text() for x in legend.get_texts()] == ["a (25.0×)", "b (50.0×)"]
    assert figure.axes[0].get_yscale() == figure.axes[1].get_yscale() == "log"
    assert figure.axes[0].get_ylabel() == "squared error, sum"
    assert figure.axes[-1].get_xlabel() == "epoch"


def test_a_run_of_few_steps_has_no_training_curve(runs):
    for run in runs:
        run.paths.train_metrics.unlink()
        lines = run.paths.val_metrics.read_text().splitlines(keepends=True)
        run.paths.val_metrics.write_text("".join(lines[:2]))
    for axis in plot_curves(runs).axes:
        lines = [x for x in axis.lines if x.get_label()[0] in "ab"]
        assert [len(x.get_xdata()) for x in lines] == [1, 1]
        assert [x.get_marker() for x in lines] == ["o", "o"]  # a line alone would be invisible


def test_what_lies_below_an_axis_is_marked(runs):
    path = runs[1].paths.val_metrics
    path.write_text(path.read_text().replace("0.25,1.0\n", "-7.5,1.0\n"))
    r2 = plot_curves(runs).axes[2]
    assert r2.get_title() == "R² of held-out crops (▼ below −0.25)"
    (mark,) = [x for x in r2.lines if x.get_marker() == "v"]
    np.testing.assert_array_equal(mark.get_xydata(), [[1, -0.25]])
    assert to_rgb(mark.get_color()) == to_rgb(RUN_COLOURS[1])
    assert r2.get_ylim() == (-0.25, 1.02)
