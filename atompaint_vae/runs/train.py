"""Train one run: from its hyperparameters to its record, resuming what was cut off."""

import logging
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from ..data.sources import calc_source_hash
from .callbacks import MetricsWriter, ProgressBar
from .checkpoints import (
    AtomicCheckpointIO,
    CheckpointWriter,
    Pruned,
    load_best_checkpoint,
    load_newest_checkpoint,
    remove_leftovers,
)
from .collapse import CollapseAlarm, find_collapse
from .evaluate import write_test_results
from .experiment import UserError
from .feed import CropFeed
from .hparams import Hparams, dump_hparams, resolve_source
from .lock import lock_run
from .module import VAEModule
from .plan import build_model, make_plan
from .progress import find_best_validation
from .record import (
    RunPaths,
    RunRecord,
    end_session,
    load_record,
    make_session,
    save_record,
    start_session,
    update_record,
    write_atomic,
)
from .signals import Interrupted, SignalWatch

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """"cpu" or "cuda"; "auto" is the GPU where there is one.

    Apple's GPUs are left out: they have no float64, in which metrics are summed.

    raises: UserError if there is no such device
    """
    if name not in DEVICES:
        raise UserError(f"--device: expected auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA GPU here")
    return "cuda" if torch.cuda.is_available() and name != "cpu" else "cpu"


def train_run(
    paths: RunPaths,
    hparams: Hparams,
    *,
    device: str = "auto",
    callbacks: Sequence[L.Callback] = (),
    **when,
) -> RunRecord:
    """The record of a run, trained until it is finished, or pruned by a callback.

    device:    "auto", "cpu" or "cuda"
    callbacks: called after those that write checkpoints
    when:      `CheckpointWriter` says which steps to stop at, and which to write checkpoints at

    raises: Interrupted if a signal or max_steps ended it early, Diverged if the loss isn't finite,
            UserError if it can't begin, or can't go on from where it was; OSError if its files
            can't be written
    """
    _quieten()
    with lock_run(paths), SignalWatch() as watch:
        remove_leftovers(paths)
        device = choose_device(device)
        torch.manual_seed(hparams.seed)
        feed = _make_feed(hparams, paths)
        checkpoint, record = _find_start(paths, hparams, feed)
        model = build_model(hparams, image_std=record.image_std)
        module = VAEModule(model, hparams, feed.datasets["train"])
        trainer = L.Trainer(
            accelerator=device,
            devices=1,
            precision=hparams.train.precision,
            max_epochs=hparams.train.epochs,
            gradient_clip_val=hparams.optim.gradient_clip or None,
            callbacks=[
                MetricsWriter(paths),
                CollapseAlarm(paths.name),
                ProgressBar(paths.name, batch_size=hparams.optim.batch_size),
                CheckpointWriter(paths, watch, **when),
                *callbacks,
            ],
            plugins=[AtomicCheckpointIO(paths)],
            logger=TensorBoardLogger(paths.run_dir, name="", version="tensorboard"),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        session = make_session(
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            device=_describe_device(trainer),
            steps_start=checkpoint["global_step"] if checkpoint else 0,
            path=paths.run_dir,
        )
        record = start_session(record, session)
        save_record(paths.record, record)
        try:
            resume = paths.last if checkpoint else None
            trainer.fit(module, feed, ckpt_path=resume, weights_only=True)
            write_test_results(trainer, module, feed, paths)
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


def _quieten():
    """Keep Lightning from saying what the user did not ask."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        # One worker is enough: crops are cheap, and images are made on the device.
        ".*does not have many workers.*",
        # It is: the sampler starts at the step where training stopped.
        ".*your dataloader is not resumable.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        # Metrics are logged by callbacks, on their own terms.
        ".*smaller than the logging interval.*",
        # Lightning's own business with torch.
        ".*isinstance.treespec, LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message)
