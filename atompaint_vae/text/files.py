"""Atomic writes: a file is written completely or not at all."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

Content = str | bytes | memoryview


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False for a name that the file system can't have."""
    try:
        return path.is_file()
    except OSError:
        return False


def write_atomic(
        path: Path, content: Content, *, keep: Path | None = None, sync: bool = True) -> None:
    """
    Write a file so that the old or the new version is always there, complete.

    keep:   path that the old version is moved to; if the process is killed in between, only this
            one is there
    sync:   survive a power cut too, which takes time; not needed for what can be made again
    raises: OSError with the file's name, even where the system's own error has none: on a full disk
    """
    path = Path(path)
    write_together({path: content}, keep={path: keep} if keep else {}, sync=sync)


def write_together(
        contents: Mapping[Path, Content], *, keep: Mapping[Path, Path] = MappingProxyType({}),
        sync: bool = True) -> None:
    """
    Write files as `write_atomic` does; none is replaced before all of them are on the disk.

    keep, sync, raises: as for `write_atomic`
    """
    temporaries = {}
    try:
        for path, content in contents.items():
            # tempfile's files are readable by their owner only, but colleagues may read a run.
            temporaries[path] = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
            with temporaries[path].open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            if path in keep and path.exists():
                path.replace(keep[path])
            temporary.replace(path)
    except BaseException as error:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    if not sync:
        return
    for folder in {path.parent for path in contents}:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the new names must survive a power cut too
        finally:
            os.close(descriptor)
