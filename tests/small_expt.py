"""Small experiments, trained in forked processes.

Importing torch and Lightning takes longer than these trainings; a forked process has them already.
"""

import importlib
import io
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from atompaint_vae.records.record import RunPaths, load_record

ROOT = Path(__file__).parents[1]
TRAIN_PY = ROOT / "expts" / "20241001_quick_start" / "train.py"
NUM_PROCESSES = 2

HPARAMS = """\
shared:
  data:
    size_voxels: 11
  model:
    layers:
      - 1xfourier1+2x0e
    latent: 2x0e+1x1e
  optim:
    batch_size: 2
    warmup_steps: 2
  train:
    epochs: 3
    steps_per_epoch: 5
    num_val_crops: 3
    num_test_crops: 3
runs:
  a:
"""


def run_train_py(expt_dir: Path):
    script = expt_dir / "train.py"
    exec(compile(script.read_text(), script, "exec"), {"__name__": "__main__", "__file__": script})


class Process:
    """A forked train.py, or another program, in its own process group.

    name:        prefix of the files for its output, if there are several processes
    num_loaders: number of processes that load the crops of each split; 0 loads them in this one
    """

    def __init__(
        self, expt_dir: Path, args: list[str], prepare: Callable[[], object],
        program: Callable[[Path], object] = run_train_py, name: str = "std", num_loaders: int = 0,
    ):  # fmt: skip
        self.expt_dir = expt_dir
        self.num_loaders = num_loaders
        self.stdout, self.stderr = expt_dir / f"{name}out.txt", expt_dir / f"{name}err.txt"
        self.pid = os.fork()
        if self.pid == 0:
            self._run(args, prepare, program)

    def _run(
        self, args: list[str], prepare: Callable[[], object], program: Callable[[Path], object]
    ):
        os.setpgid(0, 0)
        code = 1
        try:
            # As in a new process.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for number, path in ((1, self.stdout), (2, self.stderr)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
            os.chdir(self.expt_dir)
            self._limit_loaders()
            prepare()
            sys.argv = ["train.py", *args]
            sys.modules["__main__"].__spec__ = None  # or Lightning would start pytest again
            program(self.expt_dir)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _limit_loaders(self):
        from atompaint_vae.training.feed import CropFeed

        init = partialmethod(CropFeed.__init__, num_workers=self.num_loaders)
        CropFeed.__init__ = init

    def wait_for(self, path: str, timeout_s: float = 300):
        """Wait until the process has written a file."""
        end = time.monotonic() + timeout_s
        while not (self.expt_dir / path).exists():
            assert time.monotonic() < end, f"no {path} after {timeout_s} s"
            assert os.waitpid(self.pid, os.WNOHANG) == (0, 0), self.stderr.read_text()
            time.sleep(0.002)

    def kill(self):
        """Kill the process outright, with its children."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def wait(self, timeout_s: float = 300) -> tuple[int, str, str]:
        """Return the exit code, or minus the signal that killed it, and stdout and stderr.

        timeout_s: after this time, it is killed and the test fails
        """
        end = time.monotonic() + timeout_s
        while (ended := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > end:
                self.kill()
                pytest.fail(f"still there after {timeout_s} s: {self.stderr.read_text()}")
            time.sleep(0.005)
        code = os.waitstatus_to_exitcode(ended[1])
        return code, self.stdout.read_text(), self.stderr.read_text()


class SmallExpt:
    """An experiment's folder; `edits` replace text of hparams.nt."""

    num_loaders = 0

    def __init__(self, path: Path, edits: dict[str, str]):
        self.path = path
        path.mkdir(parents=True)
        shutil.copy(TRAIN_PY, path)
        (path / "hparams.nt").write_text(HPARAMS)
        self.edit(edits)

    def edit(self, edits: dict[str, str]):
        path = self.path / "hparams.nt"
        text = path.read_text()
        for old, new in edits.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    @property
    def paths(self) -> RunPaths:
        return self.get_paths("a")

    def get_paths(self, run: str) -> RunPaths:
        return RunPaths(self.path / "runs" / run)

    def start(
        self, *args: str, prepare: Callable[[], object] = bool,
        program: Callable[[Path], object] = run_train_py, name: str = "std",
    ) -> Process:  # fmt: skip
        """Start a process that trains, and return it; it calls `prepare` first.

        name: prefix of the files for its output, if there are several processes
        """
        return Process(self.path, [*args], prepare, program, name, self.num_loaders)

    def train(self, *args: str, prepare: Callable[[], object] = bool) -> tuple[int, str, str]:
        """Train, and return exit code, stdout and stderr."""
        return self.start(*args, prepare=prepare).wait()

    def assert_same_run(self, other: "SmallExpt", run: str = "a"):
        """Check that all numbers of a training are equal, to the last bit."""
        paths, expected = self.get_paths(run), other.get_paths(run)
        for name in ("train_metrics", "val_metrics", "test_metrics"):
            assert read_table(getattr(paths, name)) == read_table(getattr(expected, name)), name
        for name in ("last", "best"):
            state, expected_state = (
                torch.load(getattr(p, name), weights_only=True) for p in (paths, expected)
            )
            assert state["global_step"] == expected_state["global_step"]
            assert_same_tensors(state["state_dict"], expected_state["state_dict"])
            assert_same_tensors(state["optimizer_states"], expected_state["optimizer_states"])
        assert paths.reconstructions.exists() == expected.reconstructions.exists()
        if paths.reconstructions.exists():
            with np.load(paths.reconstructions) as a, np.load(expected.reconstructions) as b:
                assert sorted(a) == sorted(b)
                for key in a:
                    np.testing.assert_array_equal(a[key], b[key])
        record, expected_record = load_record(paths.record), load_record(expected.record)
        same = {"sessions": ()}
        assert record.model_copy(update=same) == expected_record.model_copy(update=same)

    def assert_close_run(self, other: "SmallExpt"):
        """The same but for float errors: sums in another order, through fifteen steps."""
        paths, others = self.paths, other.paths
        for name in ("train_metrics", "val_metrics", "test_metrics"):
            table, other = (pd.read_csv(getattr(p, name)) for p in (paths, others))
            numbers = other.columns.drop(["elapsed_s", "equivariance_error_90"], errors="ignore")
            # An R² near zero is a difference of numbers near one.
            pd.testing.assert_frame_equal(table[numbers], other[numbers], rtol=1e-4, atol=1e-5)
        for name in ("last", "best"):
            state, other = (
                torch.load(getattr(p, name), weights_only=True) for p in (paths, others)
            )
            assert state["global_step"] == other["global_step"]
            weights, expected = state["state_dict"], other["state_dict"]
            torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-5)
        with np.load(paths.reconstructions) as arrays, np.load(others.reconstructions) as other:
            assert list(arrays["sample_index"]) == list(other["sample_index"])
            np.testing.assert_array_equal(arrays["image"], other["image"])
            np.testing.assert_allclose(arrays["r2"], other["r2"], rtol=1e-3, atol=1e-4)
        record, other = load_record(paths.record), load_record(others.record)
        assert record.best.value == pytest.approx(other.best.value, rel=1e-4, abs=1e-6)
        same = {"sessions": (), "best": None}
        assert record.model_copy(update=same) == other.model_copy(update=same)


