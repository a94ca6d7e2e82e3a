"""Parse and check the options of train.py and of commands that share them."""

import sys
from pathlib import Path

import docopt

from ..slurm.submit import SLURM_OPTIONS
from ..text.errors import UserError, describe_usage_error

NOT_TOGETHER = (("--list", "--dry-run"), ("--list", "--slurm"), ("--weights", "--slurm"))


def parse_arguments(usage: str) -> dict:
    """Return the arguments of the command line.

    raises: UserError with one line, where docopt would print the usage
    """
    try:
        return docopt.docopt(usage)
    except docopt.DocoptExit as error:
        problem = describe_usage_error(error)
        raise UserError(f"{problem}; see {Path(sys.argv[0]).name} --help") from None


def check_options(arguments: dict):
    """Check that options fit together; raises: UserError."""
    for one, other in NOT_TOGETHER:
        if arguments[one] and arguments[other]:
            raise UserError(f"{one} and {other} can't be given together")
    for option in SLURM_OPTIONS:
        if arguments[option] is not None and not arguments["--slurm"]:
            raise UserError(f"{option} is an option of --slurm, which isn't given")


def list_options(usage: str, arguments: dict) -> dict[str, list[str]]:
    """Return the words of the command line for each option that isn't at its default."""
    defaults = docopt.docopt(usage, [])
    return {
        name: [name] if value is True else [name, value]
        for name, value in arguments.items()
        if name.startswith("--") and value != defaults[name]
    }


def parse_when(arguments: dict) -> dict:
    """Return the arguments of `CheckpointWriter`: when to stop and to save."""
    return {
        "max_steps": parse_number(arguments, "--max-steps"),
        "save_steps": parse_number(arguments, "--save-steps"),
        "save_minutes": parse_minutes(arguments, "--save-minutes"),
    }


def parse_number(arguments: dict, option: str, *, least: int = 1) -> int | None:
    text = arguments[option]
    if text is None:
        return None
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{option}: expected a whole number >= {least}, got {text!r}")
    return int(text)


def parse_minutes(arguments: dict, option: str) -> float:
    try:
        minutes = float(arguments[option])
    except ValueError:
        minutes = 0
    if not minutes > 0:
        raise UserError(f"{option}: expected a number > 0, got {arguments[option]!r}")
    return minutes
