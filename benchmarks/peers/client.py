"""Processes of several libraries, whose training steps are timed in turns."""

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

PYTHONS = {"ours": sys.executable, "unconstrained": sys.executable, "with_escnn": PEERS_PYTHON}
LABELS = {"unconstrained": "torch, unconstrained", "with_escnn": "escnn"}

NUM_WARMUP_STEPS = 2


@dataclass
class Measurement:
    """Of one library.  times_ms are of single steps; the memory is described in `server.py`."""

    construct_s: float
    saved_MB: float
    peak_MB: float | None
    times_ms: list[float]

    @property
    def time_ms(self) -> float:
        return statistics.median(self.times_ms)


class PeerError(RuntimeError):
    """A library failed at what it was asked for."""


class Server:
    """The process of one library."""

    def __init__(self, library: str):
        self.library = library
        command = [PYTHONS[library], "-m", "benchmarks.peers.server", library]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def build(self, case: Case) -> dict:
        """What the server says of a network that it makes."""
        return self.ask("build", case=dump_case(case))

    def ask(self, do: str, **arguments) -> dict:
        """raises: PeerError with the library's traceback"""
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        return self.read_answer()

    def read_answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"{self.library}: its process ended, with code {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.library}:\n{answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Servers:
    """The processes of several libraries; a context that ends them."""

    def __init__(self, libraries: Sequence[str]):
        self.libraries = libraries

    def __enter__(self) -> "Servers":
        self.stack = ExitStack()
        self.servers = {}
        for library in self.libraries:
            server = Server(library)
            self.stack.callback(server.close)
            self.servers[library] = server
            # Importing is over before the next one starts, and before anything is timed.
            server.read_answer()
        return self

    def __exit__(self, *exception):
        self.stack.close()

    def measure(
        self, case: Case, *, num_repeats: int, cases: dict[str, Case] | None = None
    ) -> dict[str, Measurement]:
        """What each library took; one step of each, in turns.

        cases: for libraries that get another case
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
                measurements[library].times_ms.append(server.ask("step")["time_ms"])
        return measurements


def list_libraries() -> list[str]:
    """Those that are set up.  Names the others on the standard error."""
    libraries = ["ours", "unconstrained"]
    if os.access(PEERS_PYTHON, os.X_OK):
        libraries.append("with_escnn")
    else:
        print("escnn is not set up (`make bench-peers`); its rows are left out", file=sys.stderr)
    return libraries


def make_rows(name: str, measurements: dict[str, Measurement]) -> list[dict]:
    """Of time, memory saved for the backward pass and peak memory, against each other library."""
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
    """Of a quantity of which less is better."""
    return {
        "name": name,
        "ours": ours,
        "reference": reference,
        "reference_name": reference_name,
        "ratio": reference / ours,
        "unit": unit,
        "n": n,
    }
