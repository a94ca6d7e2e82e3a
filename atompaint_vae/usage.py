"""What is wrong with a command line, in one line, where docopt would print the usage."""

import re

import docopt


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
