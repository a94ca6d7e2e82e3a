import math
import os
import subprocess
import sys
from datetime import timedelta

import pandas as pd
import pytest

from atompaint_vae.records.find import find_runs
from atompaint_vae.records.metrics import append_metrics, load_columns
from atompaint_vae.records.properties import (
    PropertyError,
    get_value,
    list_metrics,
    load_run,
    load_runs,
)
from atompaint_vae.records.record import load_record, save_record


@pytest.fixture
def run(write_run, tmp_path):
    hparams = {"loss.beta": 0.5, "model.layers": ["1x0e", "2x0e"]}
    write_run(tmp_path / "20250101_x", "a", hparams, tau=4, sizes={"latent_shape": [2, 9, 9, 9]})
    return load_runs(find_runs(tmp_path))[0]


def test_properties_are_what_was_recorded(run):
    expected = {
        "experiment": "20250101_x", "run": "a", "date": 20250101, "loss.beta": 0.5,
        "model.layers": "1x0e, 2x0e", "state": "finished", "compression_ratio": 10.5,
        "latent_shape": "2×9×9×9", "duration_s": 1200, "steps": 200, "commit": "a" * 40,
    }  # fmt: skip
    assert {key: run.properties[key] for key in expected} == expected
    # The curves are exponentials: 20 epochs, a step is a tenth of one.
    r2 = 1 - math.exp(-20 / 4)
    for name in ("last(val.r2)", "best(val.r2)", "test.r2"):
        assert run.properties[name] == pytest.approx(r2, rel=1e-8)
    assert run.properties["best(val.loss)"] == pytest.approx(100 * math.exp(-5), rel=1e-8)


def test_the_best_isnt_the_last(run, write_run, tmp_path):
    paths = write_run(tmp_path / "20250102_x", "a")
    for step, loss in ((210, 500.0), (220, math.nan)):
        row = {"step": step, "epoch": step / 10, "elapsed_s": 1.0, "loss": loss, "r2": -loss}
        append_metrics(paths.val_metrics, row)
    properties = load_run("20250102_x/a", paths).properties
    assert properties["best(val.loss)"] == pytest.approx(100 * math.exp(-20 / 5), rel=1e-8)
    assert properties["best(val.r2)"] == pytest.approx(1 - math.exp(-20 / 5), rel=1e-8)
    assert properties["last(val.loss)"] is None  # not a number


def test_a_run_is_read_again_when_it_has_changed(write_run, tmp_path):
    paths = write_run(tmp_path / "20250101_x", "a")
    before = load_run("20250101_x/a", paths)
    assert load_run("20250101_x/a", paths) is before
    row = {"step": 210, "epoch": 21.0, "elapsed_s": 1.0, "loss": 7.0, "r2": 0.5}
    append_metrics(paths.val_metrics, row)
    assert load_run("20250101_x/a", paths).properties["last(val.r2)"] == 0.5
    # Also of a file that is as long as before.
    text = paths.val_metrics.read_text()
    paths.val_metrics.write_text(text.removesuffix("0.5\n") + "0.7\n")
    assert load_run("20250101_x/a", paths).properties["last(val.r2)"] == 0.7


def test_sessions_add_up(write_run, tmp_path):
    paths = write_run(tmp_path / "20250101_x", "a")
    record = load_record(paths.record)
    (first,) = record.sessions
    start, end = (first.started + timedelta(hours=hours) for hours in (1, 2))
    second = first.model_copy(update={
        "started": start, "ended": end, "git_dirty": True, "steps_start": 200, "steps_end": 260,
        "device": "another",
    })  # fmt: skip
    save_record(paths.record, record.model_copy(update={"sessions": (first, second)}))
    properties = load_run("20250101_x/a", paths).properties
    found = [properties[x] for x in ("duration_s", "steps", "commit", "device")]
    assert found == [1200 + 3600, 260, "a" * 40 + "+", "another"]


def test_values_at_a_step_and_an_epoch(run):
    assert get_value(run, "train.loss@step=5") == pytest.approx(100 * math.exp(-0.5 / 4))
    assert get_value(run, "train.loss@epoch=0.5") == pytest.approx(100 * math.exp(-0.5 / 4))
    assert get_value(run, "val.r2@epoch=1") == pytest.approx(1 - math.exp(-1 / 4))
    assert get_value(run, "compression_ratio") == 10.5


@pytest.mark.parametrize(
    "name, message",
    [
        ("val.r2", r"20250101_x/a: unknown property 'val.r2'; did you mean 'last(val.r2)' or 'b"),
        ("val.loss@step=7", "20250101_x/a: val.csv has no row of step 7; there: 10 to 200"),
        ("val.lost@step=10", "20250101_x/a: unknown property 'val.lost'; did you mean"),
        ("qqqq", "20250101_x/a: unknown property 'qqqq'; known: experiment, run, date, kind, "),
        ("error", "20250101_x/a: the property 'error' is blank"),
    ],
)
def test_values_that_arent_there(run, name, message):
    with pytest.raises(PropertyError) as info:
        get_value(run, name)
    assert str(info.value).startswith(message)


def test_metrics_are_listed_with_the_tests_first(run):
    assert list_metrics([run]) == ["test.r2", "val.loss", "val.r2", "train.loss"]


def test_columns_are_those_that_pandas_reads(write_run, tmp_path):
    paths = write_run(tmp_path / "20250101_x", "a")
    columns = load_columns(paths.val_metrics)
    pd.testing.assert_frame_equal(pd.DataFrame(columns), pd.read_csv(paths.val_metrics))
    path = tmp_path / "text.csv"
    path.write_text("step,x,name\n1,,a b\n2,nan,\n3,1e5,unfini")
    columns = load_columns(path)
    assert columns["step"] == [1, 2]
    assert columns["x"][0] is None and math.isnan(columns["x"][1])
    assert columns["name"] == ["a b", None]


def test_reading_records_needs_no_torch():
    code = (
        "import sys, atompaint_vae.notebook, atompaint_vae.records.experiment;"
        "import atompaint_vae.records.compare, atompaint_vae.commands.compare;"
        "import atompaint_vae.notebook.runs.compare, atompaint_vae.figures.run_curves;"
        "print(*{'torch', 'e3nn', 'lightning', 'pandas'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert result.stdout.strip() == ""
