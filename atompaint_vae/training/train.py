"""Train one run: from its hyperparameters to its record, resuming what was cut off."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment

from ..config.hparams import Hparams, dump_hparams, resolve_source
from ..data.sets.sources import calc_source_hash
from ..records.lock import lock_run
from ..records.record import (
    RunPaths,
    RunRecord,
    end_session,
    load_record,
    make_session,
    save_record,
    start_session,
    update_record,
)
from ..slurm.progress import find_best_validation
from ..text.errors import UserError
from ..text.files import write_atomic
from .callbacks import DivergenceStop, MetricsWriter, ProgressBar
from .checkpoints import (
    AtomicCheckpointIO,
    CheckpointWriter,
    Diverged,
    Pruned,
    load_best_checkpoint,
    load_newest_checkpoint,
    remove_leftovers,
)
from .collapse import CollapseAlarm, find_collapse
from .evaluate import test_best, write_test_results
from .feed import CropFeed
from .module import VAEModule
from .plan import build_model, make_plan
from .processes import Processes
from .signals import Interrupted, SignalWatch

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str, num_devices: int = 1) -> str:
    """"cpu" or "cuda"; "auto" is the GPU where there is one.

    Apple's GPUs are left out: they have no float64, in which metrics are summed.

    raises: UserError if there is no such device, or not as many
    """
    if name not in DEVICES:
        raise UserError(f"--device: expected auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA GPU here")
    if name == "cpu" or not torch.cuda.is_available():
        return "cpu"
    if (num_found := torch.cuda.device_count()) < num_devices:
        raise UserError(f"--devices {num_devices}: torch finds {num_found} CUDA GPUs here")
    return "cuda"


@dataclass(frozen=True)
class Task:
    """What every process has to know of a run that they train together.

    when: `CheckpointWriter` says which steps to stop at, and which to write checkpoints at
    """

    paths: RunPaths
    hparams: Hparams
    image_std: float
    is_resumed: bool
    when: dict


class Training:
    """One process's part in the training of a run.

    writers:   called before each checkpoint
    callbacks: called after it
    """

    def __init__(
        self,
        task: Task,
        feed: CropFeed,
        processes: Processes,
        watch: SignalWatch,
        *,
        writers: Sequence[L.Callback] = (),
        callbacks: Sequence[L.Callback] = (),
    ):
        self.task = task
        self.feed = feed
        self.processes = processes
        hparams, paths = task.hparams, task.paths
        torch.manual_seed(hparams.seed)
        model = build_model(hparams, image_std=task.image_std)
        self.module = VAEModule(model, hparams, feed.datasets["train"])
        self.trainer = L.Trainer(
            accelerator=processes.device,
            devices=processes.num_devices,
            strategy=processes.make_strategy(),
            precision=hparams.train.precision,
            max_epochs=hparams.train.epochs,
            gradient_clip_val=hparams.optim.gradient_clip or None,
            callbacks=[
                *writers,
                DivergenceStop(),
                CheckpointWriter(paths, watch, processes, **task.when),
                *callbacks,
            ],
            plugins=[AtomicCheckpointIO(paths), *_find_slurm()],
            logger=TensorBoardLogger(paths.run_dir, name="", version="tensorboard"),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def run(self) -> dict:
        """The row of test.csv, with everything before it done.

        raises: as `train_run`
        """
        with self.processes.watch_for_loss():
            resume = self.task.paths.last if self.task.is_resumed else None
            self.trainer.fit(self.module, self.feed, ckpt_path=resume, weights_only=True)
            return test_best(self.trainer, self.module, self.feed, self.task.paths)


def train_run(
    paths: RunPaths,
    hparams: Hparams,
    processes: Processes,
    callbacks: Sequence[L.Callback] = (),
    **when,
) -> RunRecord:
    """The record of a run, trained until it is finished, or pruned by a callback; for the first of
    the processes.

    callbacks: called after checkpoints are written, in this process; one that prunes must be the
               only process
    when:      as in `Task`

    raises: Interrupted if a signal or max_steps ended it early, Diverged if the loss isn't finite,
            UserError if it can't begin, or can't go on from where it was; OSError if its files
            can't be written; ProcessLost if another of the processes is gone
    """
    with lock_run(paths), SignalWatch() as watch:
        remove_leftovers(paths)
        feed = _make_feed(hparams, paths)
        checkpoint, record = _find_start(paths, hparams, feed)
        task = Task(paths, hparams, record.image_std, checkpoint is not None, when)
        processes.share(task)
        writers = [
            MetricsWriter(paths),
            CollapseAlarm(paths.name),
            ProgressBar(paths.name, batch_size=hparams.optim.batch_size),
        ]
        training = Training(task, feed, processes, watch, writers=writers, callbacks=callbacks)
        trainer = training.trainer
        session = make_session(
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            device=_describe_device(trainer),
            devices=processes.num_devices,
            steps_start=checkpoint["global_step"] if checkpoint else 0,
            path=paths.run_dir,
        )
        record = start_session(record, session)
        save_record(paths.record, record)
        try:
            test_row = training.run()
            write_test_results(test_row, training.module, feed, paths)
        except Pruned as reason:
            record = _end(paths, record, "pruned", trainer, str(reason))
        except Interrupted as error:
            _end(paths, record, "interrupted", trainer, str(error) or None)
            raise
        except BaseException as error:
            with suppress(OSError):  # where nothing can be written, neither can this
                _end(paths, record, "failed", trainer, f"{type(error).__name__}: {error}")
            raise
        else:
            record = _end(paths, record, "finished", trainer)
        for path in (paths.previous, paths.best_copy):
            path.unlink(missing_ok=True)
        return record


def follow(processes: Processes):
    """Nothing, when the first process has no more to train; takes part in it until then.

    raises: ProcessLost if the first process, or another, is gone
    """
    with SignalWatch(may_raise=False) as watch:
        while task := processes.share():
            feed = CropFeed(task.hparams, task.paths.expt_dir)
            training = Training(task, feed, processes, watch)
            with suppress(Interrupted, Diverged):  # which the first process meets as well
                training.run()


def _make_feed(hparams: Hparams, paths: RunPaths) -> CropFeed:
    try:
        return CropFeed(hparams, paths.expt_dir)
    except (ValueError, OSError) as error:
        raise UserError(f"data: {error}") from error


def _find_start(
    paths: RunPaths, hparams: Hparams, feed: CropFeed
) -> tuple[dict | None, RunRecord]:
    """The checkpoint to go on from, None if there is none, and the record so far."""
    data_hash = calc_source_hash(resolve_source(hparams, paths.expt_dir))
    earlier = load_record(paths.record) if paths.record.exists() else None
    if not (earlier and (paths.last.exists() or paths.previous.exists())):
        return None, _start_anew(paths, hparams, feed, data_hash, earlier)
    if earlier.data_hash != data_hash:
        raise UserError(
            f"{paths.record}: {hparams.data.source} holds other structures than when the run "
            f"started; train.py --restart {paths.name} trains it anew"
        )
    checkpoint = load_newest_checkpoint(paths)
    if checkpoint["global_step"] >= hparams.train.steps_per_epoch:
        load_best_checkpoint(paths)  # now rather than when the training has come to its end
    return checkpoint, earlier


def _start_anew(
    paths: RunPaths, hparams: Hparams, feed: CropFeed, data_hash: str, earlier: RunRecord | None
) -> RunRecord:
    """The record of a new run; writes its hyperparameters, clears what is left of an old one."""
    plan = make_plan(hparams)
    record = RunRecord(
        run=paths.name,
        experiment=paths.expt_dir.resolve().name,
        num_parameters=plan.num_parameters,
        latent_shape=plan.latent_shape,
        compression_ratio=plan.compression_ratio,
        image_std=feed.calc_image_std(),
        data_hash=data_hash,
        sessions=earlier.sessions if earlier else (),
    )
    paths.checkpoints.mkdir(parents=True, exist_ok=True)
    for path in (paths.test_metrics, paths.reconstructions, paths.best, paths.best_copy):
        path.unlink(missing_ok=True)
    write_atomic(paths.hparams, dump_hparams(hparams))
    return record


def _end(
    paths: RunPaths, record: RunRecord, exit: str, trainer: L.Trainer, error: str | None = None
) -> RunRecord:
    if best := find_best_validation(paths):
        record = update_record(record, best_step=best.step, best_val_r2=best.r2)
    record = update_record(record, collapsed_step=find_collapse(paths))
    record = end_session(record, exit=exit, steps_end=trainer.global_step, error=error)
    save_record(paths.record, record)
    return record


def _describe_device(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _find_slurm() -> list[SLURMEnvironment]:
    """Slurm, if it has started this process; it is not for Lightning to requeue the task."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
