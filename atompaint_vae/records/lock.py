"""Locks: only one process at a time trains a run."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from ..text.errors import UserError
from .record import RunPaths


def archive_run(paths: RunPaths) -> Path:
    """Move a run's folder out of the way of a new one, and return its new path.

    raises: UserError as `lock_run`
    """
    archived = paths.run_dir.parent / ".archive" / f"{paths.name}-{datetime.now():%Y%m%dT%H%M%S}"
    with lock_run(paths):
        archived.parent.mkdir(exist_ok=True)
        return paths.run_dir.rename(archived)


_own: set[tuple[int, Path]] = set()
"""The locks that this process holds, and its number, since a forked process inherits the set but
not the locks.  The system drops a lock when the process closes any descriptor of its file."""


def _is_own(lock: Path) -> bool:
    return (os.getpid(), lock.absolute()) in _own


class RunBusyError(UserError):
    """Another process is training the run."""


@contextmanager
def lock_run(paths: RunPaths) -> Iterator[None]:
    """Hold a run's lock, and make its folder; the system releases it however the process ends.

    raises: RunBusyError if another process holds it; UserError if the folder isn't writable
    """
    if _is_own(paths.lock):
        raise RunBusyError(f"{paths.run_dir}: this process is training this run already")
    with _open_lock(paths.lock) as file:
        try:
            # Unlike flock's, this lock isn't inherited by data-loading processes, which outlive a
            # killed training process by some seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunBusyError(f"{paths.run_dir}: another process is training this run") from None
        own = os.getpid(), paths.lock.absolute()
        _own.add(own)
        try:
            yield
        finally:
            _own.discard(own)


@contextmanager
def lock_trials(expt_dir: Path) -> Iterator[None]:
    """Hold the lock of an experiment's trials.nt, or wait until it is free.

    raises: UserError if the folder isn't writable
    """
    with _open_lock(expt_dir / ".lock") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def _open_lock(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path.parent}: can't be written to: {reason}") from None


def is_locked(paths: RunPaths) -> bool:
    """Return whether this process or another one is training the run."""
    # Opening and closing the file would release this process's own lock.
    if _is_own(paths.lock):
        return True
    try:
        with paths.lock.open() as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
