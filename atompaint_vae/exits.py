"""How programs end: their exit codes, and what ends any of them."""

import os
import sys
from collections.abc import Callable

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
