"""Distances between two distributions, from the features of samples of them.

n, m: samples, d: features
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

from .intervals import calc_jackknife_interval

NUM_SPLITS = 20


def calc_frechet_distance(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> float:
    """Calculate the Fréchet distance of the normal distributions with two samples' moments.

    Too large for few samples: for samples of one distribution it is not 0 but nearly proportional
    to 1/n, and larger the more features there are.

    raises: ValueError for fewer than two samples
    source: Dowson and Landau 1982; squared, as in Heusel et al. 2017, eq. 6
    """
    _check_sizes(x, y, at_least=2)
    cov_x, cov_y = (np.atleast_2d(np.cov(sample, rowvar=False)) for sample in (x, y))
    variances, axes = np.linalg.eigh(cov_x)
    root_x = axes * np.sqrt(variances.clip(0)) @ axes.T
    # Symmetric, unlike cov_x cov_y, so that its eigenvalues stay real if a covariance is singular.
    squares = np.linalg.eigvalsh(root_x @ cov_y @ root_x)
    offset = x.mean(axis=0) - y.mean(axis=0)
    return float(
        offset @ offset + np.trace(cov_x) + np.trace(cov_y) - 2 * np.sqrt(squares.clip(0)).sum()
    )


def calc_frechet_infinity(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> float:
    """Extrapolate the Fréchet distance to infinitely many samples, linearly in 1/n.

    The line goes through the distance of all samples, and the mean distance of random halves of
    both; it varies about a tenth less than a line fitted to ten sizes. With only a few times more
    samples than features, somewhat too small; may be negative.

    raises: ValueError for fewer than four samples
    source: Chong and Forsyth 2020, who fit a line to 15 sizes
    """
    _check_sizes(x, y, at_least=4)
    rng = np.random.default_rng(0)
    halves = [
        calc_frechet_distance(*pair)
        for _ in range(NUM_SPLITS)
        for pair in zip(*(np.array_split(rng.permutation(s), 2) for s in (x, y)), strict=True)
    ]
    return 2 * calc_frechet_distance(x, y) - float(np.mean(halves))


def calc_kernel_distance(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> float:
    """Estimate the squared maximum mean discrepancy, with the kernel (x·y / d + 1)³.

    Unbiased for independent samples, and therefore sometimes negative.

    raises: ValueError for fewer than two samples
    source: Gretton et al. 2012, eq. 3; kernel of Bińkowski et al. 2018
    """
    _check_sizes(x, y, at_least=2)
    return _calc_mean_kernel(x) + _calc_mean_kernel(y) - 2 * float(_calc_kernel(x, y).mean())


def calc_distance_interval(
    calc_distance: Callable[[np.ndarray, np.ndarray], float],
    features: tuple[np.ndarray, np.ndarray],
    groups: tuple[Sequence | np.ndarray, Sequence | np.ndarray],
) -> tuple[float, float]:
    """Return the 95 % interval of the distance of two samples.

    calc_distance, features, groups: as for `leave_groups_out`
    returns: as `calc_jackknife_interval`
    """
    names = np.unique(np.concatenate([np.asarray(x).astype(str) for x in groups]))
    return calc_jackknife_interval(leave_groups_out(calc_distance, features, groups, names))


def leave_groups_out(
    calc_distance: Callable[[np.ndarray, np.ndarray], float],
    features: tuple[np.ndarray, np.ndarray],
    groups: tuple[Sequence | np.ndarray, Sequence | np.ndarray],
    names: Sequence[str] | np.ndarray,
) -> Float64[np.ndarray, " r"]:
    """Return the distance of two samples, then the distances without each group in turn.

    The differences of these, of two samples to one reference, are what `calc_jackknife_interval`
    needs for how much farther one of them is.

    calc_distance: of this module, but not `calc_frechet_infinity`: a random choice of samples would
                   widen the interval many times
    features:      of both, each [samples, d]
    groups:        of each of their samples
    names:         of the groups; none is left out if there are fewer than two, or if one has all
                   samples but one
    """
    groups = tuple(np.asarray(x).astype(str) for x in groups)
    chosen = [[slice(None)] * 2]
    others = [[x != str(name) for x in groups] for name in names]
    if len(names) > 1 and min(x.sum() for pair in others for x in pair) > 1:
        chosen += others
    return np.array([
        calc_distance(*(x[i] for x, i in zip(features, pair, strict=True))) for pair in chosen
    ])


def _calc_kernel(x: np.ndarray, y: np.ndarray) -> Float64[np.ndarray, "n m"]:
    linear = x @ y.T / x.shape[1] + 1
    return linear * linear * linear


def _calc_mean_kernel(x: np.ndarray) -> float:
    """Return the mean over all pairs of two different samples."""
    kernel = _calc_kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))


def _check_sizes(x: np.ndarray, y: np.ndarray, at_least: int) -> None:
    num = min(len(x), len(y))
    if num < at_least:
        raise ValueError(f"a distance needs at least {at_least} samples of each set, not {num}")
