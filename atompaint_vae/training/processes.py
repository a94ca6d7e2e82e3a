"""The processes of one command, which train a model together, each on a device of its own.

All of them are started with the same command line: by Lightning, or by srun.  The first one reads,
writes, speaks and decides; the others wait for what it shares, and compute their part of it.
"""

import logging
import os
import socket
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

from ..text.errors import UserError, say

PARENT_PID = "ATOMPAINT_VAE_PARENT_PID"
"""For the processes that Lightning starts; those of srun end by themselves if one of them does."""

MEETING_POINT = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
"""Variables that tell Lightning about several nodes, unless a launcher does."""


class ProcessLost(Exception):
    """Another process has ended before its part was done."""


class Processes:
    """This process among those that train together; it need not be one of several.

    device:      "cpu" or "cuda"
    num_devices: of each node
    num_all:     processes on all nodes
    is_first:    whether it is the one that decides
    leads_node:  whether it was started by hand, to start the others of its node
    raises:      UserError if another number of them has been started, or they can't meet
    """

    def __init__(self, device: str, num_devices: int = 1, num_nodes: int = 1):
        _quieten()
        self.device = device
        self.num_devices = num_devices
        self.num_nodes = num_nodes
        self.num_all = num_devices * num_nodes
        self.is_first = self.leads_node = True
        self._group = None
        self._fabric = None
        if self.num_all > 1:
            self._find_others()

    def _find_others(self):
        options = f"--nodes {self.num_nodes} " * (self.num_nodes > 1)
        self._options = f"{options}--devices {self.num_devices}"
        try:
            self._fabric = L.Fabric(
                accelerator=self.device,
                devices=self.num_devices,
                num_nodes=self.num_nodes,
                strategy="ddp",
            )
            environment = self._fabric.strategy.cluster_environment
            num_started = environment.world_size()
            if num_started == self.num_all:
                environment.validate_settings(self.num_devices, self.num_nodes)
        except (RuntimeError, ValueError) as error:  # Lightning's, of how srun was called
            raise UserError(f"{self._options}: {error}") from error
        if num_started != self.num_all:
            raise UserError(
                f"{self._options}: {self.num_all} processes share the work, but {num_started} "
                "were started"
            )
        self.is_first = self._fabric.global_rank == 0
        self.leads_node = not environment.creates_processes_externally
        if self.leads_node:
            _check_meeting_point(self.num_nodes)
        elif PARENT_PID in os.environ:
            parent_pid = int(os.environ[PARENT_PID])
            threading.Thread(target=_end_with, args=[parent_pid], daemon=True).start()
        if self.num_nodes > 1 or not self.leads_node:
            # At once, so that whatever happens to one of them, the others notice.
            self._meet()

    def _meet(self):
        """Start the other processes of this node if it leads them, and wait for all.

        raises: UserError if they don't come
        """
        os.environ[PARENT_PID] = str(os.getpid())
        try:
            self._fabric.launch()
            # On the CPU, where to wait for each other is not to wait for a GPU.
            self._group = dist.new_group(backend="gloo")
        except RuntimeError as error:
            if not _is_of_others(error):
                raise
            reason = str(error).partition("\n")[0]
            raise UserError(f"{self._options}: the processes can't meet: {reason}") from error

    def make_strategy(self) -> DDPStrategy | str:
        """Return the strategy of Lightning's trainer."""
        # Buffers are the same everywhere, as they follow from sums over all processes; and in
        # validation, where they don't change, processes take different numbers of steps.
        return DDPStrategy(broadcast_buffers=False) if self._fabric else "auto"

    def share(self, what: Any = None) -> Any:
        """Return, in every process, what the first one gives; start the others if needed."""
        if self._fabric is None:
            return what
        if self._group is None:
            self._meet()
        with self.watch_for_loss():
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
        if self._group:
            with suppress(ProcessLost):
                self.share(None)
                dist.destroy_process_group()

    @contextmanager
    def watch_for_loss(self) -> Iterator[None]:
        """Around what the processes do together.

        raises: ProcessLost if another one is gone
        """
        try:
            yield
        except RuntimeError as error:
            if not (self._fabric and _is_of_others(error)):
                raise
            # Lightning's observer of these would kill this process before it has said why it ends.
            self._fabric.strategy.launcher.procs.clear()
            raise ProcessLost(f"one of {self.num_all} processes has ended") from error


def _is_of_others(error: RuntimeError) -> bool:
    """Return whether torch says in its own words that it can't reach another process."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def _check_meeting_point(num_nodes: int):
    """Check what Lightning is told about several nodes, and say what this one waits for.

    raises: UserError
    """
    node = int(os.environ.get("NODE_RANK", "0"))
    if not 0 <= node < num_nodes:
        known = f"0 to {num_nodes - 1}" if num_nodes > 1 else "0, since --nodes is 1"
        raise UserError(f"NODE_RANK: expected {known}; got {node}")
    if num_nodes == 1:
        return
    if missing := [name for name in MEETING_POINT if name not in os.environ]:
        raise UserError(
            f"--nodes {num_nodes}: {missing[0]} isn't set; start train.py on each node with "
            f"MASTER_ADDR and MASTER_PORT of the first and NODE_RANK from 0 to {num_nodes - 1}, "
            "or by srun or torchrun, or use --slurm"
        )
    address, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    try:
        socket.getaddrinfo(address, port)
    except OSError as error:
        raise UserError(
            f"MASTER_ADDR={address}, MASTER_PORT={port}: {error.strerror.lower()}"
        ) from error
    say(f"node {node} of {num_nodes}: waits for the others at {address}:{port}", 0)


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
