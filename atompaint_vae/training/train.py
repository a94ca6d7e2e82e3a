"""Train one run, from its hyperparameters to its record; resume it if it was interrupted."""

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

from ..config.datasets import resolve_source
from ..config.hparams import dump_hparams
from ..config.schema import Hparams
from ..data.sets.sources import calc_source_hash
from ..models.kind import get_kind
from ..records.find import UnknownRunError, find_expts_dir
from ..records.lock import lock_run
from ..records.metrics import MetricsError
from ..records.record import (
    RunPaths,
    RunRecord,
    end_session,
    load_record,
    make_session,
    resolve_precision,
    save_record,
    start_session,
    update_record,
)
from ..records.validations import find_alarms, find_best_validation
from ..text.errors import UserError
from ..text.files import write_atomic
from .callbacks import AlarmBell, DivergenceStop, MetricsWriter, ProgressBar
from .checkpoints import (
    AtomicCheckpointIO,
    CheckpointWriter,
    Diverged,
    Pruned,
    load_best_checkpoint,
    load_newest_checkpoint,
    remove_leftovers,
)
from .evaluate import test_best, write_test_results
from .feed import CropFeed
from .module import TrainingModule
from .plan import build_model, choose_precision, make_plan
from .processes import Processes
from .signals import Interrupted, SignalWatch
from .weights import InputModels, load_inputs

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str, num_devices: int = 1) -> str:
    """Return "cpu" or "cuda"; "auto" is the GPU if there is one.

    Apple's GPUs are excluded: they have no float64, in which metrics are summed.

    raises: UserError if there is no such device, or too few
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
class Assignment:
    """The data of a run that all processes need to train it.

    when: when to stop and to write checkpoints, as for `CheckpointWriter`
    """

    paths: RunPaths
    hparams: Hparams
    image_std: float
    is_resumed: bool
    when: dict


class Training:
    """The training of a run in one process.

    writers:   called before each checkpoint
    callbacks: called after it
    """

    def __init__(
        self,
        assignment: Assignment,
        feed: CropFeed,
        inputs: InputModels,
        processes: Processes,
        watch: SignalWatch,
        *,
        writers: Sequence[L.Callback] = (),
        callbacks: Sequence[L.Callback] = (),
    ):
        self.assignment = assignment
        self.feed = feed
        self.processes = processes
        hparams, paths = assignment.hparams, assignment.paths
        torch.manual_seed(hparams.seed)
        model = build_model(hparams, image_std=assignment.image_std, inputs=inputs.modules)
        train = feed.datasets["train"]
        if not assignment.is_resumed:
            try:
                get_kind(hparams.kind).load_objective().calibrate(model, train)
            except UserError as error:
                raise UserError(f"{paths.run_dir}: {error}") from error
        self.module = TrainingModule(model, hparams, train)
        self.trainer = L.Trainer(
            accelerator=processes.device,
            devices=processes.num_devices,
            num_nodes=processes.num_nodes,
            strategy=processes.make_strategy(),
            precision=hparams.train.precision,
            max_epochs=hparams.train.epochs,
            gradient_clip_val=hparams.optim.gradient_clip or None,
            callbacks=[
                *writers,
                DivergenceStop(),
                CheckpointWriter(paths, watch, processes, **assignment.when),
                *callbacks,
            ],
            plugins=[AtomicCheckpointIO(paths, processes), *_find_slurm()],
            logger=TensorBoardLogger(paths.run_dir, name="", version="tensorboard"),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        device = self.trainer.strategy.root_device
        self.module.objective.prepare(_find_cache(paths.expt_dir), device)

    def run(self) -> dict:
        """Train, test, and return the row of test.csv.

        raises: as `train_run`
        """
        try:
            with self.processes.watch_for_loss():
                resume = self.assignment.paths.last if self.assignment.is_resumed else None
                self.trainer.fit(self.module, self.feed, ckpt_path=resume, weights_only=True)
                paths = self.assignment.paths
                return test_best(self.trainer, self.module, self.feed, paths, self.processes)
        finally:
            self.feed.end_workers()


def train_run(
    paths: RunPaths,
    hparams: Hparams,
    processes: Processes,
    callbacks: Sequence[L.Callback] = (),
    **when,
) -> RunRecord:
    """Train a run until it is finished, or pruned by a callback, and return its record.

    Call it in the first process; the others call `follow`.

    callbacks: called in this process after checkpoints are written; only a single process may
               prune
    when:      as in `Task`

    raises: Interrupted if a signal or max_steps ended it early, Diverged if a loss or weight isn't
            finite, UserError if it can't start or resume, OSError if its files can't be written,
            ProcessLost if another process is gone
    """
    with lock_run(paths), SignalWatch() as watch:
        remove_leftovers(paths)
        feed = _make_feed(hparams, paths.expt_dir, processes.device)
        inputs = load_inputs(hparams, paths.expt_dir)
        checkpoint, record = _find_start(paths, hparams, feed, inputs)
        resolved = resolve_precision(hparams, record.precision)
        assignment = Assignment(paths, resolved, record.image_std, checkpoint is not None, when)
        processes.share(assignment)
        writers = [
            MetricsWriter(paths),
            AlarmBell(paths.name),
            ProgressBar(paths.name, batch_size=hparams.optim.batch_size),
        ]
        training = Training(
            assignment, feed, inputs, processes, watch, writers=writers, callbacks=callbacks
        )
        if not assignment.is_resumed:
            _begin_anew(paths, hparams)
        trainer = training.trainer
        session = make_session(
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            device=_describe_device(trainer),
            devices=processes.num_all,
            nodes=processes.num_nodes,
            steps_start=checkpoint["global_step"] if checkpoint else 0,
            path=paths.run_dir,
        )
        record = start_session(record, session)
        save_record(paths.record, record)
        try:
            test_row = training.run()
            write_test_results(test_row, training.module, feed, paths)
        except Pruned as reason:
            record = _end(paths, hparams, record, "pruned", trainer, str(reason))
        except Interrupted as error:
            _end(paths, hparams, record, "interrupted", trainer, str(error) or None)
            raise
        except BaseException as error:
            with suppress(OSError):  # if the disk is full, the record can't be written either
                _end(paths, hparams, record, "failed", trainer, f"{type(error).__name__}: {error}")
            raise
        else:
            record = _end(paths, hparams, record, "finished", trainer)
        for path in (paths.previous, paths.best_copy):
            path.unlink(missing_ok=True)
        return record


def follow(processes: Processes):
    """Train the runs that the first process shares, until it has no more.

    raises: ProcessLost if another process is gone
    """
    with SignalWatch(may_raise=False) as watch:
        while assignment := processes.share():
            hparams, expt_dir = assignment.hparams, assignment.paths.expt_dir
            feed = _make_feed(hparams, expt_dir, processes.device)
            inputs = load_inputs(hparams, expt_dir)
            training = Training(assignment, feed, inputs, processes, watch)
            with suppress(Interrupted, Diverged):  # the first process handles them
                training.run()


def _make_feed(hparams: Hparams, expt_dir: Path, device: str) -> CropFeed:
    try:
        return CropFeed(hparams, expt_dir, device)
    except (ValueError, OSError) as error:
        raise UserError(f"data: {error}") from error


def _find_cache(expt_dir: Path) -> Path:
    """Return the folder for what can be computed again, which all experiments share."""
    try:
        return find_expts_dir(expt_dir) / ".cache"
    except UnknownRunError:
        return expt_dir / ".cache"


def _find_start(
    paths: RunPaths, hparams: Hparams, feed: CropFeed, inputs: InputModels
) -> tuple[dict | None, RunRecord]:
    """Return the checkpoint to resume from, None if there is none, and the record so far."""
    data_hash = calc_source_hash(resolve_source(hparams, paths.expt_dir))
    earlier = load_record(paths.record) if paths.record.exists() else None
    if not (earlier and (paths.last.exists() or paths.previous.exists())):
        return None, _make_record(paths, hparams, feed, inputs, data_hash, earlier)
    if earlier.data_hash != data_hash:
        raise UserError(
            f"{paths.record}: {hparams.data.source} holds other structures than when the run "
            f"started; train.py --restart {paths.name} trains it from scratch"
        )
    inputs.check(earlier, paths)
    checkpoint = load_newest_checkpoint(paths)
    if find_best_validation(paths, get_kind(hparams.kind)) is not None:
        load_best_checkpoint(paths)  # fail now rather than after the training
    return checkpoint, earlier


def _make_record(
    paths: RunPaths,
    hparams: Hparams,
    feed: CropFeed,
    inputs: InputModels,
    data_hash: str,
    earlier: RunRecord | None,
) -> RunRecord:
    """Return the record of a new run."""
    plan = make_plan(hparams, inputs=inputs.modules)
    precision = choose_precision(
        hparams, paths.expt_dir, device=feed.device, inputs=inputs.modules
    )
    return RunRecord(
        run=paths.name,
        experiment=paths.expt_dir.resolve().name,
        num_parameters=plan.num_parameters,
        sizes=plan.sizes,
        image_std=inputs.image_std or feed.calc_image_std(),
        precision=precision,
        data_hash=data_hash,
        inputs=inputs.hashes,
        sessions=earlier.sessions if earlier else (),
    )


def _begin_anew(paths: RunPaths, hparams: Hparams):
    """Write the hyperparameters of a new run, and remove old results."""
    paths.checkpoints.mkdir(parents=True, exist_ok=True)
    artifacts = [paths.run_dir / name for name in get_kind(hparams.kind).artifacts]
    for path in (paths.test_metrics, *artifacts, paths.best, paths.best_copy):
        path.unlink(missing_ok=True)
    write_atomic(paths.hparams, dump_hparams(hparams))


def _end(
    paths: RunPaths,
    hparams: Hparams,
    record: RunRecord,
    exit: str,
    trainer: L.Trainer,
    error: str | None = None,
) -> RunRecord:
    kind = get_kind(hparams.kind)
    # A damaged table must not hide how the session ended; readers of the run report it.
    with suppress(MetricsError, OSError):
        best, alarms = find_best_validation(paths, kind), find_alarms(paths, kind)
        record = update_record(record, best=best or record.best, alarms=alarms)
    record = end_session(record, exit=exit, steps_end=trainer.global_step, error=error)
    save_record(paths.record, record)
    return record


def _describe_device(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _find_slurm() -> list[SLURMEnvironment]:
    """Return Slurm's environment if it started this process; our script requeues, not Lightning."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
