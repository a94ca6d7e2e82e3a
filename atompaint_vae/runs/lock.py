"""One process at a time works on a run."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

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
