"""An experiment: a dated folder with the hyperparameters of its runs, and what they recorded."""

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

    @property
    def slurm_dir(self) -> Path:
        """What was submitted to Slurm, and the logs of its tasks: git ignores it."""
        return self.expt_dir / ".slurm"

    def load_hparams(self) -> dict[str, Hparams]:
        return load_hparams(self.hparams_path)

    def load_search(self) -> Search | None:
        """What its search samples, None if it has none."""
        return read_hparams(self.hparams_path).search

    def get_run_paths(self, name: str) -> RunPaths:
        return RunPaths(self.expt_dir / "runs" / name)

    def get_again_paths(self, name: str) -> RunPaths:
        """Where a finished run is trained again for its weights: git ignores it."""
        return RunPaths(self.expt_dir / ".again" / name)

    def find_run_states(self) -> dict[str, RunState]:
        """How far each run is, in the order of hparams.nt."""
        return {name: find_run_state(self.get_run_paths(name)) for name in self.load_hparams()}

    def load_properties(self) -> dict[str, Mapping[str, Value]]:
        """What each run recorded, in the order of hparams.nt; a planned one has a state alone."""
        found = {name: self.get_run_paths(name) for name in self.load_hparams()}
        return {
            name: load_run(f"{self.name}/{name}", paths).properties
            if paths.record.exists()
            else {"state": "planned"}
            for name, paths in found.items()
        }

    def load_runs(self) -> list[RecordedRun]:
        """The runs that are finished, in the order of hparams.nt.

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
