"""What train.py says to a user's mistakes, and what damage it survives."""

import math
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_expt import run_train_py

from atompaint_vae.models.kind import get_kind
from atompaint_vae.models.vae.metrics import HeldOutMetrics
from atompaint_vae.records.metrics import MetricsError
from atompaint_vae.records.record import RunPaths, load_record
from atompaint_vae.records.validations import find_best_validation
from atompaint_vae.training.checkpoints import (
    CheckpointWriter,
    Diverged,
    load_checkpoint,
)
from atompaint_vae.training.module import TrainingModule
from atompaint_vae.training.processes import Processes
from atompaint_vae.training.signals import SignalWatch


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--list", "--dry-run"], "--list and --dry-run can't be given together"),
        (["--list", "--slurm"], "--list and --slurm can't be given together"),
        (["--weights", "--slurm"], "--weights and --slurm can't be given together"),
        (["--time", "1:00"], "--time is an option of --slurm, which isn't given"),
        (["--array-limit", "2"], "--array-limit is an option of --slurm, which isn't given"),
        (["--slurm", "--array-limit", "0"], "--array-limit: expected a whole number >= 1, got '0'"),
        (["--slurm", "--save-steps", "0"], "--save-steps: expected a whole number >= 1, got '0'"),
        (["--slurm", "b"], "run 'b' is unknown; known: a"),
        (["--nonsense"], "--nonsense is not expected; see train.py --help"),
        (["a", "-z"], "-z is not expected; see train.py --help"),
        (["--list=3"], "--list must not have an argument; see train.py --help"),
        (["--max-steps"], "--max-steps requires argument; see train.py --help"),
        (["--max-steps", "0"], "--max-steps: expected a whole number >= 1, got '0'"),
        (["--max-steps", "1.5"], "--max-steps: expected a whole number >= 1, got '1.5'"),
        (["--device", "tpu"], "--device: expected auto, cpu or cuda, got 'tpu'"),
        (["--save-steps", "0"], "--save-steps: expected a whole number >= 1, got '0'"),
        (["--save-minutes", "0"], "--save-minutes: expected a number > 0, got '0'"),
        (["--save-minutes", "nan"], "--save-minutes: expected a number > 0, got 'nan'"),
        (["--save-minutes", "x"], "--save-minutes: expected a number > 0, got 'x'"),
        (["b"], "run 'b' is unknown; known: a"),
    ],
)
def test_wrong_arguments(make_expt, args, message):
    expt = make_expt()
    assert expt.train(*args) == (2, "", message + "\n")
    assert not (expt.path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(make_expt):
    message = "--device cuda: torch finds no CUDA GPU here\n"
    assert make_expt().train("--device", "cuda") == (2, "", message)


@pytest.mark.parametrize("args", [[], ["--dry-run"]])
def test_all_mistakes_are_named_before_anything_trains(make_expt, args):
    expt = make_expt({"size_voxels: 11": "size_voxels: 11\n    source: startr",
                      "model:": "model:\n    grid: octahedral_96",
                      "- 1xfourier1": "- 1xfourier3", "warmup_steps": "warm_up_steps"})
    code, stdout, stderr = expt.train(*args)
    assert (code, stdout) == (2, "")
    assert [line.partition(": ")[0] for line in stderr.splitlines()] == [
        "hparams.nt:4:13", "hparams.nt:8:9", "hparams.nt:12:5"]  # fmt: skip
    assert not (expt.path / "runs").exists()


def test_changed_hparams(make_expt):
    expt = make_expt()
    expt.train("--max-steps", "1")
    expt.edit({"epochs: 3": "epochs: 4", "batch_size: 2": "batch_size: 3"})
    code, _, stderr = expt.train()
    assert (code, stderr) == (
        2,
        "hparams.nt: run 'a' has changed since it started: optim.batch_size was 2, is 3; "
        "train.epochs was 3, is 4; train.py --restart a archives it and trains from scratch, or "
        "give the run another name\n",
    )
    state = expt.paths.last.read_bytes()
    code, stdout, _ = expt.train("a", "--restart", "--max-steps", "1")
    (archived,) = (expt.path / "runs/.archive").iterdir()
    assert re.fullmatch(r"a-\d{8}T\d{6}", archived.name)
    said = f"a: archived as runs/.archive/{archived.name}\n"
    assert (code, stdout.startswith(said)) == (0, True)
    assert (archived / "checkpoints/last.ckpt").read_bytes() == state
    assert "batch_size: 3" in expt.paths.hparams.read_text()
    assert [s.steps_start for s in load_record(expt.paths.record).sessions] == [0]


def test_a_set_beside_the_experiment(make_expt, few_structures):
    expt = make_expt({"size_voxels: 11": "size_voxels: 11\n    source: ../sets/x.parquet"})
    sets = expt.path.parent / "sets"
    sets.mkdir()
    shutil.copy(few_structures, sets / "x.parquet")
    table = few_structures.with_name("few.structures.csv").read_text()
    (sets / "x.structures.csv").write_text(table)
    code, _, stderr = expt.train("--max-steps", "1")
    assert code == 0, stderr
    # As it was written: a record names no machine's folders.
    assert "source: ../sets/x.parquet" in (expt.path / "runs/a/hparams.nt").read_text()

    (sets / "x.structures.csv").write_text(table + "\n")
    code, _, stderr = expt.train()
    assert code == 2
    assert stderr == (
        "runs/a/record.nt: ../sets/x.parquet holds other structures than when the run started; "
        "train.py --restart a trains it from scratch\n"
    )


def test_a_damaged_checkpoint(make_expt):
    expt = make_expt()
    expt.train("--max-steps", "1")
    (expt.path / "runs/a/checkpoints/last.ckpt").write_bytes(b"no checkpoint")
    code, _, stderr = expt.train()
    assert (code, stderr) == (
        2,
        "runs/a/checkpoints/last.ckpt: can't be read: no checkpoint, or a damaged one; "
        "train.py --restart a trains it from scratch\n",
    )


def test_damaged_best_weights(make_expt, uncut):
    expt = make_expt()
    expt.train("--max-steps", "6")
    content = bytearray(expt.paths.best.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = bytes(content)
    best = expt.paths.best_copy.read_bytes()
    expt.paths.best.unlink()
    expt.paths.best_copy.write_bytes(damaged)
    code, _, stderr = expt.train()
    assert (code, stderr) == (
        2,
        "runs/a/checkpoints/best_copy.ckpt: can't be read: no checkpoint, or a damaged one; "
        "train.py --restart a trains it from scratch\n",
    )
    expt.paths.best.write_bytes(damaged)
    expt.paths.best_copy.write_bytes(best)
    code, _, stderr = expt.train()
    put_back = "runs/a/checkpoints/best.ckpt: damaged; restored from its copy\n"
    assert (code, stderr.startswith(put_back), stderr.count(put_back)) == (0, True, 1)
    expt.assert_same_run(uncut)
    assert not expt.paths.best_copy.exists()


def test_a_restart_is_a_new_run_also_where_there_was_a_damaged_one(make_expt, uncut):
    expt = make_expt()
    expt.train("--max-steps", "6")
    for path in (expt.paths.best, expt.paths.best_copy, expt.paths.last):
        path.write_bytes(b"")
    expt.train("--restart")
    expt.assert_same_run(uncut)


def test_checkpoints_by_steps_and_by_minutes(make_expt):
    expt = make_expt()
    expt.train("--max-steps", "4", "--save-steps", "2")
    files = expt.paths.previous, expt.paths.last
    assert [load_checkpoint(path)["global_step"] for path in files] == [2, 4]
    expt.train("--max-steps", "7", "--save-minutes", "1e-9")
    assert [load_checkpoint(path)["global_step"] for path in files] == [6, 7]


def test_runs_that_is_a_file(make_expt):
    expt = make_expt()
    (expt.path / "runs").write_text("")
    code, _, stderr = expt.train()
    assert (code, stderr) == (2, "runs/a: can't be written to: not a directory\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_runs_that_is_not_writable(make_expt):
    expt = make_expt()
    (expt.path / "runs").mkdir(mode=0o555)
    code, _, stderr = expt.train()
    assert (code, stderr) == (2, "runs/a: can't be written to: permission denied\n")


def test_garbage_in_a_table(make_expt, tmp_path):
    expt = make_expt()
    expt.train("--max-steps", "6")
    path = expt.path / "runs/a/val.csv"
    header, row = path.read_text().splitlines()
    index = header.split(",").index("r2")
    cells = row.split(",")
    cells[index] = "o.1"
    path.write_text(f"{header}\n{','.join(cells)}\n")
    code, stdout, _ = expt.train("--list")
    row = "a  unreadable   val.csv:2: r2: expected a number, got 'o.1'"
    assert (code, stdout.splitlines()[0][: len(row)]) == (0, row)
    paths = RunPaths(tmp_path)
    paths.val_metrics.write_text("step,epoch,elapsed_s,r2\n5,1,1,0.1\nx,1,1,0.2\n")
    with pytest.raises(MetricsError, match=r"val.csv:3: step: expected a number, got 'x'"):
        find_best_validation(paths, get_kind("vae"))


def test_a_damaged_table_does_not_hide_what_ended_the_run(make_expt):
    expt = make_expt()

    def fail_at_step_7():
        step = TrainingModule.training_step

        def damaging_step(module, batch, index):
            if module.trainer.global_step == 6:
                expt.paths.val_metrics.write_text("step,epoch,elapsed_s,r2\n5,1,1,o.1\n")
                raise RuntimeError("the real failure")
            return step(module, batch, index)

        TrainingModule.training_step = damaging_step

    code, _, stderr = expt.train(prepare=fail_at_step_7)
    assert code == 1
    assert "the real failure" in stderr
    record = load_record(expt.paths.record)
    assert (record.state, record.sessions[-1].error) == ("failed", "RuntimeError: the real failure")


def test_validations_without_a_number(make_expt):
    """No weights are the best; the user must not be told of a damaged checkpoint."""
    expt = make_expt({"epochs: 3": "epochs: 1"})

    def lose_r2():
        calc = HeldOutMetrics.calc
        HeldOutMetrics.calc = lambda self: {**calc(self), "r2": math.nan}

    for _ in range(2):  # the second resumes at the end
        code, _, stderr = expt.train(prepare=lose_r2)
        assert code == 1
        assert stderr.endswith("a: failed: no validation had a number for R²\n")
    assert load_record(expt.paths.record).best is None


def test_leftovers_of_killed_processes_are_removed(make_expt):
    expt = make_expt()
    expt.train("--max-steps", "1")
    leftovers = [expt.path / "runs/a" / name for name in (
        ".record.nt.0011223344556677.tmp", "checkpoints/.last.ckpt.0011223344556677.tmp")]
    for path in leftovers:
        path.write_text("half")
    expt.train("--max-steps", "2")
    assert not any(path.exists() for path in leftovers)


def test_a_run_that_would_outlast_the_calendar(make_expt):
    edits = {"epochs: 3": "epochs: 1000000000", "per_epoch: 5": "per_epoch: 1000000000"}
    expt = make_expt(edits)
    code, _, stderr = expt.train("--max-steps", "11")
    assert (code, stderr) == (0, "")
    assert expt.train("--list")[1].startswith("a  interrupted  step 11 of 1000000000000000000 (0%)")


def test_divergence_fails_the_run(make_expt):
    expt = make_expt({"warmup_steps: 2": "warmup_steps: 0\n    learning_rate: 1e30"})
    code, _, stderr = expt.train()
    assert code == 1
    assert "a: failed: the validation loss is nan at step 5\n" in stderr
    record = load_record(RunPaths(expt.path / "runs/a").record)
    assert record.state == "failed"
    assert record.sessions[-1].error == "Diverged: the validation loss is nan at step 5"


def train_and_count_children(expt_dir: Path):
    """Python waits at its exit for all children that there still are."""
    try:
        run_train_py(expt_dir)
    finally:
        print(f"{len(multiprocessing.active_children())} children")


def diverge(module: TrainingModule):
    module.held_out_metrics = {"loss": math.nan, "r2": math.nan}


def interrupt_twice(module: TrainingModule):
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("act", "code", "says"),
    [
        (diverge, 1, "a: failed: the validation loss is nan at step 5"),
        (interrupt_twice, 130, "a: interrupted by SIGINT"),
    ],
)
def test_loaders_end_with_a_run_that_ends_in_a_validation(make_expt, act, code, says):
    expt = make_expt({"runs:\n  a:\n": "runs:\n  a:\n  b:\n", "epochs: 3": "epochs: 1"})
    expt.num_loaders = 1
    original, pending = TrainingModule.on_validation_epoch_end, [act]

    def act_once(module):
        original(module)
        if pending:
            pending.pop()(module)

    process = expt.start(
        prepare=lambda: setattr(TrainingModule, "on_validation_epoch_end", act_once),
        program=train_and_count_children,
    )
    found, stdout, stderr = process.wait()
    assert (found, says in stderr) == (code, True), stderr
    assert stdout.endswith("0 children\n")
    assert ("b: finished" in stdout) == (act is diverge)


def test_weights_that_are_no_numbers_replace_no_checkpoint(tmp_path):
    class Trainer:
        global_step = 7
        saved = ()

        def save_checkpoint(self, path):
            self.saved += (path,)

    trainer, module, paths = Trainer(), torch.nn.Linear(2, 2), RunPaths(tmp_path)
    writer = CheckpointWriter(paths, SignalWatch(), Processes("cpu"))
    writer._save(trainer, module, is_best=True)
    assert trainer.saved == (paths.best, paths.best_copy, paths.last)
    with torch.no_grad():
        module.weight[0, 0] = torch.inf
    with pytest.raises(Diverged, match="a weight became NaN or infinite by step 7"):
        writer._save(trainer, module)
    assert trainer.saved == (paths.best, paths.best_copy, paths.last)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_save(make_expt, number):
    expt = make_expt({"epochs: 3": "epochs: 500"})
    expt.num_loaders = 1
    process = expt.start()
    process.wait_for("runs/a/val.csv")
    os.kill(process.pid, number)
    code, _, stderr = process.wait()
    assert code == 128 + number
    assert stderr.endswith(f"a: interrupted by {number.name}\n")
    paths = RunPaths(expt.path / "runs/a")
    session = load_record(paths.record).sessions[-1]
    assert (session.exit, session.error) == ("interrupted", number.name)
    state = torch.load(paths.last, weights_only=True)
    assert state["global_step"] == session.steps_end >= 5


@pytest.mark.parametrize("program", ["train.py", "atompaint-vae"])
def test_readers_that_have_seen_enough(make_expt, program):
    expt = make_expt()
    command = [sys.executable, expt.path / "train.py", "--list"]
    if program == "atompaint-vae":
        command = [sys.executable, "-m", "atompaint_vae.cli", "--help"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
