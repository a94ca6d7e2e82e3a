"""An experiment: a dated folder with the hyperparameters and records of its runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config.hparams import load_hparams, load_resolved, read_hparams
from ..config.schema import Hparams
from ..config.space import Search
from ..text.errors import UserError
from .properties import Value, load_run
from .record import RunPaths, RunRecord, RunState, find_run_state, load_record


@dataclass(frozen=True)
class RecordedRun:
    """A run that has started: its paths, hyperparameters and record."""

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
        """YYYYMMDD, the prefix of its figures' and tables' names."""
        return self.name.split("_")[0]

    @property
    def hparams_path(self) -> Path:
        return self.expt_dir / "hparams.nt"

    @property
    def slurm_dir(self) -> Path:
        """Folder of submissions to Slurm and logs of tasks, ignored by git."""
        return self.expt_dir / ".slurm"

    def load_hparams(self) -> dict[str, Hparams]:
        return load_hparams(self.hparams_path)

    def load_search(self) -> Search | None:
        """Return its search, None if it has none."""
        return read_hparams(self.hparams_path).search

    def get_run_paths(self, name: str) -> RunPaths:
        return RunPaths(self.expt_dir / "runs" / name)

    def get_again_paths(self, name: str) -> RunPaths:
        """Return the paths where a finished run is retrained for its weights, ignored by git."""
        return RunPaths(self.expt_dir / ".again" / name)

    def find_run_states(self) -> dict[str, RunState]:
        """Return the state of each run, in the order of hparams.nt."""
        return {name: find_run_state(self.get_run_paths(name)) for name in self.load_hparams()}

    def load_properties(self) -> dict[str, Mapping[str, Value]]:
        """Return the runs' properties, in the order of hparams.nt; planned runs have a state."""
        found = {name: self.get_run_paths(name) for name in self.load_hparams()}
        return {
            name: load_run(f"{self.name}/{name}", paths).properties
            if paths.record.exists()
            else {"state": "planned"}
            for name, paths in found.items()
        }

    def load_runs(self) -> list[RecordedRun]:
        """Return the finished runs, in the order of hparams.nt.

        raises: UserError if there are none
        """
        states = self.find_run_states()
        finished = [self.get_run_paths(name) for name in states if states[name] == "finished"]
        if not finished:
            raise UserError(f"{self.expt_dir / 'runs'}: no run is finished yet; ./train.py first")
        return [
            RecordedRun(paths, load_resolved(paths.hparams), load_record(paths.record))
            for paths in finished
        ]
