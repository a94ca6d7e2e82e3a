"""Checkpoints: a run that is cut off anywhere goes on as if it had not been."""

import io
import math
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from .experiment import UserError
from .metrics import load_metrics
from .module import VAEModule
from .record import RunPaths, write_atomic
from .signals import Interrupted, InterruptedBySignal, SignalWatch


class StepsReached(Interrupted):
    """The user asked for no more steps."""


class Diverged(Exception):
    """The loss is no number any more."""


class BestValidation(NamedTuple):
    step: int
    r2: float


def find_best_validation(paths: RunPaths) -> BestValidation | None:
    """The first validation of the highest R², None before the first."""
    if not paths.val_metrics.exists():
        return None
    metrics = load_metrics(paths.val_metrics)
    if "r2" not in metrics or not metrics["r2"].notna().any():
        return None
    row = metrics.loc[metrics["r2"].idxmax()]
    return BestValidation(int(row["step"]), float(row["r2"]))


def load_checkpoint(path: Path) -> dict:
    """A checkpoint, on the CPU; running no code that it may hold.

    raises: UserError if it can't be read
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many classes, as bytes can be wrong in many ways
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"{path}: can't be read ({reason}); remove {path.parent} to train the run anew"
        ) from None


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own goes through /tmp, and is cut where that is another file system."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomic(Path(path), buffer.getvalue())


class CheckpointWriter(L.Callback):
    """Writes last.ckpt, and best.ckpt if it is that, after each validation; ends training early.

    max_steps: end after so many steps of the run

    raises: Interrupted, from inside the trainer, with last.ckpt written
    """

    def __init__(self, paths: RunPaths, watch: SignalWatch, *, max_steps: int | None = None):
        self.paths = paths
        self.watch = watch
        self.max_steps = math.inf if max_steps is None else max_steps

    def on_train_start(self, trainer: L.Trainer, module: VAEModule):
        self.watch.take_over()
        if trainer.global_step >= self.max_steps:
            raise StepsReached
        self.watch.is_patient = True

    def on_train_batch_end(self, trainer: L.Trainer, module: VAEModule, outputs, batch, index):
        # At the end of an epoch, the checkpoint comes after the validation.
        if self._find_reason(trainer) and not trainer.is_last_batch:
            trainer.save_checkpoint(self.paths.last)
            raise self._find_reason(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, module: VAEModule):
        best = find_best_validation(self.paths)
        if best and best.step == trainer.global_step:
            trainer.save_checkpoint(self.paths.best)
        trainer.save_checkpoint(self.paths.last)
        num_steps = trainer.max_epochs * trainer.num_training_batches
        if trainer.global_step < num_steps and (reason := self._find_reason(trainer)):
            raise reason

    def on_train_end(self, trainer: L.Trainer, module: VAEModule):
        self.watch.is_patient = False
        if self.watch.received:
            raise InterruptedBySignal(self.watch.received)

    def _find_reason(self, trainer: L.Trainer) -> Interrupted | None:
        if self.watch.received:
            return InterruptedBySignal(self.watch.received)
        if trainer.global_step >= self.max_steps:
            return StepsReached()
        return None
