"""What is written and shown around the training steps."""

import math
import sys
import time

import lightning as L
from tqdm import tqdm

from .checkpoints import Diverged
from .metrics import append_metrics, truncate_metrics
from .module import VAEModule
from .record import RunPaths

LOG_EVERY_STEPS = 10

LOSS_KEYS = ("loss", "data_loss", "prior_loss")


class MetricsWriter(L.Callback):
    """Writes train.csv and val.csv, and drops the rows that a resumed run will make again.

    raises: Diverged if the loss that was written is no finite number
    """

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
            self._check_loss("loss", losses["loss"], trainer)

    def on_validation_end(self, trainer: L.Trainer, module: VAEModule):
        if trainer.state.fn == "fit":
            row = {**self._make_key(trainer), **module.held_out_metrics}
            append_metrics(self.paths.val_metrics, row)
            self._log_to_tensorboard(trainer, "val", module.held_out_metrics)
            self._check_loss("validation loss", module.held_out_metrics["loss"], trainer)

    def _make_key(self, trainer: L.Trainer) -> dict:
        return {
            "step": trainer.global_step,
            "epoch": trainer.global_step / trainer.num_training_batches,
            "elapsed_s": round(self._calc_elapsed_s(), 1),
        }

    def _log_to_tensorboard(self, trainer: L.Trainer, stage: str, values: dict):
        values = {f"{stage}/{key}": value for key, value in values.items()}
        trainer.logger.log_metrics(values, step=trainer.global_step)

    def _check_loss(self, name: str, loss: float, trainer: L.Trainer):
        if not math.isfinite(loss):
            raise Diverged(f"the {name} is {loss} at step {trainer.global_step}")


class ProgressBar(L.Callback):
    """One bar from the run's first step to its last; where nobody watches, a line a validation."""

    def __init__(self, name: str):
        self.name = name
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: L.Trainer, module: VAEModule):
        self.bar = tqdm(
            desc=self.name,
            total=trainer.max_epochs * trainer.num_training_batches,
            initial=trainer.global_step,
            unit="step",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def on_train_batch_end(self, trainer: L.Trainer, module: VAEModule, outputs, batch, index):
        self.bar.update()
        if trainer.global_step % LOG_EVERY_STEPS == 0:
            self._show(loss=outputs["loss"].item(), val_r2=module.held_out_metrics.get("r2"))

    def on_validation_end(self, trainer: L.Trainer, module: VAEModule):
        if trainer.state.fn != "fit":
            return
        r2 = module.held_out_metrics["r2"]
        self._show(val_r2=r2)
        if self.bar.disable:
            step = f"{self.name}: step {trainer.global_step} of {self.bar.total}"
            print(f"{step}, validation R² {r2:.3f}", file=sys.stderr, flush=True)

    def _show(self, **values: float | None):
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in values.items() if v is not None})

    def on_train_end(self, trainer: L.Trainer, module: VAEModule):
        self.bar.close()

    def on_exception(self, trainer: L.Trainer, module: VAEModule, exception: BaseException):
        if self.bar is not None:
            self.bar.close()
