"""What is wrong with a command line, in one line, where docopt would print the usage."""

import re

import docopt


def describe_usage_error(error: docopt.DocoptExit) -> str:
    """The word that isn't expected, or what docopt says of it."""
    if error.left:
        return f"{error.left[0].name or error.left[0].value} is not expected"
    problem = next(iter(str(error).splitlines()), "")
    # docopt shows Python objects here.
    if match := re.search(r"unmatched.*?'(-{1,2}[^',]+)'", problem):
        return f"{match[1]} is not expected"
    return "not understood" if not problem or problem.startswith("Usage") else problem