class Pair:
    """Two processes of train.py, started at once: as by srun, or by hand on two nodes.

    devices: of each node; Lightning starts the others of two nodes
    """

    def __init__(
        self, expt: SmallExpt, *args: str,
        prepare: Callable[[int], object] = lambda rank: None,
        nodes: int = 1, devices: int | None = None,
    ):  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.nodes = nodes
        devices = devices or NUM_PROCESSES // nodes
        self.processes = [
            Process(
                expt.path,
                [*args, "--device=cpu", f"--nodes={nodes}", f"--devices={devices}"],
                lambda rank=rank: (self._join(rank), prepare(rank)),
                name=f"rank{rank}-std",
                num_loaders=expt.num_loaders,
            )
            for rank in range(NUM_PROCESSES)
        ]
        self.first, self.second = self.processes

    def _join(self, rank: int):
        torch.set_num_threads(1)
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(self.port))
        if self.nodes > 1:
            os.environ.update(NODE_RANK=str(rank))
        else:
            os.environ.update(NODE_RANK="0", LOCAL_RANK=str(rank), WORLD_SIZE=str(NUM_PROCESSES))

    def describe_node(self, rank: int) -> str:
        """Return what a node says when it begins, "" if there is only one."""
        waits = f"node {rank} of {self.nodes}: waits for the others at 127.0.0.1:{self.port}\n"
        return waits * (self.nodes > 1)

    def wait(self) -> tuple[int, str, str]:
        """Return the first's result; check that the second ends silently with exit code 0."""
        try:
            assert self.second.wait() == (0, "", self.describe_node(1))
        except BaseException:
            self.first.kill()
            raise
        return self.first.wait()


