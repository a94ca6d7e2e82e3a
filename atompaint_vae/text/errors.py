"""A user's mistakes, told in one line; how programs end, and their exit codes."""

import os
import re
import sys
from collections.abc import Callable

import docopt

EXIT_FAILED = 1
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141


def find_exit_code(program: Callable[[], int], mistakes: tuple[type[Exception], ...]) -> int:
    """That of a program, or of what has cut it off.

    mistakes: the user's, which are told in one line
    """
    try:
        exit_code = program()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except KeyboardInterrupt:
        return say("interrupted", EXIT_INTERRUPTED)
    except mistakes as error:
        return say(_describe(error), EXIT_MISTAKE)
    return exit_code


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)


def say(message: object, exit_code: int) -> int:
    """The exit code; the message goes to stderr."""
    print(message, file=sys.stderr)
    return exit_code


class UserError(ValueError):
    """A mistake of the user's, told in one line."""


def describe_usage_error(error: docopt.DocoptExit) -> str:
    """The option that isn't expected, or what docopt says of it in words."""
    problem = next(iter(str(error).splitlines()), "")
    # docopt shows Python objects here.
    if match := re.search(r"unmatched.*?'(-{1,2}[^',]+)'", problem):
        return f"{match[1]} is not expected"
    # Where an argument is missing, docopt has no place for another, which is not to blame.
    if not problem or problem.startswith(("Usage", "Warning")):
        return "the arguments don't fit the usage"
    return problem
