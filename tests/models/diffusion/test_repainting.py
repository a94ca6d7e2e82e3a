"""Regions of many structures: their choice, their counts, intervals."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from atompaint_vae.analysis.intervals import calc_interval
from atompaint_vae.data.crops.dataset import load_split
from atompaint_vae.data.hparams import DataHparams
from atompaint_vae.models.diffusion.denoiser import Denoiser
from atompaint_vae.models.diffusion.hparams import SamplerHparams
from atompaint_vae.models.diffusion.repainting import (
    iter_regions,
    measure_recovery,
    summarise_recovery,
)

DATA = DataHparams(size_voxels=13)


@pytest.fixture(scope="module")
def atoms():
    return load_split("starter", "test").query("structure in ('1BHL', '3LQC', '1S3V')")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Denoiser(["2x0e"], num_channels=6, size_voxels=13)
    model.scaling.std.fill_(0.06)
    return model.eval().requires_grad_(False)


def test_regions_are_inside_of_structures_in_turn(atoms):
    found = list(iter_regions(atoms, 21.0, 8, seed=0))
    assert [len(list(x)) for x in (found, {name for name, *_ in found})] == [8, 3]
    num_of_each = pd.Series([name for name, *_ in found]).value_counts()
    assert num_of_each.max() - num_of_each.min() <= 1
    for name, residue, own, center_A in found:
        chain, _, number = residue.rpartition("/")
        assert set(own.structure) == {name}
        is_own = (own.chain == chain) & (
            own.residue_num.astype(str) + own.insertion_code.astype(str) == number
        )
        places_A = own[["x", "y", "z"]].to_numpy(np.float64)
        np.testing.assert_allclose(places_A[is_own.to_numpy()].mean(axis=0), center_A)
        num_inside = (np.linalg.norm(places_A - center_A, axis=1) <= 10.5).sum()
        assert num_inside / (4 / 3 * np.pi * 1.05**3) >= 40
    first = [x[1] for x in found]
    assert [x[1] for x in iter_regions(atoms, 21.0, 8, seed=0)] == first
    assert [x[1] for x in itertools.islice(iter_regions(atoms, 21.0, 8, seed=1), 8)] != first


def test_no_residue_is_taken_twice(atoms):
    found = [(name, residue) for name, residue, *_ in iter_regions(atoms, 21.0, 10_000, seed=0)]
    assert len(found) == len(set(found)) > 100


def test_structures_without_an_inside(atoms):
    thin = atoms[::3]
    with pytest.raises(ValueError, match=r"^no structure has a residue with 40 atoms/nm³ around"):
        list(iter_regions(thin, 21.0, 1, seed=0))


def test_counts_of_an_untrained_denoiser(model, atoms):
    counts = measure_recovery(
        model, DATA, SamplerHparams(num_steps=2), atoms,
        radius_A=3.0, num_regions=4, num_resamplings=2,
    )  # fmt: skip
    assert counts["atoms"].tolist() == ["painted", "random atoms", "reconstructed"] * 4
    assert counts["structure"].nunique() == 3
    hidden = counts["hidden"].to_numpy().reshape(4, 3)
    assert (hidden == hidden[:, :1]).all()
    assert (hidden >= 3).all()
    assert (counts["recovered"] <= counts[["hidden", "found"]].min(axis=1)).all()
    # Without an autoencoder, nothing is lost.
    exact = counts[counts["atoms"] == "reconstructed"]
    assert exact["right_element"].sum() >= 0.95 * exact["hidden"].sum()
    by_chance = counts[counts["atoms"] == "random atoms"]
    assert (by_chance["recovered"] > 0).all()


def test_ratios_are_of_sums_with_intervals_over_structures():
    rng = np.random.default_rng(0)
    rows = [
        {
            "structure": f"s{i % 9}", "residue": f"A/{i}", "atoms": name, "hidden": 20.0,
            "found": float(rng.integers(10, 30)), "recovered": float(rng.integers(low, low + 5)),
            "right_element": float(rng.integers(0, low)),
        }
        for i in range(45)
        for name, low in [("painted", 5), ("random atoms", 2), ("reconstructed", 7)]
    ]  # fmt: skip
    counts = pd.DataFrame(rows)
    summary = summarise_recovery(counts).set_index(["atoms", "measure"])
    painted, chance = (counts[counts["atoms"] == x] for x in ("painted", "random atoms"))
    assert summary.value["painted", "precision"] == painted.recovered.sum() / painted.found.sum()
    assert summary.value["random atoms", "element_recall"] == chance.right_element.sum() / 900
    gain = (painted.recovered.to_numpy() - chance.recovered.to_numpy()) / 20
    assert summary.value["painted - random", "recall"] == pytest.approx(gain.mean())
    low, high = calc_interval(gain, painted.structure.to_numpy(str))
    row = summary.loc["painted - random", "recall"]
    assert (row.low, row.high) == pytest.approx((low, high))
    assert (row.regions, row.structures) == (45, 9)
    assert "precision" not in summary.loc["painted - random"].index
