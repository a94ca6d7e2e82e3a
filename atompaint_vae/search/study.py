"""Optuna's part in a search: which values to try next, which trial to end early.

The records of the runs are the storage. A study is made from them whenever Optuna is asked, in
memory, so that there is nothing that could disagree with them: not after a kill, not between
workers, not in a clone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..config.space import Choices, Range, Search
from ..text.errors import UserError

try:
    import optuna
except ModuleNotFoundError:
    raise UserError(
        "searches need Optuna: pip install 'atompaint_vae[search]', or pip install optuna"
    ) from None

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "open": TrialState.RUNNING,
    # Optuna learns nothing from trials that fail, and would try the like again; one that was
    # pruned before its first validation counts as the worst.
    "failed": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
}


@dataclass(frozen=True)
class Outcome:
    """
    What came of a trial so far.

    params: where in the space it is
    state:  "open" if it isn't over
    curve:  the search's metric at each validation
    """

    params: Mapping[str, Any]
    state: Literal["finished", "pruned", "failed", "infeasible", "open"]
    curve: tuple[float, ...] = ()


def sample_params(
    search: Search, outcomes: Sequence[Outcome], key: Sequence[int]
) -> dict[str, Any]:
    """The next point of the space to try.

    outcomes: of the trials so far
    key:      numbers; the same ones give the same point after the same outcomes
    """
    settings = search.settings
    seed = int(np.random.SeedSequence([settings.seed, *key]).generate_state(1)[0])
    if settings.sampler == "random":
        sampler = optuna.samplers.RandomSampler(seed=seed)
    else:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.startup_trials)
    study = _make_study(search, outcomes, sampler)
    return study.ask(_make_distributions(search)).params


def is_hopeless(
    search: Search, curve: tuple[float, ...], finished: Sequence[tuple[float, ...]]
) -> bool:
    """Whether a trial is to be pruned after its last validation.

    curve:    the search's metric at its validations
    finished: at those of the finished trials
    """
    settings = search.settings
    if settings.pruner == "none":
        return False
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=settings.startup_trials, n_warmup_steps=settings.warmup_epochs
    )
    outcomes = [Outcome({}, "finished", other) for other in finished]
    study = _make_study(search, [*outcomes, Outcome({}, "open", curve)], None)
    return pruner.prune(study, study.get_trials(deepcopy=False)[-1])


def _make_study(
    search: Search, outcomes: Sequence[Outcome], sampler: optuna.samplers.BaseSampler | None
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=find_direction(search), sampler=sampler)
    distributions = _make_distributions(search)
    for outcome in outcomes:
        known = {key: distributions[key] for key in outcome.params}
        study.add_trial(_make_trial(search, outcome, known))
    return study


def find_direction(search: Search) -> Literal["maximize", "minimize"]:
    """Return whether the search's metric is to be high or low."""
    return "maximize" if search.metric.better == "higher" else "minimize"


def find_best(search: Search, curve: Sequence[float]) -> float:
    """Return the best number of a curve, NaN if it has none."""
    numbers = [value for value in curve if math.isfinite(value)]
    return search.metric.find_best(numbers) if numbers else math.nan


def _make_distributions(search: Search) -> dict[str, BaseDistribution]:
    return {key: _make_distribution(dimension) for key, dimension in search.space.items()}


def _make_distribution(dimension: Range | Choices) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution(range(len(dimension.values)))
    if dimension.is_integer:
        step = int(dimension.step or 1)
        return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=step)
    return FloatDistribution(
        dimension.low, dimension.high, log=dimension.log, step=dimension.step
    )


def _make_trial(
    search: Search, outcome: Outcome, distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    is_finished = outcome.state == "finished"
    return create_trial(
        state=STATES[outcome.state],
        params=dict(outcome.params),
        distributions=distributions,
        value=find_best(search, outcome.curve) if is_finished else None,
        intermediate_values={} if outcome.state == "failed" else dict(enumerate(outcome.curve)),
    )
