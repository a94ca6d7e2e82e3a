"""Run scripts that draw: usage, provenance, one-line errors, exit codes."""

import sys
from collections.abc import Callable
from pathlib import Path

from ...records.experiment import Experiment
from ...records.record import OVER
from ...text.errors import EXIT_MISTAKE
from ...training.options import parse_arguments
from .trace import record_drawing


def run_script(usage: str, script: Path, main: Callable[[Experiment], None]):
    """Call main with the script's experiment; print the unfinished runs, which are left out."""

    def draw():
        expt = Experiment(script.resolve().parent)
        states = expt.find_run_states()
        unfinished = {name: state for name, state in states.items() if state not in OVER}
        if unfinished and len(unfinished) < len(states):
            names = ", ".join(f"{name} ({state})" for name, state in unfinished.items())
            print(f"left out: {names}", file=sys.stderr)
        with record_drawing(script, unfinished):
            main(expt)

    _run(usage, draw)


def run_page_script(usage: str, script: Path, main: Callable[[Path], None]):
    """Call main with the script's folder of pages."""

    def draw():
        with record_drawing(script):
            main(script.resolve().parent)

    _run(usage, draw)


def _run(usage: str, draw: Callable[[], None]):
    try:
        parse_arguments(usage)
        draw()
    except FileNotFoundError as error:
        print(f"{error.filename}: no such file", file=sys.stderr)
        sys.exit(EXIT_MISTAKE)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_MISTAKE)
