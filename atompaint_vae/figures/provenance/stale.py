"""Which figures and tables of a notebook are stale or missing, and how to draw them again."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ...records.experiment import Experiment
from .drawings import FILE_NAME, find_reasons, load_provenance, split_command

SOURCES = ("docs", "expts")
SCRIPT = re.compile(r"^from atompaint_vae\.figures\.provenance\.script import ", re.MULTILINE)


@dataclass(frozen=True)
class Stale:
    """The outputs of a command that aren't up to date, with the reasons."""

    folder: Path
    command: str
    reasons: dict[str, list[str]]


@dataclass(frozen=True)
class Checked:
    """
    The result of a check.

    num_outputs: how many figures and tables were checked
    damages:     one line for each file that can't be read
    """

    num_outputs: int
    stale: list[Stale]
    damages: list[str]


def check_figures(folders: list[Path]) -> Checked:
    """Return what is stale or missing in these folders and below."""
    num_outputs, stale, damages = 0, [], []
    for folder in _walk(folders):
        try:
            found = _check_folder(folder)
        except (ValueError, OSError) as error:
            damages += str(error).splitlines()
        else:
            num_outputs += found.num_outputs
            stale += found.stale
    return Checked(num_outputs, stale, damages)


def _check_folder(folder: Path) -> Checked:
    num_outputs, stale = 0, []
    drawings = load_provenance(folder)
    for command, drawing in drawings.items():
        num_outputs += len(drawing.outputs)
        reasons = {x: find_reasons(folder, drawing, x) for x in drawing.outputs}
        reasons = {output: why for output, why in reasons.items() if why}
        if reasons:
            stale.append(Stale(folder, command, reasons))
    recorded = {split_command(command)[0] for command in drawings}
    for script in _list_scripts(folder):
        if script.name not in recorded and _can_draw(folder):
            reason = f"what it draws is missing, or not in {FILE_NAME}"
            stale.append(Stale(folder, script.name, {script.name: [reason]}))
            num_outputs += 1
    return Checked(num_outputs, stale, [])


def draw_again(stale: Stale) -> bool:
    """Run the script again, and return whether it succeeded; it prints to the terminal."""
    name, *arguments = split_command(stale.command)
    command = [sys.executable, name, *arguments]
    return subprocess.run(command, cwd=stale.folder, check=False).returncode == 0


def _walk(folders: list[Path]) -> list[Path]:
    """Return the folders that may hold scripts, each once."""
    found = {}
    for top in folders:
        for folder, subfolders, _ in os.walk(top):
            subfolders[:] = sorted(x for x in subfolders if x != "runs" and x[0] not in "._")
            found[Path(folder)] = None
    return list(found)


def _list_scripts(folder: Path) -> list[Path]:
    scripts = sorted(folder.glob("*.py"))
    return [x for x in scripts if SCRIPT.search(x.read_text("utf-8", "replace"))]


def _can_draw(folder: Path) -> bool:
    """Return whether there is anything to draw: an experiment needs a finished run."""
    expt = Experiment(folder)
    return not expt.hparams_path.is_file() or "finished" in expt.find_run_states().values()
