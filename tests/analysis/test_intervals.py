import numpy as np
import pytest
from scipy.stats import ttest_1samp

from atompaint_vae.analysis.intervals import (
    calc_interval,
    calc_jackknife_interval,
    calc_share_interval,
)


def test_interval_of_groups_of_equal_size_is_that_of_a_t_test():
    values = np.random.default_rng(0).normal(size=(12, 7))
    groups = np.repeat([f"structure {i}" for i in range(12)], 7)
    expected = ttest_1samp(values.mean(axis=1), 0).confidence_interval(0.95)
    assert calc_interval(values.ravel(), groups) == pytest.approx(tuple(expected))
    weights = np.full(84, 5)
    assert calc_interval(5 * values.ravel(), groups, weights) == pytest.approx(tuple(expected))


def test_interval_of_two_groups_holds_their_ratio():
    # Groups of 1 and 9 atoms, leaving out one of which leaves the share of the other.
    low, high = calc_interval(np.array([1.0, 0.0]), ["a", "b"], np.array([1.0, 9.0]))
    assert (low + high) / 2 == pytest.approx(2 * 0.1 - 0.5)
    assert low < 0.1 < high


def test_order_and_names_of_groups_do_not_matter():
    rng = np.random.default_rng(0)
    values, group = rng.normal(size=200), rng.integers(20, size=200)
    order = rng.permutation(200)
    interval = calc_interval(values, group)
    assert calc_interval(values[order], group[order]) == pytest.approx(interval)
    assert calc_interval(values, [f"{x:02}" for x in group]) == pytest.approx(interval)


def test_shares_are_between_0_and_1():
    assert calc_share_interval(np.array([0.0, 1.0]), ["a", "b"]) == (0, 1)
    # Of eleven structures, one has a single miss.
    hits = np.ones(110)
    hits[0] = 0
    low, high = calc_share_interval(hits, np.arange(110) // 10)
    assert 0.9 < low < 1 - 1 / 110
    assert high == 1
    assert calc_share_interval(np.ones(4), list("aabb")) == (1, 1)


def test_fewer_than_two_groups_have_no_interval():
    for calc in (calc_interval, calc_share_interval):
        assert np.isnan(calc(np.ones(5), ["a"] * 5)).all()
        assert np.isnan(calc(np.empty(0), [])).all()
        assert np.isnan(calc(np.zeros(2), ["a", "b"], np.zeros(2))).all()
        # Another group without atoms says nothing of their share.
        assert np.isnan(calc(np.array([0.3, 0]), ["a", "b"], np.array([0.7, 0]))).all()
    assert np.isnan(calc_jackknife_interval(np.ones(2))).all()


def calc_coverage(share, sizes, *, groups=None, num_repeats=400):
    """How often intervals hold the expected share of bonded atoms, which is that of each structure.

    sizes: images of each structure
    """
    rng = np.random.default_rng(0)
    structure = np.repeat(np.arange(len(sizes)), sizes)
    is_inside = []
    for _ in range(num_repeats):
        atoms = rng.integers(10, 60, size=len(structure))
        shares = rng.beta(10 * share, 10 * (1 - share), size=len(sizes))
        bonded = rng.binomial(atoms, shares[structure])
        low, high = calc_share_interval(bonded, structure if groups is None else groups, atoms)
        is_inside.append(low < share < high)
    return np.mean(is_inside)


# Four standard errors of a share of 0.95 of 400 are 0.044.
def test_intervals_of_many_structures_cover_a_ratio_19_times_in_20():
    assert calc_coverage(0.7, [4] * 50) == pytest.approx(0.95, abs=0.044)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_intervals_of_few_structures_cover_a_ratio_nearly_as_often(share):
    # As many crops of each as a test of the starter set has; a bootstrap covers 0.905.
    sizes = [14, 21, 25, 32, 36, 41, 50, 58, 61, 64, 98]
    assert calc_coverage(share, sizes, num_repeats=1000) == pytest.approx(0.94, abs=0.025)


def test_crops_by_themselves_make_intervals_too_narrow():
    assert calc_coverage(0.7, [4] * 50, groups=np.arange(200)) < 0.8
