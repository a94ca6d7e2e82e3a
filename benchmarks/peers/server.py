"""Build one library's networks and time their training steps, in a process of its own.

Usage:
    python -m benchmarks.peers.server <library>

Reads JSON requests from the standard input, one per line, and answers each with a line of JSON:

    {"do": "build", "case": {...}}  ->  construct_s, num_parameters
    {"do": "measure_memory"}        ->  saved_MB, peak_MB
    {"do": "step", "num_steps": 1}  ->  time_ms

The environments of other libraries run it too, so it imports no package but torch.  Cases are those
of `cases.py`, as `dump_case` returns them.
"""

import ctypes
import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

import torch

from .cases import load_case

MEMORY_STATUS = Path("/proc/self/status")
"""Linux reports the memory of a process here; on other systems, peak memory is not measured."""


class Trainer:
    """Holds one case at a time: its network, inputs and optimizer."""

    def __init__(self, library: str):
        self.library = importlib.import_module(f"benchmarks.peers.{library}")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = None

    def build(self, case: dict) -> dict:
        self.network = self.optimizer = self.inputs = self.cotangent = None
        self._trim()
        self.memory_before_MB = self._read_memory_MB("VmRSS")
        self.case = load_case(case)
        torch.manual_seed(0)
        start_s = time.perf_counter()
        network = self.library.build(self.case)
        construct_s = time.perf_counter() - start_s
        self.network = network.to(self.device).train()
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        # A leaf there: otherwise the backward pass would copy its gradient to the CPU.
        self.inputs = [
            x.detach().to(self.device).requires_grad_(x.requires_grad)
            for x in network.make_inputs()
        ]
        return {
            "construct_s": construct_s,
            "num_parameters": sum(parameter.numel() for parameter in network.parameters()),
        }

    def step(self, num_steps: int = 1) -> dict:
        """Measure the mean time of steps; a GPU is waited for only before and after them."""
        self._synchronize()
        start_s = time.perf_counter()
        for _ in range(num_steps):
            self._step()
        self._synchronize()
        return {"time_ms": 1e3 * (time.perf_counter() - start_s) / num_steps}

    def measure_memory(self) -> dict:
        """Measure the memory of a step.

        saved_MB: what the forward pass saves for the backward pass, without parameters
        peak_MB:  the peak during training, minus the memory before the network was built
        """
        self._trim()
        self._reset_peak()
        saved: dict[int, torch.Tensor] = {}

        def pack(tensor):
            # Keeps the tensors alive, so that no address is reused within the step.
            saved[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        self._step()
        peak_MB = self._read_peak_MB()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self._forward()
        for tensor in [*self.network.parameters(), *self.network.buffers()]:
            saved.pop(tensor.untyped_storage().data_ptr(), None)
        saved_bytes = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
        return {"saved_MB": saved_bytes / 1e6, "peak_MB": peak_MB}

    def _forward(self) -> torch.Tensor:
        is_reduced = self.case.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_reduced):
            return self.network(*self.inputs)

    def _step(self):
        self.optimizer.zero_grad(set_to_none=True)
        for x in self.inputs:
            x.grad = None
        output = self._forward()
        if self.cotangent is None:
            self.cotangent = torch.ones_like(output)
        output.backward(self.cotangent)
        self.optimizer.step()

    def _synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _trim(self):
        """Return freed memory to the system, so that it doesn't count as used."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif MEMORY_STATUS.exists():
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)

    def _reset_peak(self):
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        elif MEMORY_STATUS.exists():
            # See proc(5): "5" resets the peak to the current resident size.
            Path("/proc/self/clear_refs").write_text("5")

    def _read_peak_MB(self) -> float | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 1e6
        if not MEMORY_STATUS.exists():
            return None
        return self._read_memory_MB("VmHWM") - self.memory_before_MB

    def _read_memory_MB(self, key: str) -> float:
        if not MEMORY_STATUS.exists():
            return 0.0
        lines = dict(line.split(":", 1) for line in MEMORY_STATUS.read_text().splitlines())
        return int(lines[key].split()[0]) * 1024 / 1e6


def main():
    # Answers go to the original stdout; whatever a library prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    trainer = Trainer(sys.argv[1])
    print(json.dumps({"torch": torch.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(trainer, request.pop("do"))(**request)
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
