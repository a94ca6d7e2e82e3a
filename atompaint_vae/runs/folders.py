"""The notebook's root, and the experiments in it, by name, date or number."""

import os
from pathlib import Path

from .experiment import Experiment, UserError

EXPTS = "expts"


def find_root(start: Path) -> Path:
    """The notebook that a folder lies in: the nearest above it with conf.py and expts/.

    raises: UserError if there is none
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "conf.py").is_file() and (folder / EXPTS).is_dir():
            return folder
    raise UserError(f"{start}: not in a notebook: no folder above has conf.py and {EXPTS}/")


def list_experiments(root: Path) -> list[Experiment]:
    """The folders below expts/ that hold hparams.nt, nested ones too, newest first."""
    found = []
    for folder, subfolders, files in os.walk(root / EXPTS):
        subfolders[:] = [x for x in subfolders if x != "runs" and not x.startswith((".", "_"))]
        if "hparams.nt" in files:
            found.append(Experiment(Path(folder)))
    return sorted(found, key=lambda expt: expt.expt_dir.relative_to(root).parts, reverse=True)


def find_experiment(root: Path, name: str) -> Experiment:
    """The experiment that a name, a date or a part of either means.

    raises: UserError if it means none, or more than one
    """
    expts = list_experiments(root)
    wanted = Path(name).name.lower()
    for means in (str.__eq__, str.startswith, str.__contains__):
        found = [expt for expt in expts if means(expt.name.lower(), wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(expt.name for expt in found)
            raise UserError(f"experiment {name!r} may be any of {names}")
    known = ", ".join(expt.name for expt in expts) or "none"
    raise UserError(f"experiment {name!r} is unknown; known: {known}")