def train_pair(expt: SmallExpt, *args: str, **options) -> tuple[int, str, str]:
    return Pair(expt, *args, **options).wait()


def read_table(path: Path) -> str:
    """Return a table as it is on disk, without the elapsed time."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table.drop(columns="elapsed_s", errors="ignore").to_csv()


def assert_same_tensors(found, expected):
    buffers = io.BytesIO(), io.BytesIO()
    for buffer, value in zip(buffers, (found, expected), strict=True):
        torch.save(value, buffer)
    assert buffers[0].getvalue() == buffers[1].getvalue()


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """Import, open and tabulate what train.py needs, so that forked processes have it."""
    from atompaint_vae.config.hparams import load_hparams

    for module in ("atompaint_vae.training.launch", "torch.utils.tensorboard"):
        importlib.import_module(module)
    from atompaint_vae.training.feed import CropFeed
    from atompaint_vae.training.plan import make_plan

    expt = SmallExpt(tmp_path_factory.mktemp("warm") / "20240101_x", {})
    hparams = load_hparams(expt.path / "hparams.nt")["a"]
    CropFeed(hparams, expt.path).calc_image_std()
    make_plan(hparams)


@pytest.fixture(scope="session")
def few_structures(tmp_path_factory) -> Path:
    """Write a set of the smallest structure of each split, which is fast to read."""
    from atompaint_vae.data.sets.sources import find_atoms_path
    from atompaint_vae.data.structures.table import load_atoms, write_atoms

    path = tmp_path_factory.mktemp("sets") / "few.parquet"
    table = pd.read_csv(find_atoms_path("starter").with_name("structures.csv"))
    table = table.sort_values("num_atoms").groupby("split").head(1)
    atoms = load_atoms(find_atoms_path("starter"))
    write_atoms(atoms[atoms["structure"].isin(table["pdb_id"])], path)
    table.to_csv(path.with_name("few.structures.csv"), index=False)
    return path


@pytest.fixture(scope="session")
def make_expt(tmp_path_factory, warm):
    def make(edits: dict[str, str] | None = None, *, inside: str = "") -> SmallExpt:
        folder = tmp_path_factory.mktemp("notebook") / inside
        return SmallExpt(folder / "20240101_x", edits or {})

    return make


@pytest.fixture(scope="session")
def uncut(make_expt):
    """A finished run; tests may only read it."""
    expt = make_expt()
    code, _, stderr = expt.train()
    assert code == 0, stderr
    return expt


@pytest.fixture(scope="session")
def uncut_pair(make_expt):
    """A run finished by two processes; tests may only read it."""
    expt = make_expt()
    code, _, stderr = train_pair(expt)
    assert code == 0, stderr
    return expt
