import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import ttest_1samp, ttest_ind
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from atompaint_vae.analysis.distances import (
    calc_distance_interval,
    calc_frechet_distance,
    calc_frechet_infinity,
    calc_kernel_distance,
    leave_groups_out,
)
from atompaint_vae.analysis.intervals import calc_jackknife_interval


def whiten(x):
    """Samples of zero mean and unit covariance, but for rounding."""
    x = x - x.mean(axis=0)
    return x @ np.linalg.inv(sqrtm(np.cov(x, rowvar=False)))


def calc_normal_frechet(std_x, std_y, offset=0.0):
    """The Fréchet distance of normal distributions without correlations, per Heusel et al."""
    return ((std_x - std_y) ** 2).sum() + offset**2 * len(std_x)


def calc_difference_interval(calc_distance, a, b, reference, groups):
    """The 95 % interval of how much farther b is from the reference than a is."""
    names = np.unique(groups[2])
    from_a, from_b = (
        leave_groups_out(calc_distance, (x, reference), (groups[i], groups[2]), names)
        for i, x in enumerate((a, b))
    )
    return calc_jackknife_interval(from_b - from_a)


class Identity(torch.nn.Module):
    def __init__(self, num_features):
        super().__init__()
        self.num_features = num_features

    def forward(self, x):
        return x


def make_pair(num_features, num_samples=300):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, num_samples, num_features))
    return x, 0.3 + y @ rng.normal(size=(num_features, num_features)) / num_features**0.5


def test_frechet_distance_of_scaled_samples_is_that_of_their_moments():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    std_x, std_y = rng.uniform(0, 2, size=(2, 8))
    x, y = whiten(rng.normal(size=(100, 8))) * std_x, whiten(rng.normal(size=(300, 8))) * std_y
    expected = calc_normal_frechet(std_x, std_y, 0.5)
    assert calc_frechet_distance(x @ rotation, (y + 0.5) @ rotation) == pytest.approx(expected)
    assert calc_frechet_distance(x[:, :1], y[:, :1]) == pytest.approx((std_x - std_y)[0] ** 2)


def test_frechet_distance_of_one_sample_to_itself_is_zero_even_if_singular():
    x = np.random.default_rng(0).normal(size=(20, 64))
    assert calc_frechet_distance(x, x) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("num_features", [8, 64])
