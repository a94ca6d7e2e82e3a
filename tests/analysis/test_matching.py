import numpy as np
import pytest

from atompaint_vae.analysis.matching import count_matches, match_atoms, score_matches


def on_axis(*places):
    return np.array([(x, 0, 0) for x in places], dtype=float).reshape(-1, 3)


def match(found, found_channels, true, true_channels, **options):
    result = match_atoms(
        on_axis(*found), np.array(found_channels, dtype=int),
        on_axis(*true), np.array(true_channels, dtype=int), **options,
    )  # fmt: skip
    return {tuple(map(int, x)) for x in zip(result.found, result.true, strict=True)}


def test_pairs_are_near_and_of_one_channel():
    assert match([0, 5, 9], [0, 0, 1], [0.9, 6.1, 9], [0, 0, 0]) == {(0, 0)}
    assert match([0, 5], [0, 0], [0.9, 6.1], [0, 0], max_distance_A=1.2) == {(0, 0), (1, 1)}


def test_as_many_pairs_as_possible_come_first():
    # The nearest pair, 1 and 0, would leave the two others without partners.
    assert match([-0.9, 0.1], [0, 0], [0, 0.95], [0, 0]) == {(0, 0), (1, 1)}


def test_of_those_the_nearest():
    assert match([0, 0.4], [0, 0], [0.5, 0.1], [0, 0]) == {(0, 1), (1, 0)}


def test_an_atom_has_one_partner():
    assert match([0, 0.1, 0.2], [0] * 3, [0.1], [0]) == {(1, 0)}


def test_nothing_found_or_nothing_true():
    assert match([], [], [1], [0]) == match([1], [0], [], []) == set()


def test_scores_by_hand():
    found, true = on_axis(0, 3.3, 6, 20), on_axis(0.4, 3, 10)
    found_channels, true_channels = np.array([0, 0, 0, 1]), np.array([0, 0, 0])
    result = match_atoms(found, found_channels, true, true_channels)
    everything = {"found_counts": np.ones(4, bool), "true_counts": np.ones(3, bool)}
    counts = count_matches(result, found_channels, true_channels, **everything)
    scores = score_matches(counts + counts)
    carbon = scores.loc["C"]
    assert (carbon["true"], carbon["found"]) == (6, 6)
    assert carbon["precision"] == carbon["recall"] == pytest.approx(2 / 3)
    assert carbon["rmsd_A"] == pytest.approx(np.sqrt((0.4**2 + 0.3**2) / 2))
    assert scores.loc["N", "precision"] == 0
    assert scores.loc[["N", "O"], "recall"].isna().all()


def test_partners_that_do_not_count():
    # Atoms at the border: one was found just outside, the other is truly there.
    found, true = on_axis(1.1, -0.9), on_axis(0.9, -1.1)
    channels = np.array([0, 0])
    counts = count_matches(
        match_atoms(found, channels, true, channels), channels, channels,
        found_counts=np.abs(found[:, 0]) < 1, true_counts=np.abs(true[:, 0]) < 1,
    )  # fmt: skip
    carbon = score_matches(counts).loc["C"]
    assert (carbon["true"], carbon["found"]) == (1, 1)
    assert (carbon["precision"], carbon["recall"]) == (1, 1)
