"""A build that loads all it needs, says so, and waits until it is told to begin."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from sphinx.cmd.build import main

KEY = "atompaint_wait"
"""The setting with the file descriptor through which a build is told to begin."""

FIRST = 0
"""Priority before all others: what runs at the beginning of a build sees the files as they are."""


def build_when_told(connection: Connection, arguments: Sequence[str]) -> None:
    """
    Prepare a build, send the files that it has loaded, and build once an answer arrives.

    arguments: of ``sphinx-build``
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends its builds
    gc.disable()
    sys.argv[1:] = arguments
    sys.exit(main([*arguments, "-D", f"{KEY}={os.dup(connection.fileno())}"]))


def list_loaded(app) -> set[str]:
    """Return the configuration and the files of all modules; if one changes, load all anew."""
    files = {getattr(x, "__file__", None) for x in [*sys.modules.values()]}
    return {os.path.realpath(x) for x in [*filter(None, files), Path(app.confdir, "conf.py")]}


def wait(app) -> None:
    if not app.config[KEY]:
        return
    with Connection(app.config[KEY]) as connection:
        try:
            connection.send(list_loaded(app))
            connection.recv()
        except (EOFError, BrokenPipeError):  # the server is gone
            sys.exit()


def setup_component(app):
    app.add_config_value(KEY, 0, "", int)
    app.connect("builder-inited", wait, priority=FIRST)
