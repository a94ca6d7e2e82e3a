"""An experiment: a dated folder with the hyperparameters of its runs, and what they recorded."""

from dataclasses import dataclass
from pathlib import Path

from .hparams import Hparams, load_hparams, load_resolved
from .record import RunPaths, RunRecord, load_record


class UserError(Exception):
    """A mistake of the user's, told in one line."""


@dataclass(frozen=True)
class RecordedRun:
    """A run that has begun: where it is, what it was given and what it noted down."""

    paths: RunPaths
    hparams: Hparams
    record: RunRecord

    @property
    def name(self) -> str:
        return self.paths.name


@dataclass(frozen=True)
class Experiment:
    expt_dir: Path

    @property
    def name(self) -> str:
        return self.expt_dir.resolve().name

    @property
    def date(self) -> str:
        """YYYYMMDD, with which the names of its figures and tables begin."""
        return self.name.split("_")[0]

    @property
    def hparams_path(self) -> Path:
        return self.expt_dir / "hparams.nt"

    def load_hparams(self) -> dict[str, Hparams]:
        return load_hparams(self.hparams_path)

    def get_run_paths(self, name: str) -> RunPaths:
        return RunPaths(self.expt_dir / "runs" / name)

    def load_runs(self) -> list[RecordedRun]:
        """The runs that have recorded something, in the order of hparams.nt.

        raises: ValueError if there are none
        """
        runs = []
        for name in self.load_hparams():
            paths = self.get_run_paths(name)
            if paths.record.exists() and paths.val_metrics.exists():
                hparams, record = load_resolved(paths.hparams), load_record(paths.record)
                runs.append(RecordedRun(paths, hparams, record))
        if not runs:
            raise ValueError(f"{self.expt_dir / 'runs'}: no run is validated yet; ./train.py first")
        return runs