def test_frechet_distance_is_that_of_torchmetrics(num_features):
    x, y = make_pair(num_features)
    metric = FrechetInceptionDistance(Identity(num_features)).set_dtype(torch.float64)
    metric.update(torch.from_numpy(x), real=True)
    metric.update(torch.from_numpy(y), real=False)
    assert calc_frechet_distance(x, y) == pytest.approx(float(metric.compute()), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save")
@pytest.mark.parametrize("num_features", [8, 64])
def test_kernel_distance_is_that_of_torchmetrics(num_features):
    x, y = make_pair(num_features)
    metric = KernelInceptionDistance(Identity(num_features), subsets=1, subset_size=len(x))
    metric.update(torch.from_numpy(x), real=True)
    metric.update(torch.from_numpy(y), real=False)
    assert calc_kernel_distance(x, y) == pytest.approx(float(metric.compute()[0]), rel=1e-6)


def test_kernel_distance_is_unbiased_for_any_number_of_samples():
    # Of x = 0 and y = ±1: E k(x, x') = E k(x, y) = 1; E k(y, y') = (2³ + 0³) / 2 = 4.
    rng = np.random.default_rng(0)
    values = [
        calc_kernel_distance(np.zeros((2, 1)), rng.choice([-1.0, 1.0], size=(3, 1)))
        for _ in range(2000)
    ]
    assert np.mean(values) == pytest.approx(3, abs=4 * np.std(values) / 2000**0.5)


@pytest.mark.parametrize(("num_features", "num_samples"), [(8, 100), (32, 500), (64, 1000)])
def test_extrapolation_takes_the_bias_off_the_frechet_distance(num_features, num_samples):
    rng = np.random.default_rng(0)
    std_x = np.linspace(0.2, 2, num_features)
    std_y = (std_x**2 + 0.3**2) ** 0.5
    expected = calc_normal_frechet(std_x, std_y)
    plain, extrapolated = [], []
    for _ in range(10):
        x = rng.normal(size=(num_samples, num_features)) * std_x
        y = rng.normal(size=(2 * num_samples, num_features)) * std_y
        plain.append(calc_frechet_distance(x, y))
        extrapolated.append(calc_frechet_infinity(x, y))
    bias = np.mean(plain) - expected
    error = 4 * np.std(extrapolated) / 10**0.5
    assert bias > 5 * np.std(plain) / 10**0.5
    assert np.mean(extrapolated) == pytest.approx(expected, abs=max(0.1 * bias, error))
    assert calc_frechet_infinity(x, y) == extrapolated[-1]


def test_distances_need_samples():
    with pytest.raises(ValueError, match="needs at least 2 samples of each set, not 1"):
        calc_frechet_distance(np.ones((5, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="needs at least 2 samples of each set, not 0"):
        calc_kernel_distance(np.ones((0, 2)), np.ones((5, 2)))
    with pytest.raises(ValueError, match="needs at least 4 samples of each set, not 3"):
        calc_frechet_infinity(np.ones((3, 2)), np.ones((5, 2)))


def test_interval_of_a_difference_of_means_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    a, b, reference = rng.normal(size=(3, 25, 1))
    groups = [f"structure {i}" for i in range(25)]

    def subtract(x, y):
        return float(x.mean() - y.mean())

    # Each group four times; other orders and numbers of samples in the reference do not matter.
    order = rng.permutation(25)
    interval = calc_difference_interval(
        subtract,
        np.repeat(a, 4, axis=0), np.repeat(b[order], 4, axis=0), reference,
        (np.repeat(groups, 4), np.repeat(np.array(groups)[order], 4), groups),
    )  # fmt: skip
    expected = ttest_1samp((b - a)[:, 0], 0).confidence_interval(0.95)
    assert interval == pytest.approx(tuple(expected))


def test_interval_of_a_distance_of_means_is_that_of_a_t_test_of_two_samples():
    def calc_distance(x, y):
        return float(x.mean() - y.mean())

    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 1, size=(60, 1)), rng.normal(0, 2, size=(60, 1))
    groups = [f"x {i}" for i in range(60)], [f"y {i}" for i in range(60)]
    expected = ttest_ind(x[:, 0], y[:, 0], equal_var=False).confidence_interval()
    found = calc_distance_interval(calc_distance, (x, y), groups)
    # The jackknife counts both samples as one.
    assert found == pytest.approx(tuple(expected), abs=0.01)
    twice = tuple(np.tile(v, (2, 1)) for v in (x, y)), tuple(g + g for g in groups)
    assert calc_distance_interval(calc_distance, *twice) == pytest.approx(found)


def test_the_middle_of_an_interval_is_unbiased():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 1)), 1 + rng.normal(size=(30, 1))

    def square(x, y):
        return float(x.mean() ** 2)

    # The unbiased estimate of a squared mean: less the mean's variance.
    expected = [x.mean() ** 2 - x.var(ddof=1) / 30 for x in (a, b)]
    interval = calc_difference_interval(square, a, b, a, (range(30),) * 3)
    assert np.mean(interval) == pytest.approx(expected[1] - expected[0])


def test_fewer_than_two_groups_have_no_interval():
    x = np.ones((5, 2))
    same = ["a"] * 5
    assert np.isnan(calc_distance_interval(calc_frechet_distance, (x, x), (same, same))).all()
    groups = list("abcde"), list("xxxxy")
    assert np.isnan(calc_distance_interval(calc_frechet_distance, (x, x), groups)).all()


@pytest.mark.parametrize("calc_distance", [calc_frechet_distance, calc_kernel_distance])
def test_intervals_of_distances_cover_the_difference_19_times_in_20(calc_distance):
    # Samples of a structure have its mean; those of a and b are the reference's with noise.
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(20), rng.integers(2, 8, size=20))
    if calc_distance is calc_frechet_distance:
        expected = 4 * ((1.64**0.5 - 1) ** 2 - (1.09**0.5 - 1) ** 2)
    else:
        # E k(x, y) = 1 + 3 E (x·y / 4)² of independent centred normal x and y.
        expected = 3 / 4 * (0.64**2 - 0.09**2)

    def covers(groups):
        mean, own = rng.normal(size=(20, 4))[group], rng.normal(size=(len(group), 4))
        reference = 0.5**0.5 * (mean + own)
        a, b = (reference + std * rng.normal(size=reference.shape) for std in (0.3, 0.8))
        low, high = calc_difference_interval(calc_distance, a, b, reference, (groups,) * 3)
        return low < expected < high

    assert np.mean([covers(group) for _ in range(100)]) == pytest.approx(0.94, abs=0.06)
