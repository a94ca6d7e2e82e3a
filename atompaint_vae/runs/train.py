"""Train one run: from its hyperparameters to its record, resuming what was cut off."""

import hashlib
import logging
import shlex
import sys
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from ..data.dataset import find_atoms_path
from .callbacks import Interrupted, MetricsWriter, ProgressBar, StopAtSignal
from .evaluate import write_test_results
from .feed import CropFeed
from .hparams import Hparams, dump_hparams
from .metrics import load_metrics
from .module import VAEModule
from .plan import build_model, make_plan
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


def train_run(
    paths: RunPaths,
    hparams: Hparams,
    *,
    device: str = "auto",
    max_steps: int | None = None,
) -> RunRecord:
    """The record of a run, trained until it is finished.

    device:    "auto", "cpu", "cuda", ...: an accelerator's name, as Lightning knows it
    max_steps: stop after so many steps of the run, as if interrupted

    raises: Interrupted if a signal or max_steps ended it early; its checkpoint is then written
    """
    _quieten()
    paths.run_dir.mkdir(parents=True, exist_ok=True)
    paths.checkpoints.mkdir(exist_ok=True)

    torch.manual_seed(hparams.seed)
    feed = CropFeed(hparams)
    is_resumed = paths.last.exists() and paths.record.exists()
    record = load_record(paths.record) if is_resumed else _make_record(paths, hparams, feed)
    model = build_model(hparams, image_std=record.image_std)
    module = VAEModule(model, hparams, feed.datasets["train"])

    writer = MetricsWriter(paths)
    trainer = L.Trainer(
        accelerator=device,
        devices=1,
        precision=hparams.train.precision,
        max_epochs=hparams.train.epochs,
        gradient_clip_val=hparams.optim.gradient_clip or None,
        callbacks=[
            writer,
            ProgressBar(paths.name),
            StopAtSignal(paths, max_steps=max_steps),
            ModelCheckpoint(
                paths.checkpoints,
                filename="best",
                monitor="val_r2",
                mode="max",
                save_last=True,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
        ],
        logger=TensorBoardLogger(paths.run_dir, name="", version="tensorboard"),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )

    session = make_session(
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        device=_describe_device(trainer),
        steps_start=_find_step(paths),
        path=paths.run_dir,
    )
    record = start_session(record, session)
    save_record(paths.record, record)
    try:
        trainer.fit(module, feed, ckpt_path=paths.last if is_resumed else None, weights_only=True)
        write_test_results(trainer, module, feed, paths)
    except Interrupted as error:
        _end(paths, record, "interrupted", trainer, str(error))
        raise
    except BaseException as error:
        _end(paths, record, "failed", trainer, f"{type(error).__name__}: {error}")
        raise
    return _end(paths, record, "finished", trainer)


def _make_record(paths: RunPaths, hparams: Hparams, feed: CropFeed) -> RunRecord:
    """The record of a new run; writes its hyperparameters, clears what is left of an old one."""
    for path in (paths.train_metrics, paths.val_metrics, paths.test_metrics, paths.reconstructions):
        path.unlink(missing_ok=True)
    write_atomic(paths.hparams, dump_hparams(hparams))
    plan = make_plan(hparams)
    return RunRecord(
        run=paths.name,
        experiment=paths.run_dir.resolve().parent.parent.name,
        num_parameters=plan.num_parameters,
        latent_shape=plan.latent_shape,
        compression_ratio=plan.compression_ratio,
        image_std=feed.calc_image_std(),
        data_hash=hashlib.sha256(find_atoms_path(hparams.data.source).read_bytes()).hexdigest(),
    )


def _end(paths, record, exit, trainer, error=None) -> RunRecord:
    best = {}
    if paths.val_metrics.exists() and (metrics := load_metrics(paths.val_metrics))["r2"].any():
        row = metrics.loc[metrics["r2"].idxmax()]
        best = {"best_step": int(row["step"]), "best_val_r2": float(row["r2"])}
    record = end_session(
        update_record(record, **best), exit=exit, steps_end=trainer.global_step, error=error
    )
    save_record(paths.record, record)
    return record


def _find_step(paths: RunPaths) -> int:
    if not paths.last.exists():
        return 0
    return torch.load(paths.last, map_location="cpu", weights_only=True)["global_step"]


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
