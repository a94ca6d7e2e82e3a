import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atompaint_vae.records.metrics import (
    MetricsError,
    append_metrics,
    copy_metrics,
    load_columns,
    load_metrics,
    restore_metrics,
)


def test_append_metrics(tmp_path):
    path = tmp_path / "train.csv"
    append_metrics(path, {"step": 1, "loss": 0.1, "beta": 1.0, "split": "val", "n": 3})
    append_metrics(path, {"beta": float("nan"), "step": np.int64(2), "loss": np.float32(0.1)})
    append_metrics(path, {"step": 3, "loss": 1e20, "beta": None, "n": float("inf")})
    assert path.read_text() == (
        "step,loss,beta,split,n\n"
        "1,0.1,1.0,val,3\n"
        "2,0.100000001,nan,,\n"
        "3,1e+20,,,inf\n")

    table = load_metrics(path)
    assert list(table.step) == [1, 2, 3]
    assert list(table.loss) == [0.1, 0.100000001, 1e20]
    assert list(table.beta.isna()) == [False, True, True]
    assert table.n[2] == np.inf


@given(st.floats(width=32))
def test_metrics_keep_float32(tmp_path_factory, number):
    path = tmp_path_factory.getbasetemp() / "float32.csv"
    path.unlink(missing_ok=True)
    append_metrics(path, {"step": 0, "x": number})
    np.testing.assert_array_equal(load_metrics(path).x.astype(np.float32)[0], np.float32(number))


def test_append_metrics_errors(tmp_path):
    path = tmp_path / "train.csv"

    def check(row, message):
        with pytest.raises(MetricsError) as err:
            append_metrics(path, row)
        assert str(err.value) == f"{path}: {message}"

    check({"loss": 1}, "a row needs the integer 'step', got None")
    check({"step": 1.5}, "a row needs the integer 'step', got 1.5")
    check({"step": 1, "x": "a,b"},
          "column 'x': commas, quotes and newlines can't be stored: 'a,b'")
    check({"step": 1, "x\n": 1},
          "column 'x\\n': commas, quotes and newlines can't be stored: '1'")
    assert not path.exists()

    append_metrics(path, {"step": 1, "data_loss": 2.0})
    check({"step": 2, "data_los": 1}, "column 'data_los' is unknown; did you mean 'data_loss'?")
    check({"step": 2, "r2": 1}, "column 'r2' is unknown; known: step, data_loss")
    assert path.read_text() == "step,data_loss\n1,2.0\n"


def make_table(path, steps):
    for step in steps:
        append_metrics(path, {"step": step, "loss": 10 / step, "prior": None})


@given(cut=st.integers(0), after_step=st.integers(0, 12))
def test_table_of_a_resumed_run_is_that_of_a_run_never_cut_off(tmp_path_factory, cut, after_step):
    # Cut off at any byte, before or after the row of the checkpoint.
    path = tmp_path_factory.getbasetemp() / "resumed.csv"
    path.unlink(missing_ok=True)
    make_table(path, range(1, after_step + 1))
    at_checkpoint = copy_metrics(path)
    make_table(path, range(after_step + 1, 13))
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % (len(whole) + 1)])

    restore_metrics(path, at_checkpoint)
    assert path.exists() == (after_step > 0)
    make_table(path, range(after_step + 1, 13))
    assert path.read_bytes() == whole


def test_copy_metrics_leaves_out_an_unfinished_line(tmp_path):
    path = tmp_path / "train.csv"
    assert copy_metrics(path) == ""
    path.write_bytes(b"step,loss\n1,2.0\n2,\xff")
    assert copy_metrics(path) == "step,loss\n1,2.0\n"


def test_a_row_replaces_an_unfinished_line(tmp_path):
    path = tmp_path / "train.csv"
    make_table(path, [1])
    whole = path.read_text()
    path.write_text(whole + "2,5" * 5000)
    assert list(load_metrics(path).step) == [1]
    make_table(path, [2])
    assert path.read_text() == whole + "2,5.0,\n"


@pytest.mark.parametrize("text, message", [
    ("step,x\n1,2\n2\n3,4\n", "{path}:3: expected 2 cells, got 1"),
    ("step,x\n1,2\n2,3,4\n", "{path}:3: expected 2 cells, got 3"),
    ("epoch,x\n1,2\n", "{path}:1: no column 'step', got 'epoch,x'"),
])
def test_damaged_tables(text, message, tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(text)
    with pytest.raises(MetricsError) as err:
        load_columns(path)
    assert str(err.value) == message.format(path=path)
    assert path.read_text() == text


def test_load_metrics_of_no_run(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_metrics(tmp_path / "train.csv")


def test_a_full_disk_leaves_whole_rows(tmp_path):
    # A limit on the file's size is to the writer what a full disk is: it takes a part of the row.
    path = tmp_path / "train.csv"
    make_table(path, range(1, 200))
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 3, hard))
    try:
        with pytest.raises(OSError, match=r"No space left on device: .*train\.csv"):
            make_table(path, [200])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole


def test_append_metrics_killed(tmp_path):
    code = """
import itertools, sys
from atompaint_vae.records.metrics import append_metrics
for step in itertools.count(1):
    append_metrics(sys.argv[1], {"step": step, "loss": 1 / step})
"""
    for i in range(5):
        path = tmp_path / f"{i}.csv"
        process = subprocess.Popen([sys.executable, "-c", code, path])
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.013 * i)
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps = list(load_metrics(path).step)
        assert steps == list(range(1, len(steps) + 1))
