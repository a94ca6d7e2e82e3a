"""A Slurm of one node on this machine."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import SubmittedExpt, run, wait_until

LOCAL_SLURM = Path(__file__).with_name("local_slurm.sh")
PORT = 16817


@pytest.fixture(scope="session", autouse=True)
def slurm(tmp_path_factory):
    """A Slurm that is started for these tests."""
    for program in ("slurmctld", "slurmd", "sbatch", "munge"):
        if not shutil.which(program):
            pytest.skip(f"{program} isn't installed; on Debian: apt-get install slurm-wlm munge")
    if os.geteuid():
        pytest.skip("only root can start Slurm")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([LOCAL_SLURM, "start", folder, str(PORT)], check=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield
    run("scancel", "--user=root")
    wait_until(lambda: not run("squeue", "--noheader"), "the queue is empty")
    subprocess.run([LOCAL_SLURM, "stop", folder], check=True)
    del os.environ["SLURM_CONF"]


@pytest.fixture(scope="session")
def make_submitted(tmp_path_factory):
    def make(settings: str = "") -> SubmittedExpt:
        return SubmittedExpt(tmp_path_factory.mktemp("a notebook"), settings)

    return make


@pytest.fixture(scope="session")
def undisturbed(make_submitted, imported):
    """Both runs, trained without Slurm, and never disturbed; tests may only read them."""
    expt = make_submitted()
    code, _, stderr = expt.train()
    assert code == 0, stderr
    return expt
