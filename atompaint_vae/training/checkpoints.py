"""Checkpoints, from which a run that is cut off anywhere goes on as if it had not been."""

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
    """The user asked for no more steps."""


class Pruned(Exception):
    """A search does without the rest of the run."""


class Diverged(Exception):
    """The loss is no number any more."""


def load_checkpoint(path: Path) -> dict:
    """A checkpoint, on the CPU; running no code that it may hold.

    raises: UserError if it can't be read, or isn't what was written
    """
    reason = "no checkpoint, or a damaged one"
    try:
        content = path.read_bytes()
        if _is_whole(content):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    except Exception:  # of many classes, whose texts advise to run what the file may hold
        pass
    run = path.parents[1].name
    raise UserError(f"{path}: can't be read: {reason}; train.py --restart {run} trains it anew")


def load_newest_checkpoint(paths: RunPaths) -> dict | None:
    """The last checkpoint, or else the one before, which then is the last; None if there is none.

    raises: UserError if none that is there can be read
    """
    try:
        if paths.last.exists():
            return load_checkpoint(paths.last)
    except UserError:
        if not paths.previous.exists():
            raise
        checkpoint = load_checkpoint(paths.previous)
        step = f"step {checkpoint['global_step']}"
        print(f"{paths.last}: damaged; goes on from the one before, {step}", file=sys.stderr)
    if not paths.previous.exists():
        return None
    paths.previous.replace(paths.last)
    return load_checkpoint(paths.last)


def load_best_checkpoint(paths: RunPaths) -> dict:
    """That of the best validation; from its copy, which then takes its place, if it is damaged.

    raises: UserError if neither can be read
    """
    try:
        return load_checkpoint(paths.best)
    except UserError:
        if not paths.best_copy.exists():
            raise
        checkpoint = load_checkpoint(paths.best_copy)
        write_atomic(paths.best, paths.best_copy.read_bytes())
        print(f"{paths.best}: damaged; put back from its copy", file=sys.stderr)
        return checkpoint


HASH_PREFIX = b"sha256:"
HASH_LENGTH = len(HASH_PREFIX) + 2 * hashlib.sha256().digest_size


def _calc_hash(content) -> bytes:
    return HASH_PREFIX + hashlib.sha256(content).hexdigest().encode()


def _append_hash(archive: io.BytesIO):
    """Of all that comes before, as the archive's comment, which torch and other readers of ZIP
    pass over; the two bytes before a comment are its length.
    """
    archive.seek(-2, io.SEEK_END)
    archive.write(HASH_LENGTH.to_bytes(2, "little"))
    archive.write(_calc_hash(archive.getbuffer()))


def _is_whole(content: bytes) -> bool:
    view = memoryview(content)
    return view[-HASH_LENGTH:] == _calc_hash(view[:-HASH_LENGTH])


def remove_leftovers(paths: RunPaths):
    """Remove what processes that were killed while they wrote have left; call under the lock."""
    for folder in (paths.run_dir, paths.checkpoints):
        for path in folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Files that hold their hash; of last.ckpt, also what it was before.

    Lightning's own goes through /tmp, and is cut where that is another file system.
    """

    def __init__(self, paths: RunPaths):
        super().__init__()
        self.paths = paths

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        archive = io.BytesIO()
        torch.save(checkpoint, archive)
        _append_hash(archive)
        keep = self.paths.previous if Path(path) == self.paths.last else None
        write_atomic(Path(path), archive.getbuffer(), keep=keep)

    def load_checkpoint(self, path, map_location=None, weights_only=True):
        return load_checkpoint(Path(path))


class CheckpointWriter(L.Callback):
    """Writes last.ckpt, and best.ckpt if it is that, after each validation; ends training early.

    All processes that train together have one, and do the same at the same step.

    max_steps:    end after so many steps of the run
    save_steps:   also write last.ckpt whenever the run has a multiple of so many steps
    save_minutes: also when the last one is so old

    raises: Interrupted, from inside the trainer, with last.ckpt written; Diverged if the weights
            are no finite numbers, with the checkpoints as they were
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
            return  # the checkpoint comes after the validation
        is_due, reason = self._agree(trainer, self._is_due(trainer))
        if reason or is_due:
            self._save(trainer, module)
        if reason:
            raise reason

    def on_train_epoch_end(self, trainer: L.Trainer, module: TrainingModule):
        # The first process alone knows that the file of metrics is written.
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
        """Weights that are no numbers would replace the last that a run can go on from."""
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise Diverged(f"weights are no finite numbers at step {trainer.global_step}")
        if is_best:
            trainer.save_checkpoint(self.paths.best)
            # No later checkpoint could bring these weights back.
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
        """Whether any process has this wish, and why all of them end now, None if they don't.

        Their clocks differ, and a signal may reach only one of them.
        """
        received, wish = self.processes.find_largest(self.watch.received or 0, int(wish))
        if received:
            return bool(wish), InterruptedBySignal(signal.Signals(received))
        is_over = trainer.global_step >= self.max_steps
        return bool(wish), StepsReached() if is_over else None
