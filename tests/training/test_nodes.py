"""Processes on two nodes, which are this machine twice, train what as many on one node do."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from small_expt import Pair, train_pair

from atompaint_vae.records.record import load_record


def read_nothing(rank: int):
    """Keep the second node from reading the run's folder, where it may find older files."""
    from atompaint_vae.training import checkpoints, evaluate

    def fail(*args):
        raise AssertionError(f"reads {args}")

    if rank == 1:
        checkpoints.load_checkpoint = evaluate.find_best_validation = fail


def test_two_nodes_train_what_one_does(make_expt, uncut_pair):
    expt = make_expt()
    for nodes, stop in [(2, ["--max-steps", "7"]), (1, ["--max-steps", "11"]), (2, [])]:
        code, _, stderr = train_pair(expt, *stop, nodes=nodes, prepare=read_nothing)
        assert code == 0, stderr
    expt.assert_same_run(uncut_pair)
    sessions = load_record(expt.paths.record).sessions
    assert [(s.devices, s.nodes) for s in sessions] == [(2, 2), (2, 1), (2, 2)]
    # Nothing is left to do, which the second node learns from the first.
    assert train_pair(expt, nodes=2)[:2] == (0, "a: finished\n")


LOST = "one of 2 processes has ended"


@pytest.mark.parametrize("killed", [0, 1])
def test_a_node_is_killed(make_expt, killed):
    expt = make_expt({"epochs: 3": "epochs: 500"})
    pair = Pair(expt, nodes=2)
    pair.first.wait_for("runs/a/val.csv")
    os.kill(pair.processes[killed].pid, signal.SIGKILL)
    pair.processes[killed].wait()
    code, _, stderr = pair.processes[1 - killed].wait()
    said = [
        f"a: failed: {LOST}; train.py resumes from the last checkpoint",
        f"{LOST}; see node 0",
    ]
    assert (code, stderr.splitlines()[-1]) == (1, said[1 - killed])
    assert "Traceback" not in stderr


def test_a_signal_to_the_second_node(make_expt):
    expt = make_expt({"epochs: 3": "epochs: 500"})
    pair = Pair(expt, nodes=2)
    pair.first.wait_for("runs/a/val.csv")
    os.kill(pair.second.pid, signal.SIGTERM)
    code, _, stderr = pair.first.wait()
    assert code == 128 + signal.SIGTERM
    assert stderr.endswith("a: interrupted by SIGTERM\n")
    assert pair.second.wait() == (1, "", f"{pair.describe_node(1)}{LOST}; see node 0\n")


def test_a_mistake_on_the_first_node(make_expt):
    pair = Pair(make_expt(), "b", nodes=2)
    said = f"{pair.describe_node(0)}run 'b' is unknown; known: a\n"
    assert pair.first.wait() == (2, "", said)
    assert pair.second.wait() == (1, "", f"{pair.describe_node(1)}{LOST}; see node 0\n")


HOW = (
    "start train.py on each node with MASTER_ADDR and MASTER_PORT of the first and NODE_RANK from "
    "0 to 1, or by srun or torchrun, or use --slurm"
)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, f"--nodes 2: MASTER_ADDR isn't set; {HOW}"),
        (
            {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
            f"--nodes 2: NODE_RANK isn't set; {HOW}",
        ),
        ({"NODE_RANK": "2"}, "NODE_RANK: expected 0 to 1; got 2"),
        (
            {"MASTER_ADDR": "no.host.invalid", "MASTER_PORT": "29500", "NODE_RANK": "1"},
            "MASTER_ADDR=no.host.invalid, MASTER_PORT=29500: name or service not known",
        ),
    ],
)
def test_nodes_that_cannot_meet(make_expt, variables, message):
    args = ["--device", "cpu", "--nodes", "2"]
    found = make_expt().train(*args, prepare=lambda: os.environ.update(variables))
    assert found == (2, "", message + "\n")


def test_a_rank_without_nodes(make_expt):
    args = ["--device", "cpu", "--devices", "2"]
    found = make_expt().train(*args, prepare=lambda: os.environ.update(NODE_RANK="1"))
    assert found == (2, "", "NODE_RANK: expected 0, since --nodes is 1; got 1\n")


def test_a_port_that_is_taken(make_expt):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0"}
        code, _, stderr = make_expt().train(
            "--device", "cpu", "--nodes", "2", prepare=lambda: os.environ.update(variables))
    assert code == 2
    _, reason = stderr.splitlines()
    assert reason.startswith("--nodes 2 --devices 1: the processes can't meet: ")
    assert reason.endswith("address already in use")


EDITS = {"batch_size: 2": "batch_size: 4", "num_val_crops: 3": "num_val_crops: 5",
         "num_test_crops: 3": "num_test_crops: 5"}  # fmt: skip


def test_lightning_starts_the_others_of_each_node(make_expt):
    edits = EDITS | {"epochs: 3": "epochs: 1", "steps_per_epoch: 5": "steps_per_epoch: 10"}
    one, two = make_expt(edits), make_expt(edits)
    assert one.train()[0] == 0
    code, _, stderr = train_pair(two, nodes=2, devices=2)
    assert code == 0, stderr
    two.assert_close_run(one)
    assert [(s.devices, s.nodes) for s in load_record(two.paths.record).sessions] == [(4, 2)]


@pytest.mark.faults
def test_a_process_that_lightning_started_is_killed(make_expt):
    expt = make_expt(EDITS | {"epochs: 3": "epochs: 500"})
    pair = Pair(expt, nodes=2, devices=2)
    pair.first.wait_for("runs/a/val.csv")
    children = [
        int(subprocess.check_output(["pgrep", "-o", "-P", str(x.pid), "-f", "train.py"]))
        for x in pair.processes
    ]
    os.kill(children[1], signal.SIGKILL)
    code, _, stderr = pair.first.wait()
    assert code == 1
    assert "a: failed: one of 4 processes has ended; train.py resumes" in stderr
    # Lightning may have killed it before it could speak.
    assert pair.second.wait()[0] in (1, -signal.SIGKILL)
    end = time.monotonic() + 30
    while Path(f"/proc/{children[0]}").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
