import torch

from atompaint_vae.data.crops.dataset import CropBatch
from atompaint_vae.models.noise import UNNAMED_STREAM, Noise, make_seed


def draw(seed, indices, stream, shape=(64,)):
    like = torch.empty(len(indices), *shape)
    return Noise(seed, torch.tensor(indices)).draw_normal(like, stream)


def test_a_thousand_samples_are_different_and_standard_normal():
    draws = draw(0, range(1000), "sigma")
    assert len({tuple(row.tolist()) for row in draws}) == 1000
    # 64,000 numbers: standard errors of mean and variance are 0.004 and 0.006.
    assert abs(draws.mean().item()) < 0.02
    assert abs(draws.var().item() - 1) < 0.03
    correlations = torch.corrcoef(draws[:50]) - torch.eye(50)
    assert correlations.abs().max() < 0.65  # 1/8 is one standard deviation


def test_seeds_indices_and_streams_each_make_a_difference():
    streams = ("posterior", "sigma", "noise")
    seeds = {
        make_seed(seed, index, stream)
        for seed in range(10) for index in range(10) for stream in streams
    }  # fmt: skip
    assert len(seeds) == 300
    rows = [draw(s, [i], x) for s in (0, 1) for i in (0, 1) for x in streams]
    stacked = torch.cat(rows)
    assert len({tuple(row.tolist()) for row in stacked}) == len(rows)


def test_a_sample_does_not_depend_on_its_batch():
    together = draw(3, [5, 2, 9], "noise", (2, 3))
    assert torch.equal(together[1:2], draw(3, [2], "noise", (2, 3)))
    assert together.shape == (3, 2, 3)


def test_the_posterior_draws_what_it_drew_in_all_records():
    """torch's numbers for the seed that NumPy makes of (seed, index) alone."""
    import numpy as np

    seed = int(np.random.SeedSequence(7, spawn_key=(4,)).generate_state(1, np.uint64)[0])
    expected = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(draw(7, [4], UNNAMED_STREAM)[0], expected)


def test_displacements_of_a_crop_do_not_depend_on_its_batch():
    def displace(indices, nums_atoms):
        image = torch.arange(len(indices)).repeat_interleave(torch.tensor(nums_atoms))
        sample = torch.tensor(indices)
        batch = CropBatch(torch.zeros(len(image), 3), torch.zeros_like(image), image, sample)
        return Noise(3, sample).draw_displacements(batch)

    together = displace([5, 2, 9], [4, 500, 0])
    assert torch.equal(together[4:], displace([2], [500]))
    # Standard errors of 1,500 numbers: 0.026 of the mean, 0.037 of the variance.
    assert abs(together[4:].mean().item()) < 0.1
    assert abs(together[4:].var().item() - 1) < 0.15
