"""Optuna's part in a search: sample the next values, and prune trials.

The records of the runs are the storage. Each call builds a study from them in memory, so that no
other state can disagree with them: not after a kill, not between workers, not in a clone.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..config.space import Choices, Range, Search
from ..text.errors import UserError
from .history import Outcome, find_best

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
    # Optuna ignores failed trials, and would sample similar ones again; a trial pruned before its
    # first validation counts as the worst.
    "failed": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
}


def sample_params(
    search: Search, outcomes: Sequence[Outcome], key: Sequence[int]
) -> dict[str, Any]:
    """Return the next point of the space to try.

    outcomes: of the trials so far
    key:      numbers of the random seed; equal ones give the same point for the same outcomes
    """
    settings = search.settings
    seed = int(np.random.SeedSequence([settings.seed, *key]).generate_state(1)[0])
    if settings.sampler == "random":
        sampler = optuna.samplers.RandomSampler(seed=seed)
    else:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.startup_trials)
    study = _make_study(search, outcomes, sampler)
    return study.ask(make_distributions(search)).params


def is_hopeless(
    search: Search, curve: tuple[float, ...], finished: Sequence[tuple[float, ...]]
) -> bool:
    """Return whether to prune a trial after its last validation.

    curve:    the search's metric at its validations
    finished: the same for each finished trial
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
    distributions = make_distributions(search)
    for outcome in outcomes:
        known = {key: distributions[key] for key in outcome.params}
        study.add_trial(_make_trial(search, outcome, known))
    return study


def find_direction(search: Search) -> Literal["maximize", "minimize"]:
    """Return whether to maximize or minimize the search's metric."""
    return "maximize" if search.metric.better == "higher" else "minimize"


def make_distributions(search: Search) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each key; choices are numbered."""
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
