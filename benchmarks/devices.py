"""Training steps of two processes with half of each batch, against one process with all of it.

Each measurement is a whole training by train.py, as a user starts it, with crops, images and
metrics.  The processes exchange gradients and statistics through gloo, and share the cores with the
processes that load crops.

Half a batch in one process is what each of the two computes.  What that takes longer than half the
time of a batch is work that both repeat, such as kernels and the optimiser's step; what the two
take longer than that is the exchange, and waiting for memory and for each other.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from atompaint_vae.config.hparams import dump_hparams
from atompaint_vae.config.schema import Hparams
from atompaint_vae.records.experiment import Experiment
from atompaint_vae.records.metrics import load_columns
from atompaint_vae.records.record import RunPaths

EXPERIMENT = Path(__file__).parents[1] / "expts" / "20241217_train_vae"
RUNS = ("2-layer-narrow", "2-layer-wide")
NUM_STEPS = 40
QUICK_NUM_STEPS = 20
"""The first ten are warm-up and are not counted."""

WAYS = {
    "2 processes, 1 thread each": (2, 1, 1),
    "1 process, 1 thread": (1, 1, 1),
    "1 process, 2 threads": (1, 2, 1),
    "1 process, 1 thread, half a batch": (1, 1, 2),
}
"""Processes, threads of each, and the number by which the batch is divided."""


def run(quick: bool) -> list[dict]:
    """Return rows for the time of a step, two processes against one.

    The ratio is 2 at best against one thread, and 1 against half a batch.
    """
    num_steps, num_turns = (QUICK_NUM_STEPS, 1) if quick else (NUM_STEPS, 3)
    names = RUNS[:1] if quick else RUNS
    return [row for name in names for row in _compare(name, num_steps, num_turns)]


def _compare(name: str, num_steps: int, num_turns: int) -> list[dict]:
    hparams = Experiment(EXPERIMENT).load_hparams()[name]
    train = hparams.train.model_copy(update={"epochs": 1, "steps_per_epoch": num_steps + 1})
    hparams = hparams.model_copy(update={"train": train})
    times_ms = {way: [] for way in WAYS}
    for _ in range(num_turns):
        for way, times in times_ms.items():
            times.append(_time_step_ms(name, hparams, num_steps, *WAYS[way]))
    (ours, ours_ms), *others = (
        (way, statistics.median(times)) for way, times in times_ms.items()
    )
    return [
        {
            "name": f"{name}, step of {hparams.optim.batch_size} crops: {ours}",
            "ours": ours_ms,
            "reference": other_ms,
            "reference_name": other,
            "ratio": other_ms / ours_ms,
            "unit": "ms",
            "n": num_turns,
        }
        for other, other_ms in others
    ]


def _time_step_ms(
    name: str, hparams: Hparams, num_steps: int, num_processes: int, num_threads: int, divisor: int
) -> float:
    """Return the mean time of a step in one training."""
    batch_size = hparams.optim.batch_size // divisor
    optim = hparams.optim.model_copy(update={"batch_size": batch_size})
    resolved = dump_hparams(hparams.model_copy(update={"optim": optim}))
    with tempfile.TemporaryDirectory() as folder:
        expt_dir = Path(folder) / EXPERIMENT.name
        expt_dir.mkdir()
        shutil.copy(EXPERIMENT / "train.py", expt_dir)
        text = f"runs:\n  {name}:\n{textwrap.indent(resolved, '    ')}"
        (expt_dir / "hparams.nt").write_text(text)
        subprocess.run(
            [sys.executable, "train.py", "--device", "cpu", "--devices", str(num_processes),
             "--max-steps", str(num_steps)],
            cwd=expt_dir, env=os.environ | {"OMP_NUM_THREADS": str(num_threads)}, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        rows = load_columns(RunPaths(expt_dir / "runs" / name).train_metrics)
        time_s = rows["elapsed_s"][-1] - rows["elapsed_s"][0]
        return 1e3 * time_s / (rows["step"][-1] - rows["step"][0])
