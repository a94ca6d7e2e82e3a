"""
Settings of this site's Slurm: `slurm.nt`, in the notebook's folder or above it.

    sbatch:
      partition: gpu
      time: 4:00:00
      gres: gpu:1
      cpus-per-task: 4
    array_limit: 8
    setup:
      > module load cuda
"""

import re
from pathlib import Path
from typing import Annotated

from annotated_types import Ge
from pydantic import Field

from ..text.located import LocatedError, Problem, list_problems, load_located
from ..text.typed import Int, TextModel, check_model

FILE_NAME = "slurm.nt"

# Options that the script sets.
RESERVED = frozenset({
    "array", "chdir", "error", "job-name", "no-requeue", "nodes", "ntasks", "ntasks-per-node",
    "open-mode", "output", "requeue", "signal",
})  # fmt: skip


class SlurmSettingsError(LocatedError):
    """Mistakes in slurm.nt, one per line."""


class SlurmSettings(TextModel):
    """The keys of `slurm.nt`."""
    sbatch: dict[str, str] = Field({}, description=(
        "Options of sbatch by their long names; blank for those without a value."))
    array_limit: Annotated[Int, Ge(1)] | None = Field(None, description=(
        "Largest number of runs of an array that train at once."))
    notice_s: Int = Field(120, ge=1, description=(
        "Seconds before the time limit at which a run is told to write a checkpoint and end."))
    setup: str = Field("", description="Lines of bash before train.py.")


def load_slurm_settings(folder: Path) -> SlurmSettings:
    """
    Return the settings for a folder's runs; defaults if there is no file.

    raises: SlurmSettingsError with file, line and column
    """
    folder = Path(folder).resolve()
    paths = (x / FILE_NAME for x in (folder, *folder.parents))
    path = next((x for x in paths if x.is_file()), None)
    if path is None:
        return SlurmSettings()
    values = load_located(path, SlurmSettingsError)
    settings, problems = check_model(SlurmSettings, values)
    if settings is not None:
        options = values.content["sbatch"].content if settings.sbatch else {}
        problems = [
            Problem(value.key_place, f"sbatch.{name}: {mistake}")
            for name, value in options.items()
            if (mistake := _find_mistake(name, settings.sbatch[name]))
        ]
    if problems:
        raise SlurmSettingsError(list_problems(problems))
    return settings


def _find_mistake(name: str, value: str) -> str | None:
    if not re.fullmatch(r"[a-z][a-z-]+", name):
        return "expected an option's long name, without '--'"
    if name in RESERVED:
        return "train.py sets this one itself"
    if "\n" in value:
        return "expected one line"
    return None
