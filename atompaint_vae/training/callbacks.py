"""Callbacks that write metrics, stop diverged runs, and show progress and alarms."""

import math
import sys
import time
from datetime import datetime

import lightning as L
from tqdm import tqdm

from ..records.metrics import append_metrics, copy_metrics, restore_metrics
from ..records.record import RunPaths
from ..text.formats import calc_end, format_end
from .checkpoints import Diverged
from .module import TrainingModule

LOG_EVERY_STEPS = 10


class MetricsWriter(L.Callback):
    """Writes train.csv and val.csv.

    Checkpoints hold both tables too; a resumed run restores them, whatever the files hold now.
    """

    def __init__(self, paths: RunPaths):
        self.paths = paths
        self.elapsed_s = 0.0
        self.tables = {path.name: "" for path in (paths.train_metrics, paths.val_metrics)}

    def state_dict(self):
        tables = {name: copy_metrics(self.paths.run_dir / name) for name in self.tables}
        return {"elapsed_s": self._calc_elapsed_s(), "tables": tables}

    def load_state_dict(self, state):
        self.elapsed_s = state["elapsed_s"]
        self.tables = state["tables"]

    def on_fit_start(self, trainer: L.Trainer, module: TrainingModule):
        self.start_s = time.monotonic() - self.elapsed_s
        for name, text in self.tables.items():
            restore_metrics(self.paths.run_dir / name, text)

    def _calc_elapsed_s(self) -> float:
        return time.monotonic() - self.start_s

    def on_train_batch_end(self, trainer: L.Trainer, module: TrainingModule, outputs, batch, index):
        if trainer.global_step % LOG_EVERY_STEPS == 0:
            losses = dict(zip(module.kind.losses, outputs["losses"].tolist(), strict=True))
            learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {**self._make_key(trainer), **losses, "learning_rate": learning_rate}
            append_metrics(self.paths.train_metrics, row)
            self._log_to_tensorboard(trainer, "train", losses)

    def on_validation_end(self, trainer: L.Trainer, module: TrainingModule):
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


class DivergenceStop(L.Callback):
    """Ends training when a recorded loss is NaN or infinite.

    raises: Diverged, from inside the trainer
    """

    def on_train_batch_end(self, trainer: L.Trainer, module: TrainingModule, outputs, batch, index):
        if trainer.global_step % LOG_EVERY_STEPS == 0:
            self._check("loss", outputs["losses"][0].item(), trainer)

    def on_validation_end(self, trainer: L.Trainer, module: TrainingModule):
        if trainer.state.fn == "fit":
            loss = module.held_out_metrics.get(module.kind.losses[0], 0.0)
            self._check("validation loss", loss, trainer)

    def _check(self, name: str, loss: float, trainer: L.Trainer):
        if not math.isfinite(loss):
            raise Diverged(f"the {name} is {loss} at step {trainer.global_step}")


class ProgressBar(L.Callback):
    """A progress bar over all steps of the run; without a terminal, a line after each validation.

    batch_size: crops per step
    """

    def __init__(self, name: str, *, batch_size: int):
        self.name = name
        self.batch_size = batch_size
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: L.Trainer, module: TrainingModule):
        self.start = time.monotonic(), trainer.global_step
        self.bar = tqdm(
            desc=self.name,
            total=trainer.max_epochs * trainer.num_training_batches,
            initial=trainer.global_step,
            unit="step",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def on_train_batch_end(self, trainer: L.Trainer, module: TrainingModule, outputs, batch, index):
        self.bar.update()
        if trainer.global_step % LOG_EVERY_STEPS == 0:
            self._show(trainer, outputs["losses"][0].item(), module)

    def on_validation_end(self, trainer: L.Trainer, module: TrainingModule):
        if trainer.state.fn != "fit":
            return
        self._show(trainer, None, module)
        if self.bar.disable:
            step = f"{self.name}: step {trainer.global_step} of {self.bar.total}"
            pace = ", ".join(f"{key} {text}" for key, text in self._calc_pace(trainer).items())
            best = module.kind.best
            value = f"{best.symbol} {module.held_out_metrics[best.name]:.3f}"
            print(f"{step}, validation {value}, {pace}", file=sys.stderr, flush=True)

    def _show(self, trainer: L.Trainer, loss: float | None, module: TrainingModule):
        name = module.kind.best.name
        values = {"loss": loss, f"val_{name}": module.held_out_metrics.get(name)}
        numbers = {k: f"{v:.4g}" for k, v in values.items() if v is not None}
        self.bar.set_postfix(numbers | self._calc_pace(trainer))

    def _calc_pace(self, trainer: L.Trainer) -> dict[str, str]:
        """Return crops per second in this session, with validations, and the expected end."""
        start_s, first_step = self.start
        steps_per_s = (trainer.global_step - first_step) / (time.monotonic() - start_s)
        remaining_s = (self.bar.total - trainer.global_step) / steps_per_s
        return {
            "crops/s": f"{steps_per_s * self.batch_size:.3g}",
            "end": format_end(calc_end(datetime.now(), remaining_s), datetime.now()),
        }

    def on_train_end(self, trainer: L.Trainer, module: TrainingModule):
        self.bar.close()

    def on_exception(self, trainer: L.Trainer, module: TrainingModule, exception: BaseException):
        if self.bar is not None:
            self.bar.close()


class AlarmBell(L.Callback):
    """Reports each of the kind's alarms once, after the first validation that raises it.

    name: the run's name
    """

    def __init__(self, name: str):
        self.name = name
        self.reported: list[str] = []

    def state_dict(self):
        return {"reported": self.reported}

    def load_state_dict(self, state):
        self.reported = state["reported"]

    def on_validation_end(self, trainer: L.Trainer, module: TrainingModule):
        if trainer.state.fn != "fit":
            return
        for alarm, find_alarm in module.kind.alarms.items():
            text = find_alarm(module.held_out_metrics)
            if text and alarm not in self.reported:
                self.reported.append(alarm)
                # tqdm keeps the progress bar intact.
                tqdm.write(f"{self.name}: step {trainer.global_step}: {text}", file=sys.stderr)
