"""The command line: atompaint-vae COMMAND ...

To add a command, add a row to COMMANDS, and a module with `main(argv: list[str]) -> int`, whose
docstring is its docopt usage. For a user's mistake, raise a ValueError of one line.
"""

from __future__ import annotations

import sys
from importlib import import_module

from .text.errors import EXIT_MISTAKE, find_exit_code, say
from .text.tables import format_table
from .threads import set_thread_waiting

# Name, module, what it does.
COMMANDS = {
    "compare": ("atompaint_vae.commands.compare", "results of runs, and what differs between them"),
    "data": ("atompaint_vae.commands.data", "fetch structures; build and show sets of them"),
    "plan": ("atompaint_vae.commands.plan", "sizes, costs and time of an experiment's runs"),
    "search": ("atompaint_vae.commands.search", "sample hyperparameters and train them"),
    "new": ("atompaint_vae.commands.new", "start an experiment: folder, scripts, notes"),
    "list": ("atompaint_vae.commands.list", "list experiments, their runs and best results"),
    "show": ("atompaint_vae.commands.show", "the runs of an experiment and how they differ"),
    "status": ("atompaint_vae.commands.status", "progress of each run; the command for the rest"),
    "open": ("atompaint_vae.commands.open", "open an experiment's page in the browser"),
    "references": ("atompaint_vae.commands.references", "look up the references that pages cite"),
    "sample": ("atompaint_vae.commands.generate.sample", "draw samples of a trained denoiser"),
    "paint": ("atompaint_vae.commands.generate.paint", "paint the atoms around a residue anew"),
    "score": ("atompaint_vae.commands.generate.score", "score images, such as generated ones"),
    "publish": ("atompaint_vae.commands.publish", "publish a trained model in the package"),
    "evaluate": ("atompaint_vae.commands.evaluate", "test a published model on your structures"),
    "figures": ("atompaint_vae.commands.figures", "list stale or missing figures; redraw them"),
}


def main(argv: list[str] | None = None) -> None:
    """Run the command that the arguments name, and exit with its code."""
    sys.exit(run_command(sys.argv[1:] if argv is None else argv))


def run_command(argv: list[str]) -> int:
    """Return a command's exit code: 0; 1 if input was left out; 2 for a user's mistake."""
    set_thread_waiting()
    return find_exit_code(lambda: _run(argv), (ValueError, OSError))


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(make_usage())
        return 0 if argv else EXIT_MISTAKE
    if argv[0] == "--version":
        from . import __version__

        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        known = ", ".join(COMMANDS)
        return say(f"unknown command {argv[0]!r}; known: {known}", EXIT_MISTAKE)
    from docopt import DocoptExit

    try:
        return import_module(COMMANDS[argv[0]][0]).main(argv[1:])
    except DocoptExit as error:  # its own exit code is 1
        from .text.errors import describe_usage_error

        problem = describe_usage_error(error)
        return say(f"{problem}; see atompaint-vae {argv[0]} --help", EXIT_MISTAKE)


def make_usage() -> str:
    """Return the usage, with a line for each command."""
    rows = format_table([["  ", name, does] for name, (_, does) in COMMANDS.items()])
    return "\n".join([
        "Usage: atompaint-vae COMMAND [ARGUMENTS]...", "", "Commands:", *rows, "",
        "For details: atompaint-vae COMMAND --help",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
