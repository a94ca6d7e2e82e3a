"""List figures and tables that are stale or missing, or draw them again.

Usage:
    atompaint-vae figures check [FOLDER...]
    atompaint-vae figures draw [FOLDER...]
    atompaint-vae figures (-h | --help)

Each script that draws records its outputs and sources in provenance.nt, in its folder. Sources are
the files that it read, its own code and the modules that it imported. An output is stale if a
source has changed, except for comments and docstrings. Contents are compared, not times, so a fresh
clone gives the same result.

check lists the stale and missing outputs, with reasons.

draw runs only the scripts of these outputs again.

Arguments:
    FOLDER    Check only this folder and those below, not the whole notebook.

Exit codes: 0 all are up to date; 1 some are stale, missing or unreadable, or a script failed; 2
failure.
"""

import sys
from pathlib import Path

import docopt

from ..figures.provenance.drawings import describe_reasons
from ..figures.provenance.stale import SOURCES, Stale, check_figures, draw_again
from ..records.find import find_expts_dir, get_root


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["figures", *argv])
    folders = [Path(x) for x in arguments["FOLDER"]]
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
    root = get_root(find_expts_dir(folders[0] if folders else Path.cwd()))
    checked = check_figures(folders or list_sources(root))
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


def list_sources(root: Path) -> list[Path]:
    """Return the folders of a notebook that hold scripts: all of it, if they have other names."""
    return [root / x for x in SOURCES] if (root / "expts").is_dir() else [root]


def describe_stale(stale: Stale, root: Path) -> list[str]:
    """Return a line for each output."""
    folder = stale.folder.resolve().relative_to(root)
    return [
        f"{folder / output}: {describe_reasons(reasons)}"
        + (f" ({stale.command})" if output != stale.command else "")
        for output, reasons in stale.reasons.items()
    ]


def draw_stale(stale: list[Stale]) -> int:
    """Run the scripts of stale outputs, and return the exit code."""
    if not stale:
        print("all figures and tables are up to date")
    failed = [each for each in stale if not draw_again(each)]
    for each in failed:
        print(f"{each.folder / each.command}: failed", file=sys.stderr)
    return 1 if failed else 0
