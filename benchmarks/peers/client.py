"""Run several libraries, each in its own process, and time their training steps in turns."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .cases import Case, dump_case

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"

LIBRARIES = ("ours", "unconstrained")
"""Those that need no environment of their own."""

PYTHONS = {"ours": sys.executable, "unconstrained": sys.executable, "with_escnn": PEERS_PYTHON}
LABELS = {"unconstrained": "torch, unconstrained", "with_escnn": "escnn"}

NUM_WARMUP_STEPS = 2


@dataclass
class Measurement:
    """What one library took.

    times_ms: one value per training step
    saved_MB, peak_MB: as `Trainer.measure_memory` in `server.py` defines them
    """

    construct_s: float
    saved_MB: float
    peak_MB: float | None
    times_ms: list[float]

    @property
    def time_ms(self) -> float:
        return statistics.median(self.times_ms)


class PeerError(RuntimeError):
    """A library failed to answer a request."""


class Server:
    """The process that runs one library."""

    def __init__(self, library: str):
        self.library = library
        command = [PYTHONS[library], "-m", "benchmarks.peers.server", library]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def build(self, case: Case) -> dict:
        """Return what the server reports about the network that it builds."""
        return self.ask("build", case=dump_case(case))

    def ask(self, do: str, **arguments) -> dict:
        """Return the answer to one request; raises: PeerError with the library's traceback."""
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        return self.read_answer()

    def read_answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise PeerError(f"{self.library}: its process ended with exit code {code}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.library}:\n{answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Servers:
    """The processes of several libraries, as a context manager that ends them."""

    def __init__(self, libraries: Sequence[str]):
        self.libraries = libraries

    def __enter__(self) -> "Servers":
        self.stack = ExitStack()
        self.servers = {}
        for library in self.libraries:
            server = Server(library)
            self.stack.callback(server.close)
            self.servers[library] = server
            # Wait until its imports are done, so that they slow down no other process or timing.
            server.read_answer()
        return self

    def __exit__(self, *exception):
        self.stack.close()

    def measure(
        self,
        case: Case,
        *,
        num_repeats: int,
        cases: dict[str, Case] | None = None,
        num_steps: int = 1,
    ) -> dict[str, Measurement]:
        """Return what each library took; the libraries take turns.

        cases:     overrides `case` for some libraries
        num_steps: in each turn
        """
        measurements = {}
        for library, server in self.servers.items():
            construct_s = server.build((cases or {}).get(library, case))["construct_s"]
            for _ in range(NUM_WARMUP_STEPS):
                server.ask("step")
            memory = server.ask("measure_memory")
            measurements[library] = Measurement(construct_s, times_ms=[], **memory)
        for _ in range(num_repeats):
            for library, server in self.servers.items():
                time_ms = server.ask("step", num_steps=num_steps)["time_ms"]
                measurements[library].times_ms.append(time_ms)
        return measurements


def check_peer(name: str, python: Path) -> bool:
    """Return whether another library is installed; if not, say on stderr how to install it.

    python: the interpreter of the library's virtual environment
    """
    # make writes `ready` last; without it, the installation failed or was interrupted.
    if os.access(python, os.X_OK) and (python.parents[1] / "ready").exists():
        return True
    print(f"{name} is left out: it is not installed; run `make bench-peers`", file=sys.stderr)
    return False


def list_libraries() -> list[str]:
    """Return the libraries that can be measured here."""
    return [*LIBRARIES, *(["with_escnn"] if check_peer("escnn", PEERS_PYTHON) else [])]


def make_rows(name: str, measurements: dict[str, Measurement]) -> list[dict]:
    """Return rows that compare time, memory saved for the backward pass and peak memory with each
    other library."""
    ours = measurements["ours"]
    rows = []
    for library, label in LABELS.items():
        if library not in measurements:
            continue
        theirs = measurements[library]
        n = len(ours.times_ms)
        rows.append(make_row(name, ours.time_ms, theirs.time_ms, label, unit="ms", n=n))
        for what, attribute in (("saved for backward", "saved_MB"), ("peak memory", "peak_MB")):
            values = getattr(ours, attribute), getattr(theirs, attribute)
            if None not in values:
                rows.append(make_row(f"{name}: {what}", *values, label, unit="MB", n=1))
    return rows


def make_row(
    name: str, ours: float, reference: float, reference_name: str, *, unit: str, n: int
) -> dict:
    """Return the row of a quantity for which less is better."""
    return {
        "name": name,
        "ours": ours,
        "reference": reference,
        "reference_name": reference_name,
        "ratio": reference / ours,
        "unit": unit,
        "n": n,
    }
