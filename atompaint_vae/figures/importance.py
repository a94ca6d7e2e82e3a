"""Which of a search's keys matter; needs Optuna, unlike the other figures of a search."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..config.space import Search
from ..search.history import History
from ..search.study import make_distributions, optuna
from ..text.errors import UserError
from .style import RUN_COLOURS, make_figure

TARGET_QUANTILE = 0.25
"""Of the trials, the best of which tell which keys are important. With 40 trials, ten are enough
for the densities, and the most important key is found more often than with Optuna's 0.1."""

MIN_FINISHED = 4


def calc_importances(history: History, *, num_draws: int = 200, seed: int = 0) -> pd.DataFrame:
    """
    Return how much each searched key decides whether a trial is among the best quarter.

    The importance of a key is the divergence between its values in the best quarter and in all
    trials, as a share of all keys' divergences. Pruned, failed and infeasible trials are not among
    the best.

    num_draws: bootstrap samples of the trials, and permutations of their values
    returns:   a row for each key, the most important first: `key`, `importance`, the 95 %
               bootstrap interval `low` and `high`, and `chance`, which 95 % of permutations don't
               reach
    raises:    UserError if fewer than 4 trials are finished
    source:    Watanabe, Bansal and Hutter 2023 (PED-ANOVA)
    """
    values = history.rank_finished()
    if len(values) < MIN_FINISHED:
        num = len(values)
        raise UserError(f"importances need {MIN_FINISHED} finished trials, there are {num}")
    outcomes = {name: x for name, x in history.outcomes.items() if x.state != "open"}
    sign = -1 if history.search.metric.better == "higher" else 1
    losses = np.array([sign * values[name] if name in values else math.inf for name in outcomes])
    params = [outcome.params for outcome in outcomes.values()]
    rng, every = np.random.default_rng(seed), np.arange(len(losses))
    draws = [rng.choice(every, len(every)) for _ in range(num_draws)]
    orders = [rng.permutation(every) for _ in range(num_draws)]
    estimate = _calc_shares(history.search, params, losses)
    samples = [_calc_shares(history.search, [params[i] for i in x], losses[x]) for x in draws]
    by_chance = [_calc_shares(history.search, params, losses[x]) for x in orders]
    low, high = np.quantile(samples, (0.025, 0.975), axis=0)
    table = pd.DataFrame({
        "key": [*history.search.space], "importance": estimate, "low": low, "high": high,
        "chance": np.quantile(by_chance, 0.95, axis=0),
    })  # fmt: skip
    return table.sort_values("importance", ascending=False, ignore_index=True)


def _calc_shares(
    search: Search, params: Sequence[Mapping[str, Any]], losses: np.ndarray
) -> list[float]:
    """Return the share of each key; losses of trials that aren't finished are infinite."""
    distributions = make_distributions(search)
    finite = losses[np.isfinite(losses)]
    losses = np.minimum(losses, finite.max(initial=0) + 1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials([
        optuna.trial.create_trial(params=dict(x), distributions=distributions, value=loss)
        for x, loss in zip(params, losses, strict=True)
    ])
    quantile = min(TARGET_QUANTILE, max(len(finite), 1) / len(losses))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
    found = evaluator.evaluate(study)
    total = sum(found.values())
    return [found[key] / total if total else 0.0 for key in search.space]


def plot_importance(importances: pd.DataFrame) -> Figure:
    """
    Draw the importance of each key with its interval, and what chance would give.

    importances: as from `calc_importances`
    """
    rows = np.arange(len(importances))
    figure, axes = make_figure(figsize=(7, 0.9 + 0.32 * len(rows)))
    axes.barh(rows, importances["importance"], color=RUN_COLOURS[0], height=0.6)
    axes.hlines(rows, importances["low"], importances["high"], color="black", lw=1.2,
                label="95 % bootstrap interval over trials")  # fmt: skip
    axes.plot(importances["chance"], rows, "|", color=RUN_COLOURS[1], ms=13, mew=2,
              label="95 % of permuted values are below")  # fmt: skip
    axes.set_yticks(rows, importances["key"])
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    axes.grid(False, axis="y")
    axes.set(xlim=(0, None), xlabel="share of the importance (PED-ANOVA, best quarter)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
