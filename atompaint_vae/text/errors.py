"""User errors as one line on the terminal; exit codes of programs."""

import os
import re
import sys
from collections.abc import Callable

import docopt

EXIT_FAILED = 1
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141

EXTRA = re.compile(r"""(?P<module>[\w.-]+).*;.*\bextra == ["'](?P<extra>\w+)["']""")
"""A requirement of an extra, in the package's metadata; all their modules have the same names."""


def find_exit_code(program: Callable[[], int], mistakes: tuple[type[Exception], ...]) -> int:
    """Return the exit code of a program, or of the signal that ended it.

    mistakes: exceptions for a user's mistakes; their text is printed, without a traceback, and so
              is which extra has a module that isn't installed
    """
    try:
        exit_code = program()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except KeyboardInterrupt:
        return say("interrupted", EXIT_INTERRUPTED)
    except mistakes as error:
        return say(_describe(error), EXIT_MISTAKE)
    except ModuleNotFoundError as error:
        if text := describe_missing(error):
            return say(text, EXIT_MISTAKE)
        raise
    return exit_code


def describe_missing(error: ModuleNotFoundError) -> str:
    """Return which extra of ours has a module that isn't installed, "" if none has."""
    from importlib.metadata import PackageNotFoundError, requires  # slow to import

    name = (error.name or "").partition(".")[0]
    try:
        needed = requires("atompaint_vae") or []
    except PackageNotFoundError:  # run from a checkout that isn't installed
        needed = []
    for line in needed:
        match = EXTRA.match(line)
        if match and match["module"] == name:
            extra = match["extra"]
            return f"{name} isn't installed; pip install 'atompaint_vae[{extra}]' brings it"
    return ""


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)


def say(message: object, exit_code: int) -> int:
    """Print a message to stderr, and return the exit code."""
    print(message, file=sys.stderr)
    return exit_code


class UserError(ValueError):
    """A user's mistake; its text is one line."""


def describe_usage_error(error: docopt.DocoptExit) -> str:
    """Return what is wrong with a command line: the unexpected option, or docopt's own message."""
    problem, *usage = str(error).splitlines() or [""]
    # docopt shows Python objects here. If an argument is missing, it reports another argument or
    # option, which is correct.
    match = re.search(r"unmatched.*?'(-{1,2}[^',]+)'", problem)
    is_known = match and re.search(rf"{re.escape(match[1])}\b", "\n".join(usage))
    if match and not is_known:
        return f"{match[1]} is not expected"
    if is_known or not problem or problem.startswith(("Usage", "Warning")):
        return "the arguments don't fit the usage"
    return problem
