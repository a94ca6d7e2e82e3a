"""What happens around the training steps: metrics, progress, interruption."""

import signal
import time
from collections.abc import Callable

import lightning as L
from tqdm import tqdm

from .metrics import append_metrics, truncate_metrics
from .module import VAEModule
from .record import RunPaths

LOG_EVERY_STEPS = 10

LOSS_KEYS = ("loss", "data_loss", "prior_loss")


class Interrupted(Exception):
    """Training was stopped by the user or the system, and its checkpoint is written."""


class MetricsWriter(L.Callback):
    """Writes train.csv and val.csv, and drops the rows that a resumed run will make again."""

    def __init__(self, paths: RunPaths):
        self.paths = paths
        self.elapsed_s = 0.0

    def state_dict(self):
        return {"elapsed_s": self._calc_elapsed_s()}

    def load_state_dict(self, state):
        self.elapsed_s = state["elapsed_s"]

    def on_train_start(self, trainer: L.Trainer, module: VAEModule):
        self.start_s = time.monotonic() - self.elapsed_s
        for path in (self.paths.train_metrics, self.paths.val_metrics):
            truncate_metrics(path, after_step=trainer.global_step)

    def _calc_elapsed_s(self) -> float:
        return time.monotonic() - self.start_s

    def on_train_batch_end(self, trainer: L.Trainer, module: VAEModule, outputs, batch, index):
        if trainer.global_step % LOG_EVERY_STEPS == 0:
            losses = {key: outputs[key].item() for key in LOSS_KEYS}
            learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {**self._make_key(trainer), **losses, "learning_rate": learning_rate}
            append_metrics(self.paths.train_metrics, row)
            self._log_to_tensorboard(trainer, "train", losses)

    def on_validation_end(self, trainer: L.Trainer, module: VAEModule):
        if trainer.state.fn == "fit":
            row = {**self._make_key(trainer), **module.held_out_metrics}
            append_metrics(self.paths.val_metrics, row)
            self._log_to_tensorboard(trainer, "val", module.held_out_metrics)

    def _make_key(self, trainer: L.Trainer) -> dict:
        return {
            "step": trainer.global_step,
            "epoch": trainer.global_step / trainer.num_training_batches,
            "elapsed_s": round(self._calc_elapsed_s(), 1),
        }

    def _log_to_tensorboard(self, trainer: L.Trainer, stage: str, values: dict):
        values = {f"{stage}/{key}": value for key, value in values.items()}
        trainer.logger.log_metrics(values, step=trainer.global_step)


class ProgressBar(L.Callback):
    """One bar for the whole run, from its first step to its last."""

    def __init__(self, name: str):
        self.name = name

    def on_train_start(self, trainer: L.Trainer, module: VAEModule):
        self.bar = tqdm(
            desc=self.name,
            total=trainer.max_epochs * trainer.num_training_batches,
            initial=trainer.global_step,
            unit="step",
            dynamic_ncols=True,
        )

    def on_train_batch_end(self, trainer: L.Trainer, module: VAEModule, outputs, batch, index):
        self.bar.update()
        if trainer.global_step % LOG_EVERY_STEPS == 0:
            self._show(loss=outputs["loss"].item(), val_r2=module.held_out_metrics.get("r2"))

    def on_validation_end(self, trainer: L.Trainer, module: VAEModule):
        self._show(val_r2=module.held_out_metrics["r2"])

    def _show(self, **values: float | None):
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in values.items() if v is not None})

    def on_train_end(self, trainer: L.Trainer, module: VAEModule):
        self.bar.close()

    def on_exception(self, trainer: L.Trainer, module: VAEModule, exception: BaseException):
        if hasattr(self, "bar"):
            self.bar.close()


class StopAtSignal(L.Callback):
    """Ends training after the present step, with a checkpoint, at SIGINT or SIGTERM.

    max_steps: end like that after so many steps of the run, too

    raises: Interrupted, from inside the trainer
    """

    def __init__(self, paths: RunPaths, *, max_steps: int | None = None):
        self.paths = paths
        self.max_steps = max_steps
        self.received: str | None = None
        self.previous: dict[signal.Signals, Callable] = {}

    def setup(self, trainer: L.Trainer, module: VAEModule, stage: str):
        for number in (signal.SIGINT, signal.SIGTERM):
            self.previous[number] = signal.signal(number, self._remember)

    def _remember(self, number: int, frame):
        self.received = signal.Signals(number).name
        # The second time, stop at once.
        signal.signal(number, self.previous[number])

    def teardown(self, trainer: L.Trainer, module: VAEModule, stage: str):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def on_train_batch_end(self, trainer: L.Trainer, module: VAEModule, outputs, batch, index):
        if self.max_steps is not None and trainer.global_step >= self.max_steps:
            self.received = f"--max-steps {self.max_steps}"
        # At the end of an epoch, the checkpoint comes after the validation.
        if self.received and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            trainer.save_checkpoint(self.paths.last)
            raise Interrupted(self.received)

    def on_train_epoch_end(self, trainer: L.Trainer, module: VAEModule):
        if self.received and trainer.global_step < trainer.estimated_stepping_batches:
            trainer.save_checkpoint(self.paths.last)
            raise Interrupted(self.received)
