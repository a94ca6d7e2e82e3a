"""Start an experiment: a folder with today's date, hyperparameters, scripts and notes to fill in.

Usage:
    atompaint-vae new TITLE [--from EXPT]
    atompaint-vae new (-h | --help)

TITLE is the title of the notes, such as "Lower-frequency latents"; the folder is then
expts/YYYYMMDD_lower_frequency_latents. It gets copies of another experiment's scripts and
hparams.nt, but none of its runs, figures or tables. The scripts name their outputs after the
folder, and the notes are listed among the experiments automatically.

If pages refer to an older experiment only by this date, or only by this name, these places are
listed: they now need its whole name.

Options:
    --from EXPT    The experiment to copy, by its name or date; by default the quick start, which
                   trains in minutes.

Exit codes: 0 success; 2 failure, or the folder exists.
"""

import re
import shutil
import sys
import unicodedata
from datetime import date
from pathlib import Path

import docopt

from ..records.find import (
    find_experiment,
    find_experiments,
    find_expts_dir,
    find_references,
    get_root,
)

DEFAULT = "20241001_quick_start"
COPIED = ("*.py", "*.sh", "hparams.nt")
NOTES = """\
{line}
{title}
{line}

The question that the runs are to answer.

Method
======

- What the runs have in common, and in which hyperparameter they differ.

Results
=======

- What the figures and tables show.

Conclusion
==========

- The answer, and what to do next.
"""


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["new", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    title = " ".join(arguments["TITLE"].split())
    folder = make_experiment(
        expts_dir, title, find_experiment(expts_dir, arguments["--from"] or DEFAULT), date.today()
    )
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    print(f"{shown}: edit hparams.nt, then ./train.py --dry-run")
    for place, name, meant in find_ambiguous(expts_dir, folder.name):
        text = f"{name!r} may be {meant} or {folder.name} from now on; write {meant}"
        print(f"{place}: {text}", file=sys.stderr)
    return 0


def find_ambiguous(expts_dir: Path, new: str) -> list[tuple[str, str, str]]:
    """Return the references that a new experiment makes ambiguous: place, name, old meaning."""
    others = [x.rpartition("/")[2] for x in find_experiments(expts_dir)]
    others = [x for x in others if x != new]
    return [
        (place, name, meant[0])
        for name in new.split("_", 1)
        if len(meant := [x for x in others if name in x.split("_", 1)]) == 1
        for place in find_references(get_root(expts_dir), name)
    ]


def make_experiment(expts_dir: Path, title: str, template: Path, day: date) -> Path:
    """Make the new experiment's folder, and return its path.

    raises: ValueError if no name can be made from the title, or the folder exists
    """
    folder = expts_dir / f"{day:%Y%m%d}_{make_slug(title)}"
    if folder.exists():
        raise ValueError(f"{folder}: exists already; give the experiment another title")
    folder.mkdir()
    for path in sorted(x for pattern in COPIED for x in template.glob(pattern)):
        shutil.copy(path, folder)
    escaped = re.sub(r"([\\*`_|$])", r"\\\1", title)
    # Wide letters take two columns, and the line must be as wide as the title.
    width = sum(2 if unicodedata.east_asian_width(x) in "WF" else 1 for x in escaped)
    notes = NOTES.format(title=escaped, line=width * "*")
    (folder / "notes.rst").write_text(notes, "utf-8")
    return folder


def make_slug(title: str) -> str:
    """Return the title in lower case, words joined by underscores.

    raises: ValueError if no letter or digit is left
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = "_".join(re.findall(r"[a-z0-9]+", plain.replace("'", "")))
    if not slug:
        raise ValueError(f"TITLE: expected a name with letters or digits, got {title!r}")
    return slug

