"""Two processes with half of each batch train what one does with all of it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from small_expt import Pair, Process, train_pair

from atompaint_vae.cli import run_command
from atompaint_vae.config.checks import check_experiment
from atompaint_vae.config.hparams import HparamsError
from atompaint_vae.records.record import load_record


def test_two_processes_train_what_one_does(uncut, uncut_pair):
    uncut_pair.assert_close_run(uncut)
    assert [s.devices for s in load_record(uncut_pair.paths.record).sessions] == [2]
    assert [s.devices for s in load_record(uncut.paths.record).sessions] == [1]


def test_two_processes_keep_the_average_that_one_does(make_expt):
    """Its normalisation statistics too, for which each process computes its part of the batches."""
    edits = {"epochs: 3": "epochs: 1", "optim:": "optim:\n    ema_decay: 0.75",
             "steps_per_epoch: 5": "steps_per_epoch: 10"}  # fmt: skip
    one, two = make_expt(edits), make_expt(edits)
    assert one.train()[0] == 0
    code, _, stderr = train_pair(two)
    assert code == 0, stderr
    two.assert_close_run(one)


def test_two_processes_draw_the_samples_that_one_does(make_expt):
    edits = {
        "shared:": "shared:\n  kind: diffusion",
        "      - 1xfourier1+2x0e\n    latent: 2x0e+1x1e": (
            "      - 4x0e\n    symmetry: none\n    sampler:\n      num_steps: 3\n"
            "      sigma_max: 2"
        ),
        "epochs: 3": "epochs: 1",
    }
    one, two = make_expt(edits), make_expt(edits)
    assert one.train()[0] == 0
    code, _, stderr = train_pair(two)
    assert code == 0, stderr
    expected, found = (pd.read_csv(expt.paths.test_metrics) for expt in (one, two))
    # How many atoms are found in such samples can turn on a float error.
    numbers = [x for x in expected if "loss" in x or x in ("bonded_true", "atoms_nm3_true")]
    assert len(numbers) == 9
    pd.testing.assert_frame_equal(found[numbers], expected[numbers], rtol=1e-4)
    np.testing.assert_allclose(found["atoms_nm3"], expected["atoms_nm3"], rtol=0.02)
    samples = [np.load(x.paths.run_dir / "samples.npz")["sample"] for x in (one, two)]
    np.testing.assert_allclose(*samples, atol=2e-3)


def test_losses_that_parts_of_a_batch_do_not_add_up_to(tmp_path):
    """The logarithm of a mean, or a maximum of it, is not the mean of those of two halves."""
    path = tmp_path / "hparams.nt"
    text = (
        "shared:\n  model:\n    layers:\n      - 2x0e\n    latent: 1x0e\n  data:\n"
        "    size_voxels: 11\n  train:\n    epochs: 1\n    steps_per_epoch: 60\nruns:\n"
        "  a:\n    loss:\n      reduction: optimal\n  b:\n    loss:\n      free_nats: 0.1\n  c:\n"
    )
    path.write_text(text)
    check_experiment(path)
    check_experiment(path, num_devices=2, names=["c"])
    with pytest.raises(HparamsError) as error:
        check_experiment(path, num_devices=2)
    assert [line.partition("hparams.nt:")[2] for line in str(error.value).splitlines()] == [
        "14:18: loss.reduction: the loss 'optimal' of a batch isn't the mean of its parts', so "
        "--devices would train something else",
        "17:18: loss.free_nats: the prior loss with free nats of a batch isn't the mean of its "
        "parts', so --devices would train something else",
    ]


def test_cut_and_resume(make_expt, uncut_pair):
    expt = make_expt()
    # Only the first one's clock says that a checkpoint is due, at every step.
    args = ["--save-minutes", "1e-9"]
    code, stdout, _ = train_pair(expt, "--max-steps", "7", *args, prepare=stop_clock_of_second)
    assert (code, stdout) == (0, "a: stopped at --max-steps 7; train.py resumes from there\n")
    assert torch.load(expt.paths.previous, weights_only=True)["global_step"] == 6
    code, _, stderr = train_pair(expt, *args, prepare=stop_clock_of_second)
    assert code == 0, stderr
    expt.assert_same_run(uncut_pair)


def stop_clock_of_second(rank: int):
    if rank == 1:
        time.monotonic = lambda: 0.0


def test_resume_with_another_number_of_devices(make_expt, uncut):
    expt = make_expt()
    train_pair(expt, "--max-steps", "7")
    expt.train("--max-steps", "11")
    assert train_pair(expt)[0] == 0
    expt.assert_close_run(uncut)
    assert [s.devices for s in load_record(expt.paths.record).sessions] == [2, 1, 2]


@pytest.mark.parametrize("killed", [pytest.param(0, marks=pytest.mark.faults), 1])
def test_one_is_killed(make_expt, uncut_pair, killed):
    expt = make_expt()
    pair = Pair(expt)
    pair.first.wait_for("runs/a/val.csv")
    os.kill(pair.processes[killed].pid, signal.SIGKILL)
    assert pair.processes[killed].wait()[0] == -signal.SIGKILL
    code, stdout, stderr = pair.processes[1 - killed].wait()
    if killed == 0:
        assert (code, stdout, stderr) == (0, "", "")
    else:
        assert code == 1
        assert stderr.endswith("a: failed: one of 2 processes has ended; train.py resumes from the "
                               "last checkpoint\n")
        assert "Traceback" not in stderr
    assert load_record(expt.paths.record).state == ("failed" if killed else "running")
    code, _, stderr = train_pair(expt)
    assert code == 0, stderr
    expt.assert_same_run(uncut_pair)


@pytest.mark.parametrize("reached", [[1], [0, 1]])
def test_a_signal_ends_all_at_one_step(make_expt, reached):
    expt = make_expt({"epochs: 3": "epochs: 500"})
    pair = Pair(expt)
    pair.first.wait_for("runs/a/val.csv")
    for rank in reached:
        os.kill(pair.processes[rank].pid, signal.SIGUSR1)
    code, _, stderr = pair.wait()
    assert code == 128 + signal.SIGUSR1
    assert stderr.endswith("a: interrupted by SIGUSR1\n")
    session = load_record(expt.paths.record).sessions[-1]
    assert (session.exit, session.error) == ("interrupted", "SIGUSR1")
    last = torch.load(expt.paths.last, weights_only=True)
    assert last["global_step"] == session.steps_end >= 5


def test_the_next_run_is_trained_after_one_that_diverges(make_expt, uncut):
    expt = make_expt({"runs:\n": "runs:\n  diverging:\n    optim:\n      learning_rate: 1e30\n"
                      "      warmup_steps: 0\n"})
    code, stdout, stderr = train_pair(expt)
    best_r2 = load_record(uncut.paths.record).best.value
    assert (code, stdout) == (1, f"a: finished, best validation R² {best_r2:.3f}\n")
    assert "diverging: failed: the validation loss is nan at step 5\n" in stderr
    expt.assert_close_run(uncut)
    # Nothing is left to do, which the second one learns from the first.
    assert train_pair(expt, "a") == (0, "a: finished\n", "")


def test_lightning_starts_the_others(make_expt, uncut):
    expt = make_expt()
    command = [sys.executable, "train.py", "--device", "cpu", "--devices", "2"]
    done = subprocess.run(command, cwd=expt.path, capture_output=True, text=True, check=False)
    best_r2 = load_record(uncut.paths.record).best.value
    expected = f"a: finished, best validation R² {best_r2:.3f}\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert [line[:6] for line in done.stderr.splitlines()] == ["a: ste"] * 3
    expt.assert_close_run(uncut)


def test_a_run_that_others_train_is_refused(make_expt):
    expt = make_expt({"epochs: 3": "epochs: 500"})
    alone = Process(expt.path, ["--device", "cpu"], bool, name="alone-")
    alone.wait_for("runs/a/val.csv")
    second = Pair(expt)
    expected = "runs/a: another process is training this run\n"
    found = second.first.wait()
    os.kill(alone.pid, signal.SIGKILL)
    alone.wait()
    assert found == (2, "", expected)
    assert second.second.wait() == (0, "", "")


MISTAKES = """\
hparams.nt:9:17: optim.batch_size: expected a multiple of 4, since 4 devices share each batch \
equally; got 2
hparams.nt:14:20: train.num_val_crops: expected at least one for each of 4 devices, got 3
hparams.nt:15:21: train.num_test_crops: expected at least one for each of 4 devices, got 3
"""


@pytest.mark.parametrize("args", [[], ["--dry-run"]])
def test_what_devices_cannot_share(make_expt, args):
    expt = make_expt()
    code, stdout, stderr = expt.train("--device", "cpu", "--devices", "4", *args)
    assert (code, stdout, stderr) == (2, "", MISTAKES)
    assert not (expt.path / "runs").exists()


def test_only_runs_that_are_trained_must_be_shared(make_expt):
    expt = make_expt({"runs:\n": "runs:\n  odd:\n    optim:\n      batch_size: 3\n"})
    path = expt.path / "hparams.nt"
    assert check_experiment(path, num_devices=2, names=["a"]).runs
    with pytest.raises(HparamsError, match=r"hparams.nt:19:19: optim.batch_size: .*; got 3$"):
        check_experiment(path, num_devices=2)


def set_tasks(**variables: int) -> Callable[[], object]:
    names = {f"SLURM_{name}": str(value) for name, value in variables.items()}
    return lambda: os.environ.update(names, SLURM_JOB_NAME="train.py")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (
            set_tasks(NTASKS=1, PROCID=0, LOCALID=0, NODEID=0),
            "--devices 2: 2 processes share the work, but 1 were started",
        ),
        (
            set_tasks(NTASKS=3, NTASKS_PER_NODE=3, PROCID=0, LOCALID=0, NODEID=0),
            "--devices 2: 2 processes share the work, but 3 were started",
        ),
        (
            set_tasks(NTASKS=2, NTASKS_PER_NODE=1, NNODES=2, PROCID=0, LOCALID=0, NODEID=0),
            "--devices 2: You set `devices=2` in Lightning, but the number of tasks per node",
        ),
    ],
)
def test_srun_with_another_number(make_expt, prepare, message):
    code, _, stderr = make_expt().train("--device", "cpu", "--devices", "2", prepare=prepare)
    assert code == 2
    assert stderr.startswith(message)
    assert len(stderr.splitlines()) == 1


def test_too_few_gpus(monkeypatch, make_expt, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    expt = make_expt()
    assert run_command(["plan", str(expt.path), "--devices", "2"]) == 2
    assert capsys.readouterr().err == "--devices 2: torch finds 1 CUDA GPUs here\n"


def test_plan_of_what_each_device_does(make_expt, capsys):
    expt = make_expt()
    costs = []
    for num_devices in ("1", "2"):
        command = ["plan", str(expt.path), "--device", "cpu", "--devices", num_devices]
        assert run_command(command) == 0
        line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("1  a"))
        costs.append(re.search(r"15 +(\S+) +([\d.]+) (\w)(?: +)([\d.]+) kB", line).groups())
    (batch, _, _, memory), (shared_batch, _, _, shared_memory) = costs
    assert (batch, shared_batch) == ("2", "2×1")
    # Kernels are made by each.
    assert 0.5 < float(shared_memory) / float(memory) < 0.7
