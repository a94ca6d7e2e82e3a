"""Begin an experiment: a folder with today's date, hyperparameters, scripts and notes to fill in.

Usage:
    atompaint-vae new TITLE [--from EXPT]
    atompaint-vae new (-h | --help)

TITLE is what the notes are called, such as "Lower-frequency latents"; the folder is then
expts/YYYYMMDD_lower_frequency_latents. It holds copies of the scripts and of hparams.nt of another
experiment: none of its runs, figures or tables. The scripts take the names of what they write from
the folder, and the notes appear among the experiments by themselves.

Options:
    --from EXPT    The experiment to copy, by its name or date; by default the quick start, which
                   trains in minutes.

Exit codes: 0 the folder is there; 2 it isn't, or was there before.
"""

import re
import shutil
import unicodedata
from datetime import date
from pathlib import Path

import docopt

from ..runs.find import find_experiment, find_expts_dir

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
    return 0


def make_experiment(expts_dir: Path, title: str, template: Path, day: date) -> Path:
    """The new experiment's folder.

    raises: ValueError if the title makes no name, or the folder exists
    """
    folder = expts_dir / f"{day:%Y%m%d}_{make_slug(title)}"
    if folder.exists():
        raise ValueError(f"{folder}: exists already; give the experiment another title")
    folder.mkdir()
    for path in sorted(x for pattern in COPIED for x in template.glob(pattern)):
        shutil.copy(path, folder)
    escaped = re.sub(r"([\\*`_|$])", r"\\\1", title)
    # Wide letters take two columns, and the line must be as long as the title.
    width = sum(2 if unicodedata.east_asian_width(x) in "WF" else 1 for x in escaped)
    notes = NOTES.format(title=escaped, line=width * "*")
    (folder / "notes.rst").write_text(notes, "utf-8")
    return folder


def make_slug(title: str) -> str:
    """The title in lower case, words joined by underscores.

    raises: ValueError if nothing is left of it
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = "_".join(re.findall(r"[a-z0-9]+", plain.replace("'", "")))
    if not slug:
        raise ValueError(f"TITLE: expected a name with letters or digits, got {title!r}")
    return slug

