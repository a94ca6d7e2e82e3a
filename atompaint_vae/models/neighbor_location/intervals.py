"""Confidence intervals of averages over crops of a few structures."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

NUM_RESAMPLES = 2000


def calc_interval(
    values: Shaped[np.ndarray, " n"],
    groups: Sequence[str],
    weights: Shaped[np.ndarray, " n"] | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of an average, by a bootstrap of the groups.

    source: Davison and Hinkley 1997, Bootstrap Methods and their Application, sec. 3.8
    """
    weights = np.ones(len(values)) if weights is None else weights
    _, group = np.unique(groups, return_inverse=True)
    totals = np.stack([np.bincount(group, x) for x in (weights * values, weights)])
    chosen = np.random.default_rng(0).integers(
        totals.shape[1], size=(NUM_RESAMPLES, totals.shape[1])
    )
    sums, counts = totals[:, chosen].sum(axis=2)
    low, high = np.quantile(sums / counts, [0.025, 0.975])
    return float(low), float(high)
