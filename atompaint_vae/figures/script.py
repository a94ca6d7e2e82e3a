"""The frame of an experiment's plot scripts: usage, errors in one line, exit codes."""

import sys
from collections.abc import Callable
from pathlib import Path

import docopt

from ..runs.experiment import Experiment


def run_script(usage: str, script: Path, main: Callable[[Experiment], None]):
    """Call main with the experiment that the script lies in."""
    docopt.docopt(usage)
    try:
        main(Experiment(script.resolve().parent))
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
