"""Where the truth is known: features that are moved by the noise, and faces that are marked."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from torch import nn

from atompaint_vae.models.neighbor_location import calibration
from atompaint_vae.models.neighbor_location.calibration import (
    Scores,
    compare_levels,
    score_views,
)
from atompaint_vae.models.neighbor_location.classifier import NeighborClassifier
from atompaint_vae.models.neighbor_location.views import ViewPair

NUM_STRUCTURES = 12


class MarkedFaces(NeighborClassifier):
    """It reads the face in the first voxels of the second view; features are those of the first."""

    def __init__(self):
        nn.Module.__init__(self)

    def forward(self, views):
        return views[:, 1, :, 0, 0, 0]

    def calc_features(self, images):
        return images[:, :2, 0, 0, 0]


def make_pair(marked: list[int], face: list[int], value: float) -> ViewPair:
    images = torch.full((len(face), 2, 6, 3, 3, 3), value)
    images[range(len(face)), 1, marked] += 1
    return ViewPair(images, torch.tensor(face))


def test_scores_are_of_each_level_in_the_order_of_the_crops():
    batches = [
        {0.0: make_pair([0, 1], [0, 1], 1.0), 0.5: make_pair([0, 2], [0, 1], 2.0)},
        {0.0: make_pair([5], [5], 3.0), 0.5: make_pair([4], [5], 4.0)},
    ]
    scores = score_views(MarkedFaces(), iter(batches))
    assert [*scores] == [0.0, 0.5]
    assert scores[0.0].hits.tolist() == [1, 1, 1]
    assert scores[0.5].hits.tolist() == [1, 0, 0]
    assert scores[0.0].features.tolist() == [[1, 1], [1, 1], [3, 3]]
    assert scores[0.5].features.tolist() == [[2, 2], [2, 2], [4, 4]]


@pytest.fixture(scope="module")
def table():
    """Moved by its level, a sample is farther from itself by the square of it in each feature."""
    rng = np.random.default_rng(0)
    structures = [str(i) for i in np.arange(600) % NUM_STRUCTURES]
    features, is_hit = rng.normal(size=(600, 3)), rng.random(600)
    scores = {
        level: Scores((is_hit < 0.9 - level / 2).astype(float), features + level)
        for level in (0.0, 0.2, 1.0)
    }
    for level, x in scores.items():
        scores[level] = Scores(*(np.append(y, np.full_like(y[:50], np.nan), axis=0) for y in x))
    table = compare_levels(
        scores, features, [*structures, *["0"] * 50], structures, num_images=600
    )
    return table, scores


def select(table, metric):
    rows = table[table.metric == metric].fillna({"than_noise_A": -1})
    return rows.set_index(["noise_A", "than_noise_A"])[["value", "low", "high"]]


def test_each_level_and_each_pair_of_levels_has_a_row(table):
    table, _ = table
    assert {*table.metric} == {"accuracy", "frechet", "kernel"}
    assert {*table.num_images} == {600}
    levels = [(0, -1), (0.2, -1), (1, -1), (0.2, 0), (1, 0), (1, 0.2)]
    for metric in ("accuracy", "frechet", "kernel"):
        assert [*select(table, metric).index] == levels
    assert table.value.notna().all()  # the images after the first 600 are NaNs


def test_distances_of_moved_samples_are_those_of_their_means(table):
    rows = select(table[0], "frechet")
    for (level, than), row in rows.iterrows():
        expected = 3 * (level**2 - max(than, 0) ** 2)
        assert row.value == pytest.approx(expected, abs=1e-9)
        # The move is the same in each structure.
        assert [row.low, row.high] == pytest.approx([expected] * 2, abs=1e-9)
    # Of normal samples x and y, the latter moved by c: E k(x, x') = 2, E k(x, y) = 2 + c² and
    # E k(y, y') = m³ + m (1 + 2 c²) + 2 c² / 3 for m = 1 + c².
    rows = select(table[0], "kernel")
    assert rows.value[1, -1] == pytest.approx(32 / 3, rel=0.1)
    assert 0 < rows.low[1, 0.2] < 32 / 3 - 0.195 < rows.high[1, 0.2]


def test_accuracy_is_that_of_the_first_pairs(table):
    table, scores = table
    rows = select(table, "accuracy")
    clean, noisy = (scores[level].hits[:600] for level in (0.0, 1.0))
    assert rows.value[0, -1] == pytest.approx(clean.mean())
    assert rows.value[1, 0] == pytest.approx(noisy.mean() - clean.mean())
    # The structures have equally many pairs, so their means are a sample.
    means = (noisy - clean).reshape(-1, NUM_STRUCTURES).mean(axis=0)
    expected = ttest_1samp(means, 0).confidence_interval(0.95)
    assert [rows.low[1, 0], rows.high[1, 0]] == pytest.approx([*expected])


def test_intervals_of_distances_are_over_the_structures(monkeypatch):
    """Of a difference of means, it is that of a paired t-test of the structures' means."""
    means = {"means": lambda x, y: float(x.mean() - y.mean())}
    monkeypatch.setattr(calibration, "DISTANCES", means)
    a, b, reference = np.random.default_rng(0).normal(size=(3, 24, 1))
    structures = [*"abcdef"] * 4
    scores = {0.0: Scores(np.zeros(24), a), 1.0: Scores(np.zeros(24), b)}
    table = compare_levels(scores, reference, structures, structures, num_images=24)
    rows = select(table, "means")
    for key, difference in (((0, -1), a - reference), ((1, 0), b - a)):
        expected = ttest_1samp(difference.reshape(4, 6).mean(axis=0), 0).confidence_interval(0.95)
        assert [rows.low[key], rows.high[key]] == pytest.approx([*expected])


def test_distances_of_few_images_are_without_their_bias():
    rng = np.random.default_rng(0)
    features, reference = rng.normal(size=(40, 12)), rng.normal(size=(1000, 12))
    structures = [*"abcdefgh"]
    table = compare_levels(
        {0.0: Scores(np.zeros(40), features)}, reference, structures * 5, structures * 125,
        num_images=40,
    )  # fmt: skip
    row = select(table, "frechet").loc[0, -1]
    # Both are of one distribution, so the true distance is 0.
    assert calibration.calc_frechet_distance(features, reference) > 1.5
    assert row.low < row.value < row.high
    assert abs(row.value) < 0.5


def test_the_same_at_two_levels_is_no_difference():
    rng = np.random.default_rng(0)
    same = Scores(rng.integers(2, size=20).astype(float), rng.normal(size=(20, 2)))
    table = compare_levels(
        {0.0: same, 1.0: same}, rng.normal(size=(30, 2)), ["a", "b"] * 10, ["a", "c", "d"] * 10,
        num_images=20,
    )  # fmt: skip
    differences = table[table.than_noise_A.notna()]
    assert len(differences) == 3
    assert (differences[["value", "low", "high"]] == 0).all(axis=None)
