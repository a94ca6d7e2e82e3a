"""Open an experiment's page in the browser, as last built by `make html`.

Usage:
    atompaint-vae open EXPT
    atompaint-vae open (-h | --help)

EXPT is the experiment's name or date. The page is that of its notes, or of its run sheet if it has
no notes.

Exit codes: 0 success; 1 there is no browser, and the page's path is printed; 2 there is no such
experiment, or its page isn't built.
"""

import sys
import webbrowser
from pathlib import Path

import docopt

from ..records.find import find_experiment, find_expts_dir, get_root

BUILT = "_build/html"
PAGES = ("notes.html", "sheet.html")


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["open", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    folder = find_experiment(expts_dir, arguments["EXPT"])
    root = get_root(expts_dir)
    built = root / BUILT / folder.relative_to(root)
    page = next((built / name for name in PAGES if (built / name).is_file()), None)
    if page is None:
        raise ValueError(f"{built}: not built yet; `make html` builds it")
    if not webbrowser.open(page.as_uri()):
        print(page)
        print("no browser is found here; open this page in one", file=sys.stderr)
        return 1
    return 0
