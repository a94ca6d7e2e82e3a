"""Checkpoints: a run resumes from them exactly, wherever it was interrupted."""

import hashlib
import io
import math
import signal
import sys
import time
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..records.record import RunPaths
from ..records.validations import find_best_validation
from ..text.errors import UserError
from ..text.files import write_atomic
from .module import TrainingModule
from .processes import Processes
from .signals import Interrupted, InterruptedBySignal, SignalWatch


class StepsReached(Interrupted):
    """The run has reached --max-steps."""


class Pruned(Exception):
    """A search ended the run early."""


class Diverged(Exception):
    """A loss or a weight became NaN or infinite."""


def load_checkpoint(path: Path) -> dict:
    """Return a checkpoint, on the CPU, without running code that it may contain.

    raises: UserError if it can't be read, or its hash is wrong
    """
    reason = "no checkpoint, or a damaged one"
    try:
        content = path.read_bytes()
        if _is_whole(content):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    except Exception:  # of many classes; their texts advise to run the code in the file
        pass
    run = path.parents[1].name
    hint = f"train.py --restart {run} trains it from scratch"
    raise UserError(f"{path}: can't be read: {reason}; {hint}")


def load_newest_checkpoint(paths: RunPaths) -> dict | None:
    """Return the last checkpoint, or the previous one, which then becomes the last; or None.

    raises: UserError if no existing one can be read
    """
    try:
        if paths.last.exists():
            return load_checkpoint(paths.last)
    except UserError:
        if not paths.previous.exists():
            raise
        checkpoint = load_checkpoint(paths.previous)
        step = f"step {checkpoint['global_step']}"
        print(f"{paths.last}: damaged; resumes from the previous one, {step}", file=sys.stderr)
    if not paths.previous.exists():
        return None
    paths.previous.replace(paths.last)
    return load_checkpoint(paths.last)


def load_best_checkpoint(paths: RunPaths) -> dict:
    """Return the checkpoint of the best validation; if it is damaged, restore it from its copy.

    raises: UserError if neither can be read
    """
    try:
        return load_checkpoint(paths.best)
    except UserError:
        if not paths.best_copy.exists():
            raise
        checkpoint = load_checkpoint(paths.best_copy)
        write_atomic(paths.best, paths.best_copy.read_bytes())
        print(f"{paths.best}: damaged; restored from its copy", file=sys.stderr)
        return checkpoint


HASH_PREFIX = b"sha256:"
HASH_LENGTH = len(HASH_PREFIX) + 2 * hashlib.sha256().digest_size


def _calc_hash(content) -> bytes:
    return HASH_PREFIX + hashlib.sha256(content).hexdigest().encode()


def _append_hash(archive: io.BytesIO):
    """Append the hash of the content, as a ZIP comment, which torch and other readers ignore.

    The two bytes before a comment are its length.
    """
    archive.seek(-2, io.SEEK_END)
    archive.write(HASH_LENGTH.to_bytes(2, "little"))
    archive.write(_calc_hash(archive.getbuffer()))


def _is_whole(content: bytes) -> bool:
    view = memoryview(content)
    return view[-HASH_LENGTH:] == _calc_hash(view[:-HASH_LENGTH])


