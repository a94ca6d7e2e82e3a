"""An experiment's page in the browser, as `make html` built it last.

Usage:
    atompaint-vae open EXPT
    atompaint-vae open (-h | --help)

EXPT is the experiment's name, or its date. Its notes are opened, or its run sheet if it has none.

Exit codes: 0 done; 2 there is no such experiment, its page isn't built, or there is no browser.
"""

import webbrowser
from pathlib import Path

import docopt

from ..runs.find import find_experiment, find_expts_dir

BUILT = "_build/html"
PAGES = ("notes.html", "sheet.html")


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["open", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    folder = find_experiment(expts_dir, arguments["EXPT"])
    built = expts_dir.parent / BUILT / folder.relative_to(expts_dir.parent)
    page = next((built / name for name in PAGES if (built / name).is_file()), None)
    if page is None:
        raise ValueError(f"{built}: not built yet; `make html` builds it")
    if not webbrowser.open(page.as_uri()):
        raise ValueError(f"no browser is found here; the page is {page}")
    return 0
