import errno
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import nestedtext as nt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atompaint_vae.records import record as record_module
from atompaint_vae.records.record import (
    Best,
    GitState,
    RecordError,
    RunPaths,
    RunRecord,
    Session,
    end_session,
    find_git_state,
    find_run_state,
    load_record,
    make_session,
    save_record,
    start_session,
    update_record,
)
from atompaint_vae.text.files import write_atomic

ERRORS = nt.load(Path(__file__).parent / "record_errors.nt")

T0 = datetime(2024, 12, 17, 9, 30, tzinfo=UTC)


def test_run_paths_are_distinct():
    paths = RunPaths("expts/20240101_x/runs/a")
    found = [
        paths.hparams, paths.record, paths.train_metrics, paths.val_metrics, paths.test_metrics,
        paths.reconstructions, paths.checkpoints, paths.last, paths.best, paths.tensorboard,
    ]
    assert paths.name == "a"
    assert len(set(found)) == len(found)
    assert all(paths.run_dir in path.parents for path in found)
    assert paths.last.parent == paths.best.parent == paths.checkpoints


def test_sessions_of_a_run(tmp_path):
    first = make_session(command="./train.py a", device="cpu", steps_start=0, path=tmp_path, now=T0)
    assert first.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert first.versions["numpy"] == sys.modules["numpy"].__version__
    assert first.git_commit is None

    record = start_session(RunRecord(run="a", experiment="20240101_x"), first)
    assert record.state == record.sessions[0].exit == "running"

    # This process is killed, the next one is interrupted, a third one ends.
    second = Session(**{**dict(first), "steps_start": 10})
    record = start_session(record, second)
    assert [s.exit for s in record.sessions] == ["interrupted", "running"]
    record = end_session(record, exit="interrupted", steps_end=15, now=T0 + timedelta(hours=1))
    assert record.state == "interrupted"
    record = start_session(record, Session(**{**dict(first), "steps_start": 15}))
    record = end_session(record, exit="failed", steps_end=20, error="disk full:\n  no space")
    assert record.state == "failed"
    assert [s.exit for s in record.sessions] == ["interrupted", "interrupted", "failed"]
    assert [s.steps_end for s in record.sessions] == [None, 15, 20]
    assert [s.ended for s in record.sessions][:2] == [None, T0 + timedelta(hours=1)]
    assert record.sessions[2].error == "disk full: no space"


def test_times_are_utc():
    zone = timezone(timedelta(hours=2))
    session = Session(
        command="x", device="cpu", versions={}, steps_start=0,
        started=datetime(2024, 12, 17, 11, 30, 0, 999, tzinfo=zone))
    assert session.started == T0
    assert session.model_dump()["started"] == "2024-12-17T09:30:00Z"


def test_command_that_is_not_utf_8(tmp_path):
    session = make_session(
        command=os.fsdecode(b"./train.py \xff"), device="cpu", steps_start=0, path=tmp_path)
    assert session.command == r"./train.py \udcff"


texts = st.text(st.characters(exclude_categories=["Cs"]))
times = st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC))
sessions = st.builds(
    Session, command=texts, device=texts, started=times, ended=st.none() | times,
    versions=st.dictionaries(st.sampled_from(["torch", "numpy"]), texts.map(str.strip)),
    git_commit=st.none() | st.just("0123abcd"), git_dirty=st.booleans(),
    steps_start=st.integers(0), steps_end=st.none() | st.integers(),
    error=st.none() | texts.filter(str.strip))
records = st.builds(
    RunRecord, run=texts, experiment=texts, num_parameters=st.none() | st.integers(0),
    sizes=st.fixed_dictionaries({}, optional={
        "latent_shape": st.tuples(*4 * [st.integers(1)]),
        "compression_ratio": st.floats(allow_nan=False)}),
    best=st.none() | st.builds(
        Best, metric=st.just("r2"), step=st.integers(0),
        value=st.floats(allow_nan=False)),
    alarms=st.dictionaries(st.just("collapsed"), st.integers()),
    sessions=st.lists(sessions, max_size=2))


@given(records)
def test_save_and_load_record(tmp_path_factory, record):
    path = tmp_path_factory.getbasetemp() / "record.nt"
    save_record(path, record)
    assert load_record(path) == record


def test_nan_survives(tmp_path):
    best = Best(metric="r2", step=1, value=float("nan"))
    save_record(tmp_path / "record.nt", RunRecord(run="a", experiment="x", best=best))
    assert repr(load_record(tmp_path / "record.nt").best.value) == "nan"


