"""A Slurm of two nodes on this machine."""

import os
import random
import shutil
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster import SubmittedExpt

LOCAL_SLURM = Path(__file__).with_name("local_slurm.sh")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
# Below those that systems give to whoever asks for any.
PORTS = range(10_000, 32_000)


def find_port() -> int:
    """A port that is free, as the next two are."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with ExitStack() as stack:
            try:
                for i in range(3):
                    stack.enter_context(socket.socket()).bind(("", port + i))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session", autouse=True)
def slurm(tmp_path_factory):
    """A Slurm that is started for these tests, and ends when they do, in whatever way."""
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        pytest.skip(f"no {', '.join(missing)}; on Debian: apt-get install slurm-wlm munge")
    if os.geteuid():
        pytest.skip("only root can start Slurm")
    folder = tmp_path_factory.mktemp("slurm")
    # In a session of its own, so that Ctrl-C reaches the tests alone; its input ends with us.
    process = subprocess.Popen(
        [LOCAL_SLURM, folder, str(find_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout.readline() == b"ready\n", (folder / "output.log").read_text()
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield
    process.stdin.close()
    process.wait()
    del os.environ["SLURM_CONF"]


@pytest.fixture(scope="session")
def make_submitted(tmp_path_factory):
    def make(settings: str = "") -> SubmittedExpt:
        return SubmittedExpt(tmp_path_factory.mktemp("a notebook"), settings)

    return make


@pytest.fixture(scope="session")
def undisturbed(make_submitted, warm):
    """Both runs, trained without Slurm, and never disturbed; tests may only read them."""
    expt = make_submitted()
    code, _, stderr = expt.train()
    assert code == 0, stderr
    return expt
