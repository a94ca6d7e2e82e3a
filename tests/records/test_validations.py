"""Which validation is best: by hand."""

import pytest

from atompaint_vae.models.kind import Kind, Metric, get_kind
from atompaint_vae.records.record import Best, RunPaths
from atompaint_vae.records.validations import find_best_validation
from atompaint_vae.text.typed import TextModel


def make_kind(better):
    return Kind("x", TextModel, TextModel, "", ("gap",), Metric("score", "score", better))


@pytest.mark.parametrize(
    ("scores", "better", "step", "value"),
    [
        (["0.5", "0.75", "0.25"], "higher", 10, 0.75),
        (["0.5", "0.75", "0.25"], "lower", 15, 0.25),
        # The first of equal ones; none that isn't a number.
        (["0.5", "0.75", "0.75"], "higher", 10, 0.75),
        (["0.25", "nan", "0.25", ""], "lower", 5, 0.25),
        (["nan", "-1.0"], "higher", 10, -1.0),
    ],
)
def test_the_best_validation(tmp_path, scores, better, step, value):
    paths = RunPaths(tmp_path)
    rows = [f"{5 * i},{i},{i},{score}" for i, score in enumerate(scores, start=1)]
    paths.val_metrics.write_text("\n".join(["step,epoch,elapsed_s,score", *rows, ""]))
    expected = Best(metric="score", step=step, value=value)
    assert find_best_validation(paths, make_kind(better)) == expected


def test_before_the_first_number_there_is_none(tmp_path):
    paths = RunPaths(tmp_path)
    assert find_best_validation(paths, make_kind("higher")) is None
    paths.val_metrics.write_text("step,epoch,elapsed_s,score\n5,1,1,nan\n")
    assert find_best_validation(paths, make_kind("higher")) is None


@pytest.mark.parametrize(
    ("column", "better"),
    [("r2", "higher"), ("r2_C", "higher"), ("loss", "lower"), ("prior_loss", "lower"),
     ("equivariance_error_free", "lower")],
)  # fmt: skip
def test_which_values_of_a_metric_are_best(column, better):
    metric = get_kind("vae").find_metric(column)
    assert metric.better == better
    assert metric.find_best([1.0, 3.0, 2.0]) == (3.0 if better == "higher" else 1.0)


def test_of_other_columns_none_is_best():
    assert get_kind("vae").find_metric("active_units") is None
