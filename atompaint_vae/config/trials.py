"""
`trials.nt`: the values that a search has sampled, in order.

    trial-000:
      loss:
        beta: 0.31
    trial-001:
      model:
        latent: 80x0e
      infeasible: the latent is no smaller than the image

Each one is a run of the experiment, except for infeasible ones. Only searches write the file.
Commit it: together with the runs' records, it is the whole state of a search.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nestedtext as nt

from ..text.files import write_atomic
from ..text.located import Located, LocatedError, load_located

TRIALS = "trials.nt"
INFEASIBLE = "infeasible"


@dataclass(frozen=True)
class Trial:
    """
    values:     sampled values, with their places
    infeasible: why they can't be trained; None if they can
    """
    values: Located
    infeasible: str | None


def load_trials(expt_dir: Path, error: type[LocatedError]) -> dict[str, Trial]:
    """Return an experiment's trials by name; raises: `error` if their file can't be read."""
    path = Path(expt_dir) / TRIALS
    if not path.exists():
        return {}
    return {name: _make_trial(values) for name, values in load_located(path, error).content.items()}


def _make_trial(values: Located) -> Trial:
    if not isinstance(values.content, dict) or INFEASIBLE not in values.content:
        return Trial(values, None)
    rest = dict(values.content)
    reason = rest.pop(INFEASIBLE)
    return Trial(replace(values, content=rest), str(reason.plain))


def append_trial(
        expt_dir: Path, name: str, values: Mapping[str, Any], infeasible: str | None) -> None:
    """Add a trial at the end; call under the lock of the experiment's searches."""
    path = Path(expt_dir) / TRIALS
    known = load_located(path).plain if path.exists() else {}
    reason = {INFEASIBLE: infeasible} if infeasible else {}
    write_atomic(path, nt.dumps(known | {name: {**values, **reason}}, indent=2) + "\n")
