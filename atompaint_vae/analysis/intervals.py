"""Confidence intervals of averages over samples of few structures.

n: samples
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped
from scipy.stats import bootstrap

NUM_RESAMPLES = 2000


def calc_interval(
    values: Shaped[np.ndarray, " n"],
    groups: Sequence[str] | Shaped[np.ndarray, " n"],
    weights: Shaped[np.ndarray, " n"] | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of sum(values) / sum(weights), by a bootstrap of the groups.

    Samples of a group, such as crops of one structure, are drawn together, as they are alike. With
    fewer than about 20 groups, the interval is too narrow.

    groups:  the name of each sample's group
    weights: 1 by default, for the mean of the values; for a ratio of counts, the denominators
    returns: NaNs for fewer than two groups
    source:  Davison and Hinkley 1997, Bootstrap Methods and their Application, sec. 3.8
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return np.nan, np.nan
    # Without weights, each sample counts once.
    sums = np.bincount(group, values), np.bincount(group, weights)
    low, high = bootstrap(
        sums,
        lambda values, weights, axis: values.sum(axis) / weights.sum(axis),
        n_resamples=NUM_RESAMPLES,
        paired=True,
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return float(low), float(high)
