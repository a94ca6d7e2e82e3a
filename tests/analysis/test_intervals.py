import numpy as np
import pytest
from scipy.stats import binom

from atompaint_vae.analysis.intervals import calc_interval


@pytest.mark.parametrize("num_hits", [30, 50, 75])
def test_groups_of_equal_hits_have_the_interval_of_a_binomial_variable(num_hits):
    # Resamples of a hundred groups, of which a share hits, count hits as a binomial variable does.
    hits = np.repeat(np.arange(100) < num_hits, 7)
    groups = np.repeat([f"structure {i}" for i in range(100)], 7)
    low, high = binom.ppf([0.025, 0.975], 100, num_hits / 100) / 100
    assert calc_interval(hits, groups) == pytest.approx((low, high), abs=0.0101)


def test_order_and_names_of_groups_do_not_matter():
    rng = np.random.default_rng(0)
    values, group = rng.normal(size=200), rng.integers(20, size=200)
    order = rng.permutation(200)
    interval = calc_interval(values, group)
    assert calc_interval(values[order], group[order]) == pytest.approx(interval)
    assert calc_interval(values, [f"{x:02}" for x in group]) == pytest.approx(interval)


def test_two_structures_can_be_drawn_twice():
    assert calc_interval(np.array([0.0, 1.0]), ["a", "b"]) == (0, 1)


def test_fewer_than_two_groups_have_no_interval():
    assert np.isnan(calc_interval(np.ones(5), ["a"] * 5)).all()
    assert np.isnan(calc_interval(np.empty(0), [])).all()


def test_intervals_cover_a_ratio_19_times_in_20():
    # The expected ratio of bonded to all atoms is 0.7, as structures of any size have that share.
    rng = np.random.default_rng(0)
    structure = np.repeat(np.arange(50), 4)

    def covers(groups):
        atoms = rng.integers(10, 60, size=200)
        bonded = rng.binomial(atoms, rng.beta(7, 3, size=50)[structure])
        low, high = calc_interval(bonded, groups, atoms)
        return low < 0.7 < high

    # Four standard errors of a share of 0.95 of 200 are 0.06.
    assert np.mean([covers(structure) for _ in range(200)]) == pytest.approx(0.94, abs=0.06)
    # Crops are alike within a structure: by themselves, they make intervals too narrow.
    assert np.mean([covers(np.arange(200)) for _ in range(50)]) < 0.8
