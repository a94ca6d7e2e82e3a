"""How well a classifier's accuracy and features tell levels of atom noise apart.

n: pairs of views, m: reference images, d: features
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64

from ...analysis.distances import (
    calc_frechet_distance,
    calc_kernel_distance,
    leave_groups_out,
)
from ...analysis.intervals import (
    calc_interval,
    calc_jackknife_interval,
    calc_share_interval,
)
from .classifier import NeighborClassifier
from .views import ViewPair

DISTANCES = {"frechet": calc_frechet_distance, "kernel": calc_kernel_distance}


class Scores(NamedTuple):
    """What a classifier makes of pairs of views: 1 if it finds the face, and the features of the
    first view."""

    hits: Float64[np.ndarray, " n"]
    features: Float64[np.ndarray, "n d"]


def score_views(
    model: NeighborClassifier, batches: Iterable[Mapping[float, ViewPair]]
) -> dict[float, Scores]:
    """Return the scores at each level of noise.

    batches: views at each level, of the same crops
    """
    found: dict[float, list[tuple[np.ndarray, np.ndarray]]] = {}
    for pairs in batches:
        for level, (images, face) in pairs.items():
            with torch.no_grad():
                hits = model(images).argmax(dim=1) == face
                features = model.calc_features(images[:, 0])
            scores = hits.double().cpu().numpy(), features.double().cpu().numpy()
            found.setdefault(level, []).append(scores)
    return {
        level: Scores(*map(np.concatenate, zip(*scores, strict=True)))
        for level, scores in found.items()
    }


def compare_levels(
    scores: Mapping[float, Scores],
    reference: Float64[np.ndarray, "m d"],
    structures: Sequence[str],
    reference_structures: Sequence[str],
    *,
    num_images: int,
) -> pd.DataFrame:
    """Tabulate accuracy and distances to a reference at each level, and differences of levels.

    scores:     of the same crops at each level, in ascending order
    reference:  features of other images
    structures: of each pair; those of the reference may be the same
    num_images: of the pairs, how many are used, the first of them
    returns:    columns `metric`, `num_images`, `noise_A`, `than_noise_A`, `value`, and its 95 %
                interval over the structures, `low` and `high`; where `than_noise_A` is not NaN,
                they are of how much larger the metric is than at that level.  Distances are the
                jackknife's, without the bias of few images; NaN for fewer than two structures
    """
    groups = (np.asarray(structures)[:num_images], np.asarray(reference_structures))
    names = np.unique(np.concatenate(groups))
    # Of each level, what an interval is calculated from; that of a difference, from the difference.
    measured = {"accuracy": {level: x.hits[:num_images] for level, x in scores.items()}}
    for metric, calc_distance in DISTANCES.items():
        measured[metric] = {
            level: leave_groups_out(
                calc_distance, (x.features[:num_images], reference), groups, names
            )
            for level, x in scores.items()
        }
    rows = []
    for metric, of_levels in measured.items():
        changes = {(level, np.nan): x for level, x in of_levels.items()}
        changes |= {(b, a): of_levels[b] - of_levels[a] for a, b in combinations(of_levels, 2)}
        for levels, x in changes.items():
            if metric == "accuracy":
                calc = calc_share_interval if np.isnan(levels[1]) else calc_interval
                value, interval = x.mean(), calc(x, groups[0])
            else:
                interval = calc_jackknife_interval(x)
                value = np.mean(interval)
            rows.append((metric, num_images, *levels, value, *interval))
    columns = ["metric", "num_images", "noise_A", "than_noise_A", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
