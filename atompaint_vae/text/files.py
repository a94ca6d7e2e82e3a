"""Files that are written whole or not at all."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def is_file(path: Path) -> bool:
    """Return whether there is such a file; there is none of a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def write_atomic(
        path: Path, content: str | bytes | memoryview, *, keep: Path | None = None,
        sync: bool = True) -> None:
    """
    Write a file so that, whatever happens, either the old or the new one is there, whole.

    keep:   where the old one goes; a process that is killed may leave it there alone
    sync:   whether it outlives a power cut too, which takes time; what can be made again need not
    raises: OSError that names the file, also where the system's own names none: on a full disk
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    # Not tempfile's: its files can be read by nobody else, and colleagues may read a run.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if keep and path.exists():
            path.replace(keep)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    if not sync:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # so that the new name outlives a power cut as well
    finally:
        os.close(folder)