OLD_RECORD = """\
run: a
experiment: 20240101_x
state: finished
latent_shape:
  - 9
  - 5
  - 5
  - 5
compression_ratio: 10.5
best_step: 40
best_val_r2: 0.75
collapsed_step:
"""


def test_records_from_before_there_were_kinds(tmp_path):
    path = tmp_path / "record.nt"
    path.write_text(OLD_RECORD)
    record = load_record(path)
    assert record.sizes == {"latent_shape": (9, 5, 5, 5), "compression_ratio": 10.5}
    assert record.best == Best(metric="r2", step=40, value=0.75)
    assert record.alarms == {}
    path.write_text(OLD_RECORD.replace("collapsed_step:", "collapsed_step: 20"))
    assert load_record(path).alarms == {"collapsed": 20}
    path.write_text(OLD_RECORD.replace("best_step: 40", "best_step:"))
    assert load_record(path).best is None
    save_record(path, record)
    assert "best:\n  metric: r2\n  step: 40\n  value: 0.75\n" in path.read_text()
    assert load_record(path) == record


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS.keys())
def test_load_record_errors(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("record.nt").write_text(case["file"])
    with pytest.raises(RecordError) as err:
        load_record(Path("record.nt"))
    assert str(err.value) == case["error"]


def test_find_run_state(tmp_path):
    paths = RunPaths(tmp_path)
    assert find_run_state(paths) == "planned"
    record = RunRecord(run="a", experiment="x")
    for state in ["running", "interrupted", "failed", "finished"]:
        save_record(paths.record, update_record(record, state=state))
        assert find_run_state(paths) == state


def test_find_git_state(tmp_path):
    def git(*args):
        command = ["git", "-C", tmp_path, "-c", "user.name=x", "-c", "user.email=x@x", *args]
        subprocess.run(command, check=True, capture_output=True)

    expt = tmp_path / "expts" / "20240101_x"
    (expt / "runs" / "a").mkdir(parents=True)
    assert find_git_state(expt) == GitState(None, False)

    git("init")
    (expt / "train.py").write_text("1")
    assert find_git_state(expt) == GitState(None, True)

    git("add", ".")
    git("commit", "-m", "x")
    commit = find_git_state(expt).commit
    assert len(commit) == 40
    assert find_git_state(expt) == GitState(commit, False)

    (expt / "runs" / "a" / "record.nt").write_text("a run's own files are no change")
    assert find_git_state(expt) == GitState(commit, False)

    new = tmp_path / "new.py"
    new.write_text("1")
    assert find_git_state(expt) == GitState(commit, True)

    new.unlink()
    (expt / "train.py").write_text("2")
    assert find_git_state(expt / "runs") == GitState(commit, True)


def test_find_git_state_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_git_state(tmp_path) == GitState(None, False)


def test_write_atomic_leaves_the_old_file_if_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    write_atomic(path, "old")

    def fail(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record_module.os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*x\.txt'"):
        write_atomic(path, "new", keep=tmp_path / "kept.txt")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_keeps_the_old_file(tmp_path):
    path, kept = tmp_path / "x.txt", tmp_path / "kept.txt"
    write_atomic(path, "1", keep=kept)
    assert not kept.exists()
    for new, old in [("2", "1"), ("3", "2")]:
        write_atomic(path, new, keep=kept)
        assert (path.read_text(), kept.read_text()) == (new, old)
    assert len(list(tmp_path.iterdir())) == 2


def test_no_session_ends_before_it_began():
    session = make_session(command="x", device="cpu", steps_start=0, path=Path.cwd(), now=T0)
    record = start_session(RunRecord(run="a", experiment="x"), session)
    record = end_session(record, exit="finished", steps_end=1, now=T0 - timedelta(hours=1))
    assert record.sessions[-1].ended == T0


def test_write_atomic_heeds_the_umask(tmp_path):
    previous = os.umask(0o022)
    try:
        write_atomic(tmp_path / "x.txt", b"\xff")
    finally:
        os.umask(previous)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "x.txt").read_bytes() == b"\xff"


def test_write_atomic_killed(tmp_path):
    path = tmp_path / "x.txt"
    code = """
import itertools, sys
from atompaint_vae.records.record import write_atomic
for i in itertools.count():
    write_atomic(sys.argv[1], str(i % 10) * 3_000_000)
"""
    for i in range(5):
        path.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", code, path])
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.013 * i)
        process.send_signal(signal.SIGKILL)
        process.wait()
        text = path.read_text()
        assert text == text[0] * 3_000_000
