"""
Paths and record of a run. Metrics are in `metrics.py`.

A process may be killed at any moment, so files are written under a temporary name and then moved.
"""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from ..config.schema import Hparams
from ..text.files import write_atomic
from ..text.located import Located, LocatedError, list_problems, load_located
from ..text.typed import Bool, Int, Noun, TextModel, check_model, dump_model

RunState = Literal["planned", "running", "interrupted", "failed", "pruned", "finished"]

OVER: tuple[RunState, ...] = ("finished", "pruned")
"""States of runs that need no more training."""

UNREADABLE = "unreadable"
"""Shown in place of a RunState if a run's files are damaged; records never contain it."""

PACKAGES = ["torch", "lightning", "e3nn", "numpy", "atompaint_vae"]


class RecordError(LocatedError):
    """Mistakes in a run's record, one per line."""


@dataclass(frozen=True)
class RunPaths:
    """All paths of a run; only this class knows the file names."""
    run_dir: Path

    expt_dir = property(lambda self: self.run_dir.absolute().parents[1])
    hparams = property(lambda self: self.run_dir / "hparams.nt")
    record = property(lambda self: self.run_dir / "record.nt")
    train_metrics = property(lambda self: self.run_dir / "train.csv")
    val_metrics = property(lambda self: self.run_dir / "val.csv")
    test_metrics = property(lambda self: self.run_dir / "test.csv")
    reconstructions = property(lambda self: self.run_dir / "reconstructions.npz")
    checkpoints = property(lambda self: self.run_dir / "checkpoints")
    last = property(lambda self: self.checkpoints / "last.ckpt")
    previous = property(lambda self: self.checkpoints / "previous.ckpt")
    best = property(lambda self: self.checkpoints / "best.ckpt")
    best_copy = property(lambda self: self.checkpoints / "best_copy.ckpt")
    lock = property(lambda self: self.run_dir / ".lock")
    tensorboard = property(lambda self: self.run_dir / "tensorboard")

    def __post_init__(self):
        object.__setattr__(self, "run_dir", Path(self.run_dir))

    @property
    def name(self) -> str:
        return self.run_dir.name


_BLANK_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def _parse_time(value: object) -> object:
    if isinstance(value, str):
        return datetime.strptime(value, _TIME_FORMAT).replace(tzinfo=UTC)
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(microsecond=0)
    raise ValueError


def _join_lines(value: object) -> object:
    if not isinstance(value, str):
        return value
    # Python decodes arguments that aren't UTF-8 to lone surrogates, which can't be written.
    return " ".join(value.encode("utf-8", "backslashreplace").decode().split())


Time = Annotated[
    datetime, BeforeValidator(_parse_time),
    PlainSerializer(lambda time: time.strftime(_TIME_FORMAT)),
    Noun("a time such as 2024-12-17T09:30:00Z"),
]
Line = Annotated[str, BeforeValidator(_join_lines)]
MaybeInt = Annotated[Int | None, _BLANK_IS_NONE]
# Unlike hyperparameters, measured numbers may be NaN: diverged runs have records too.
MaybeFloat = Annotated[float | None, _BLANK_IS_NONE]
MaybeLine = Annotated[Line | None, _BLANK_IS_NONE]