def remove_leftovers(paths: RunPaths):
    """Remove temporary files of killed processes; call under the lock."""
    for folder in (paths.run_dir, paths.checkpoints):
        for path in folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def _convert_old_callbacks(checkpoint: dict) -> dict:
    """Return a checkpoint as it is written now, from one of before there were several kinds."""
    callbacks = checkpoint["callbacks"]
    if old := callbacks.pop("CollapseAlarm", None):
        callbacks["AlarmBell"] = {"reported": ["collapsed"] * old["was_told"]}
    return checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, with their hash, and keeps the previous last.ckpt.

    Lightning's own writes through /tmp, which isn't atomic if that is another file system, and
    reads in each process, which on another machine may see an older file.
    """

    def __init__(self, paths: RunPaths, processes: Processes):
        super().__init__()
        self.paths = paths
        self.processes = processes

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        archive = io.BytesIO()
        torch.save(checkpoint, archive)
        _append_hash(archive)
        keep = self.paths.previous if Path(path) == self.paths.last else None
        write_atomic(Path(path), archive.getbuffer(), keep=keep)

    def load_checkpoint(self, path, map_location=None, weights_only=True):
        checkpoint = load_checkpoint(Path(path)) if self.processes.is_first else None
        return _convert_old_callbacks(self.processes.share(checkpoint))


class CheckpointWriter(L.Callback):
    """Writes last.ckpt after each validation, and best.ckpt if it is the best; ends training early.

    Each of the processes that train together has one; all do the same at the same step.

    max_steps:    end the session at this step of the run
    save_steps:   also write last.ckpt at multiples of this number of steps
    save_minutes: also write it when the last one is this old

    raises: Interrupted, from inside the trainer, after writing last.ckpt; Diverged if a weight
            became NaN or infinite, without writing checkpoints
    """

    def __init__(
        self,
        paths: RunPaths,
        watch: SignalWatch,
        processes: Processes,
        *,
        max_steps: int | None = None,
        save_steps: int | None = None,
        save_minutes: float = math.inf,
    ):
        self.paths = paths
        self.watch = watch
        self.processes = processes
        self.max_steps = math.inf if max_steps is None else max_steps
        self.save_steps = save_steps
        self.save_minutes = save_minutes

    def on_train_start(self, trainer: L.Trainer, module: TrainingModule):
        self.watch.take_over()
        if trainer.global_step >= self.max_steps:
            raise StepsReached
        self.watch.is_patient = True
        self.saved_s = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, module: TrainingModule, outputs, batch, index):
        if trainer.is_last_batch:
            return  # the checkpoint is written after the validation
        is_due, reason = self._agree(trainer, self._is_due(trainer))
        if reason or is_due:
            self._save(trainer, module)
        if reason:
            raise reason

    def on_train_epoch_end(self, trainer: L.Trainer, module: TrainingModule):
        # Only the first process knows that the metrics are written.
        wish = self.processes.is_first and self._is_best(trainer, module)
        is_best, reason = self._agree(trainer, wish)
        self._save(trainer, module, is_best=is_best)
        num_steps = trainer.max_epochs * trainer.num_training_batches
        if trainer.global_step < num_steps and reason:
            raise reason

    def on_train_end(self, trainer: L.Trainer, module: TrainingModule):
        self.watch.is_patient = False
        _, reason = self._agree(trainer)
        if isinstance(reason, InterruptedBySignal):
            raise reason

    def _save(self, trainer: L.Trainer, module: TrainingModule, *, is_best: bool = False):
        """Write checkpoints, unless a weight is NaN or infinite: no run could resume from that."""
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise Diverged(f"a weight became NaN or infinite by step {trainer.global_step}")
        if is_best:
            trainer.save_checkpoint(self.paths.best)
            # Later checkpoints don't contain these weights.
            trainer.save_checkpoint(self.paths.best_copy)
        trainer.save_checkpoint(self.paths.last)
        self.saved_s = time.monotonic()

    def _is_due(self, trainer: L.Trainer) -> bool:
        is_multiple = self.save_steps and trainer.global_step % self.save_steps == 0
        return is_multiple or time.monotonic() - self.saved_s >= 60 * self.save_minutes

    def _is_best(self, trainer: L.Trainer, module: TrainingModule) -> bool:
        best = find_best_validation(self.paths, module.kind)
        return best is not None and best.step == trainer.global_step

    def _agree(self, trainer: L.Trainer, wish: bool = False) -> tuple[bool, Interrupted | None]:
        """Return whether any process has the wish, and the reason to end all of them now, or None.

        Their clocks differ, and a signal may reach only one of them.
        """
        received, wish = self.processes.find_largest(self.watch.received or 0, int(wish))
        if received:
            return bool(wish), InterruptedBySignal(signal.Signals(received))
        is_over = trainer.global_step >= self.max_steps
        return bool(wish), StepsReached() if is_over else None
