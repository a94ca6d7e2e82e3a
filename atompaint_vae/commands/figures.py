"""Figures and tables: which are stale or missing; draw those again.

Usage:
    atompaint-vae figures check [FOLDER...]
    atompaint-vae figures draw [FOLDER...]
    atompaint-vae figures (-h | --help)

Each script that draws notes down in provenance.nt, beside itself, what it wrote and from what: the
files that it read, its own code and the modules that it imported. An output is stale when one of
them has changed; comments and docstrings don't count. All is compared by content, so a fresh
clone tells the same.

check lists what is stale or missing, each with the reason.

draw runs the scripts of those again, and only of those.

Arguments:
    FOLDER    Look there and below, not in the whole notebook.

Exit codes: 0 all is up to date; 1 something is stale, missing or can't be read, or a script failed;
2 a mistake.
"""

import sys
from pathlib import Path

import docopt

from ..figures.provenance.drawings import describe_reasons
from ..figures.provenance.stale import SOURCES, Stale, check_figures, draw_again
from ..records.find import find_expts_dir


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["figures", *argv])
    folders = [Path(x) for x in arguments["FOLDER"]]
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
    root = find_expts_dir(folders[0] if folders else Path.cwd()).parent
    checked = check_figures(folders or [root / name for name in SOURCES])
    for damage in checked.damages:
        print(damage, file=sys.stderr)
    if arguments["draw"]:
        return draw_stale(checked.stale) or bool(checked.damages)
    for stale in checked.stale:
        for line in describe_stale(stale, root):
            print(line)
    num_stale = sum(len(stale.reasons) for stale in checked.stale)
    if num_stale:
        hint = "`atompaint-vae figures draw` draws them again"
        print(f"{num_stale} of {checked.num_outputs} stale or missing; {hint}", file=sys.stderr)
        return 1
    print(f"{checked.num_outputs} figures and tables are up to date")
    return 1 if checked.damages else 0


def describe_stale(stale: Stale, root: Path) -> list[str]:
    """A line for each output."""
    folder = stale.folder.resolve().relative_to(root)
    return [
        f"{folder / output}: {describe_reasons(reasons)}"
        + (f" ({stale.command})" if output != stale.command else "")
        for output, reasons in stale.reasons.items()
    ]


def draw_stale(stale: list[Stale]) -> int:
    """Exit code."""
    if not stale:
        print("all figures and tables are up to date")
    failed = [each for each in stale if not draw_again(each)]
    for each in failed:
        print(f"{each.folder / each.command}: failed", file=sys.stderr)
    return 1 if failed else 0