def _parse_size(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(int(x) for x in value)
    return float(value)


SizeText = Annotated[
    float | tuple[int, ...], BeforeValidator(_parse_size), Noun("a number or a list of integers")]

OLD_SIZES = ("latent_shape", "compression_ratio")
OLD_KEYS = (*OLD_SIZES, "best_step", "best_val_r2", "collapsed_step")


class Session(TextModel):
    """One process that trained a run; an interrupted run has several."""
    command: Line
    started: Time
    ended: Annotated[Time | None, _BLANK_IS_NONE] = None
    device: Line
    devices: Int = Field(1, ge=1, description=(
        "Number of devices that shared each batch."))
    nodes: Int = Field(1, ge=1, description="Number of machines that these devices were on.")
    versions: dict[str, Line] = Field(description="Versions of Python and of packages.")
    git_commit: MaybeLine = Field(None, description="Blank outside a git repository.")
    git_dirty: Bool = Field(False, description="Whether the tree differed from the commit.")
    steps_start: Int = Field(ge=0, description="Steps of the run before this session.")
    steps_end: MaybeInt = None
    exit: Literal["running", "finished", "interrupted", "failed", "pruned"] = "running"
    error: MaybeLine = Field(None, description=(
        "Reason why a session failed or was pruned, on one line."))


class Best(TextModel):
    """The validation of the best weights."""
    metric: Line = Field(description="Column of val.csv that chose them.")
    step: Int = Field(ge=0)
    value: float


class Precision(TextModel):
    """The number format that `precision: auto` chose when the run started."""
    chosen: Literal["32-true", "bf16-mixed"]
    speedup: float = Field(gt=0, description=(
        "Time of a training step in 32-true, divided by that in bf16-mixed."))


class RunRecord(TextModel):
    """
    Origin, progress and summary of a run.

    After a process was killed outright, the state is still "running".
    """
    run: Line
    experiment: Line
    state: Literal["running", "interrupted", "failed", "pruned", "finished"] = "running"
    num_parameters: MaybeInt = None
    sizes: dict[str, SizeText] = Field({}, description=(
        "Other sizes of the model, such as the shape of a latent (channels, then the sides "
        "[voxels]) and the compression ratio (input numbers / latent numbers)."))
    image_std: MaybeFloat = Field(None, description=(
        "Standard deviation of the training images; the model divides by it."))
    best: Annotated[Best | None, _BLANK_IS_NONE] = Field(None, description=(
        "The validation that chose the weights for the test and for publishing."))
    alarms: dict[str, Int] = Field({}, description=(
        "Alarms of the last validation, such as `collapsed` for a VAE's latent, and the step of "
        "the validation since which each has been on."))
    precision: Annotated[Precision | None, _BLANK_IS_NONE] = Field(None, description=(
        "The number format that `precision: auto` chose; blank if hparams.nt names one."))
    data_hash: MaybeLine = Field(None, description="SHA-256 of the structures.")
    inputs: dict[str, Line] = Field({}, description=(
        "SHA-256 of the weights of frozen models, by the hyperparameters that name them."))
    sessions: tuple[Session, ...] = ()


@dataclass(frozen=True)
class GitState:
    """The commit that is checked out, None outside git, and whether the tree differs from it."""
    commit: str | None
    dirty: bool


def find_git_state(path: Path) -> GitState:
    """
    Return the state of the git repository that contains `path`.

    Files that runs write (`expts/*/runs/`) don't make the tree dirty: otherwise every resumed run
    would seem to use changed code.
    """
    # Git sets these in its hooks; they may name another repository than the path's.
    others = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"]
    env = {k: v for k, v in os.environ.items() if k not in others}

    def git(*args):
        # `git status` would take locks that block the user's own git.
        command = ["git", "--no-optional-locks", "-C", str(path), *args]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    try:
        head = git("rev-parse", "--verify", "HEAD")
        status = git("status", "--porcelain", "--", ":/", ":(top,exclude,glob)expts/*/runs/**")
    except OSError:  # git isn't installed
        return GitState(None, False)
    commit = head.stdout.strip() if head.returncode == 0 else None
    return GitState(commit, status.returncode == 0 and bool(status.stdout.strip()))


def make_session(
        *, command: str, device: str, devices: int = 1, nodes: int = 1, steps_start: int,
        path: Path, now: datetime | None = None) -> Session:
    """Return a session that starts now, with the state of the code in `path`'s repository."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    git = find_git_state(path)
    return Session(
        command=command, started=now or datetime.now(UTC), device=device, devices=devices,
        nodes=nodes, versions=versions, git_commit=git.commit, git_dirty=git.dirty,
        steps_start=steps_start)


def update_record(record: RunRecord, **values: Any) -> RunRecord:
    """Return the record with some values replaced, and check it as when reading."""
    return RunRecord.model_validate({**dict(record), **values})


def start_session(record: RunRecord, session: Session) -> RunRecord:
    """Return the record with a new session; earlier sessions that were killed are closed."""
    earlier = [
        s.model_copy(update={"exit": "interrupted"}) if s.exit == "running" else s
        for s in record.sessions
    ]
    return update_record(record, state="running", sessions=(*earlier, session))


def end_session(
        record: RunRecord, *, exit: Literal["finished", "interrupted", "failed", "pruned"],
        steps_end: int, error: str | None = None, now: datetime | None = None) -> RunRecord:
    """Return the record with its last session ended."""
    *earlier, last = record.sessions
    # The clock may have been set back in the meantime.
    ended = max(now or datetime.now(UTC), last.started)
    last = Session.model_validate({
        **dict(last), "exit": exit, "steps_end": steps_end, "error": error, "ended": ended})
    return update_record(record, state=exit, sessions=(*earlier, last))


def _convert_old_keys(written: Located) -> Located:
    """Return a record of an older version in the present format."""
    values = dict(written.content)
    old = {key: values.pop(key) for key in OLD_KEYS if key in values}
    given = {key: value for key, value in old.items() if value.content != ""}

    def nest(section: str, **nested: Located | None):
        content = {key: value for key, value in nested.items() if value is not None}
        first = next(iter(content.values()))
        values.setdefault(section, Located(content, first.key_place, first.place))

    if sizes := {key: given[key] for key in OLD_SIZES if key in given}:
        nest("sizes", **sizes)
    if "best_step" in given and "best_val_r2" in given:
        step = given["best_step"]
        metric = replace(step, content="r2")
        nest("best", metric=metric, step=step, value=given["best_val_r2"])
    if step := given.get("collapsed_step"):
        nest("alarms", collapsed=step)
    return replace(written, content=values)


def load_record(path: Path) -> RunRecord:
    """Return the record at `path`; raises: RecordError with file, line and column."""
    record, problems = check_model(RunRecord, _convert_old_keys(load_located(path, RecordError)))
    if problems:
        raise RecordError(list_problems(problems))
    return record


def save_record(path: Path, record: RunRecord) -> None:
    write_atomic(path, dump_model(record))


def resolve_precision(hparams: Hparams, precision: Precision | None) -> Hparams:
    """Return a run's hyperparameters with the number format that was chosen, if one was."""
    if precision is None:
        return hparams
    train = hparams.train.model_copy(update={"precision": precision.chosen})
    return hparams.model_copy(update={"train": train})


def find_run_state(paths: RunPaths) -> RunState:
    """Return the state of a run; "planned" if it has no record."""
    return load_record(paths.record).state if paths.record.exists() else "planned"


def describe_damage(errors: Sequence[ValueError | OSError], run_dir: Path) -> str:
    """Return the reading errors of a run in one line, with paths relative to its folder."""
    lines = []
    for error in errors:
        text = f"{error.filename}: {error.strerror.lower()}" if _has_name(error) else str(error)
        lines += text.replace(f"{run_dir}/", "").splitlines()
    return lines[0] + (f" (and {len(lines) - 1} more)" if lines[1:] else "")


def _has_name(error: Exception) -> bool:
    return isinstance(error, OSError) and bool(error.filename and error.strerror)

