"""One process at a time works on a run."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .experiment import UserError
from .record import RunPaths


@contextmanager
def lock_run(paths: RunPaths) -> Iterator[None]:
    """Hold a run's lock; the system lets go of it however the process ends.

    raises: UserError if another process holds it
    """
    with paths.lock.open("w") as file:
        try:
            # Unlike flock's, this lock isn't inherited by the processes that load data, which
            # outlive a killed training process by some seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{paths.run_dir}: another process is training this run") from None
        yield


def find_folder_problem(folder: Path) -> str | None:
    """What keeps runs from being written to a folder, which need not be there yet."""
    if folder.exists() and not folder.is_dir():
        return f"{folder}: expected a folder, found a file"
    nearest = folder if folder.exists() else folder.parent
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest}: this folder can't be written to"
    return None
