"""The processes of one command, which train a model together, each on a device of its own.

All of them are started with the same command line: by Lightning, or by srun.  The first one reads,
writes, speaks and decides; the others wait for what it shares, and compute their part of it.
"""

import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy

from ..text.errors import UserError

FIRST_PID = "ATOMPAINT_VAE_FIRST_PID"
"""For the processes that Lightning starts; those of srun end by themselves if one of them does."""


class ProcessLost(Exception):
    """Another process has ended before its part was done."""


class Processes:
    """This process among those that train together; it need not be one of several.

    device:   "cpu" or "cuda"
    is_first: whether it is the one that decides
    raises:   UserError if another number of them has been started
    """

    def __init__(self, device: str, num_devices: int = 1):
        _quieten()
        self.device = device
        self.num_devices = num_devices
        self._group = None
        self._fabric = None
        if num_devices > 1:
            try:
                self._fabric = L.Fabric(accelerator=device, devices=num_devices, strategy="ddp")
                self._environment = self._fabric.strategy.cluster_environment
                num_started = self._environment.world_size()
                if num_started == num_devices:
                    self._environment.validate_settings(num_devices, num_nodes=1)
            except (RuntimeError, ValueError) as error:  # Lightning's, of how srun was called
                raise UserError(f"--devices {num_devices}: {error}") from error
            if num_started != num_devices:
                raise UserError(f"--devices {num_devices}: srun has started {num_started}")
        self.is_first = self._fabric is None or self._fabric.global_rank == 0
        if not self.is_first and FIRST_PID in os.environ:
            first_pid = int(os.environ[FIRST_PID])
            threading.Thread(target=_end_with, args=[first_pid], daemon=True).start()

    def make_strategy(self) -> DDPStrategy | str:
        """Return the strategy of Lightning's trainer."""
        # Buffers are the same everywhere, as they follow from sums over all processes; and in
        # validation, where they don't change, processes take different numbers of steps.
        return DDPStrategy(broadcast_buffers=False) if self._fabric else "auto"

    def share(self, what: Any = None) -> Any:
        """Return, in every process, what the first one gives; start the others if needed."""
        if self._fabric is None:
            return what
        with self.watch_for_loss():
            if self._group is None:
                if self.is_first:
                    os.environ[FIRST_PID] = str(os.getpid())
                self._fabric.launch()
                # On the CPU, where to wait for each other is not to wait for a GPU.
                self._group = dist.new_group(backend="gloo")
            box = [what]
            dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def find_largest(self, *numbers: int) -> list[int]:
        """Return, for each number, the largest that any process gave."""
        if self._fabric is None:
            return list(numbers)
        largest = torch.tensor(numbers)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self._group)
        return largest.tolist()

    def dismiss(self):
        """Tell the other processes that there is nothing more to train.

        If the first process ends in any other way, they notice that it is gone.
        """
        if self._fabric and (self._group or self._environment.creates_processes_externally):
            with suppress(ProcessLost):
                self.share(None)
                dist.destroy_process_group()

    @contextmanager
    def watch_for_loss(self) -> Iterator[None]:
        """Around what the processes do together.

        raises: ProcessLost where torch says in its own words that another one is gone
        """
        try:
            yield
        except RuntimeError as error:
            if not (self._fabric and (isinstance(error, dist.DistError) or "gloo" in str(error))):
                raise
            # Lightning's observer of these would kill this process before it has said why it ends.
            self._fabric.strategy.launcher.procs.clear()
            raise ProcessLost(f"one of {self.num_devices} processes has ended") from error


def _end_with(parent_pid: int):
    """End this process when its parent is gone, for which torch waits half an hour to join."""
    while os.getppid() == parent_pid:
        time.sleep(1)
    os._exit(1)


def _quieten():
    """Keep Lightning from saying what the user did not ask."""
    for library in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for message in (
        # One worker is enough: crops are cheap, and images are made on the device.
        ".*does not have many workers.*",
        # It is: the sampler starts at the step where training stopped.
        ".*your dataloader is not resumable.*",
        # Frozen parts of the model.
        ".*in eval mode at the start of training.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        # Metrics are logged by callbacks, on their own terms.
        ".*smaller than the logging interval.*",
        # Whoever asks for one device needs no srun, also where there is one.
        ".*`srun` command is available.*",
        # Its successor is not in all versions of torch that we run with.
        ".*`broadcast_buffers` is deprecated.*",
        # Lightning's own business with torch.
        ".*isinstance.treespec, LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message)
