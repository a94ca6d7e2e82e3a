import math
import os
import random
import shutil
import signal
import time

import pytest
from small_expt import read_table

from atompaint_vae.records.record import RunPaths, load_record
from atompaint_vae.training import plan


def get_paths(expt, name="a") -> RunPaths:
    return RunPaths(expt.path / "runs" / name)


def get_sessions(expt) -> list[tuple]:
    record = load_record(get_paths(expt).record)
    return [(s.exit, s.steps_start, s.steps_end, s.error) for s in record.sessions]


def test_cut_and_resume(make_expt, uncut):
    expt = make_expt()
    # Within an epoch; again in the same one; at the end of an epoch.
    for steps in (6, 8, 10):
        code, stdout, _ = expt.train("--max-steps", str(steps))
        assert code == 0
        assert stdout == f"a: stopped at --max-steps {steps}; train.py resumes from there\n"
        assert load_record(get_paths(expt).record).state == "interrupted"
    # Nothing is trained beyond.
    code, stdout, _ = expt.train("--max-steps", "4")
    assert stdout == "a: stopped at --max-steps 4; train.py resumes from there\n"
    code, stdout, _ = expt.train("--max-steps", "15")
    best_r2 = load_record(get_paths(uncut).record).best.value
    assert (code, stdout) == (0, f"a: finished, best validation R² {best_r2:.3f}\n")
    expt.assert_same_run(uncut)
    assert get_sessions(expt) == [
        ("interrupted", 0, 6, None),
        ("interrupted", 6, 8, None),
        ("interrupted", 8, 10, None),
        ("interrupted", 10, 10, None),
        ("finished", 10, 15, None),
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_kill_and_resume(make_expt, uncut, seed):
    expt = make_expt()
    expt.num_loaders = 1
    rng = random.Random(seed)
    process = expt.start()
    process.wait_for("runs/a/train.csv" if seed else "runs/a/val.csv")
    time.sleep(rng.uniform(0, 0.1))
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait()[0] == -signal.SIGKILL
    code, _, stderr = expt.train()
    assert code == 0, stderr
    expt.assert_same_run(uncut)
    first, last = get_sessions(expt)
    assert first == ("interrupted", 0, None, None)
    assert last[0] == "finished"


def test_automatic_precision_is_recorded_and_kept(make_expt, monkeypatch):
    epochs = "epochs: 3\n    precision: "
    expected, expt = (make_expt({"epochs: 3": epochs + x}) for x in ("bf16-mixed", "auto"))
    assert expected.train()[0] == 0
    assert load_record(expected.paths.record).precision is None

    monkeypatch.setattr(plan, "MIN_SPEEDUP", 0.0)
    assert expt.train("--max-steps", "6")[0] == 0
    precision = load_record(expt.paths.record).precision
    assert precision.chosen == "bf16-mixed"
    assert precision.speedup > 0
    # Resumed, and trained again, on another processor.
    monkeypatch.setattr(plan, "MIN_SPEEDUP", math.inf)
    assert expt.train()[0] == 0
    assert load_record(expt.paths.record).precision == precision
    for name in ("train_metrics", "val_metrics", "test_metrics"):
        found, other = (read_table(getattr(x.paths, name)) for x in (expt, expected))
        assert found == other
    r2 = f"{load_record(expt.paths.record).best.value:.3f}"
    shutil.rmtree(expt.paths.checkpoints)
    assert expt.train("--weights")[1] == f"a: finished, best validation R² {r2}; {r2} is recorded\n"

    expt.train("--restart")
    assert load_record(expt.paths.record).precision.chosen == "32-true"


def test_training_again_for_the_weights_leaves_the_record(make_expt):
    expt = make_expt({"epochs: 3": "epochs: 2", "steps_per_epoch: 5": "steps_per_epoch: 2"})
    expt.train()
    paths = get_paths(expt)
    shutil.rmtree(paths.checkpoints)
    files = sorted(x for x in (expt.path / "runs").rglob("*") if x.is_file())
    before = [path.read_bytes() for path in files]

    code, stdout, _ = expt.train("--weights", "--max-steps", "3")
    assert (code, stdout) == (0, "a: stopped at --max-steps 3; train.py resumes from there\n")
    assert not paths.last.exists()
    code, stdout, _ = expt.train("--weights")
    r2 = f"{load_record(paths.record).best.value:.3f}"
    expected = f"a: finished, best validation R² {r2}; {r2} is recorded\n"
    assert (code, stdout) == (0, expected)
    assert paths.last.exists()
    assert paths.best.exists()
    assert [path.read_bytes() for path in files] == before

    again = load_record(RunPaths(expt.path / ".again/a").record)
    assert (again.experiment, again.run, again.state) == ("20240101_x", "a", "finished")
    assert expt.train("--weights")[1] == "a: finished\n"
