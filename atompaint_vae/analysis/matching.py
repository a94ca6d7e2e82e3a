"""Found atoms matched with true ones: precision, recall, RMSD.

n: found atoms, k: true atoms, m: matches
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from atompaint_vae.data.crops.voxelize import CHANNELS

MAX_DISTANCE_A = 1.0


class Match(NamedTuple):
    """Pairs of indices of found and of true atoms, and their distances."""

    found: Int[np.ndarray, "m"]
    true: Int[np.ndarray, "m"]
    distances_A: Float[np.ndarray, "m"]


def match_atoms(
    found_coords_A: Float[np.ndarray, "n 3"],
    found_channels: Int[np.ndarray, "n"],
    true_coords_A: Float[np.ndarray, "k 3"],
    true_channels: Int[np.ndarray, "k"],
    *,
    max_distance_A: float = MAX_DISTANCE_A,
) -> Match:
    """Match as many pairs of atoms as possible, with the least sum of squared distances.

    A pair has the same channel, and a distance of at most max_distance_A; no atom is in two pairs.
    """
    parts = [Match(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for channel in np.unique(found_channels):
        found = np.flatnonzero(found_channels == channel)
        true = np.flatnonzero(true_channels == channel)
        squares = cdist(found_coords_A[found], true_coords_A[true], "sqeuclidean")
        limit = max_distance_A**2
        # A pair too far apart costs more than all pairs that are near together can.
        costs = np.where(squares <= limit, squares, limit * (1 + min(squares.shape)))
        rows, columns = linear_sum_assignment(costs)
        is_near = squares[rows, columns] <= limit
        rows, columns = rows[is_near], columns[is_near]
        parts.append(Match(found[rows], true[columns], np.sqrt(squares[rows, columns])))
    return Match(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def count_matches(
    match: Match,
    found_channels: Int[np.ndarray, "n"],
    true_channels: Int[np.ndarray, "k"],
    *,
    found_counts: Bool[np.ndarray, "n"],
    true_counts: Bool[np.ndarray, "k"],
) -> pd.DataFrame:
    """Count matches by channel, for `score_matches`; the counts of several crops can be added.

    found_counts, true_counts: whether each atom counts, for example if its centre is inside the
                               image; one that doesn't may still be the partner of one that does
    returns: columns true, found, recalled, confirmed, square_A2 (of the recalled atoms), a row for
             each channel
    """
    is_recalled, is_confirmed = true_counts[match.true], found_counts[match.found]

    def add_up(channels, weights=None):
        return np.bincount(channels, weights, minlength=len(CHANNELS))

    recalled = true_channels[match.true][is_recalled]
    return pd.DataFrame(
        {
            "true": add_up(true_channels[true_counts]),
            "found": add_up(found_channels[found_counts]),
            "recalled": add_up(recalled),
            "confirmed": add_up(found_channels[match.found][is_confirmed]),
            "square_A2": add_up(recalled, match.distances_A[is_recalled] ** 2),
        },
        index=pd.Index(CHANNELS, name="element"),
    )


def score_matches(counts: pd.DataFrame) -> pd.DataFrame:
    """Calculate precision, recall and RMSD of each row of counts; NaN where a divisor is 0.

    counts:  as of `count_matches`
    returns: columns precision, recall, rmsd_A, true, found
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "precision": counts.confirmed / counts.found,
                "recall": counts.recalled / counts.true,
                "rmsd_A": np.sqrt(counts.square_A2 / counts.recalled),
                "true": counts.true,
                "found": counts.found,
            }
        )
