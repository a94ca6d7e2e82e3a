"""Confidence intervals of averages over samples of few structures.

n: samples
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

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
    returns: NaNs for fewer than two groups, or if all weights are 0
    source:  Davison and Hinkley 1997, Bootstrap Methods and their Application, sec. 3.8
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return np.nan, np.nan
    # Without weights, each sample counts once.
    sums = np.stack([np.bincount(group, values), np.bincount(group, weights)])
    drawn = np.random.default_rng(0).integers(len(names), size=(NUM_RESAMPLES, len(names)))
    values, weights = sums[:, drawn].sum(axis=2)
    if not weights.any():
        return np.nan, np.nan
    low, high = np.percentile(values[weights > 0] / weights[weights > 0], [2.5, 97.5])
    return float(low), float(high)
