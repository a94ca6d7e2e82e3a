"""Truth: integer arithmetic by hand, and the same crops made one at a time."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from atompaint_vae.data.crops.dataset import (
    SPLITS,
    CropDataset,
    EpochSampler,
    calc_image_std,
    collate_crops,
    load_split,
)
from atompaint_vae.data.crops.sampler import Crop
from atompaint_vae.data.sets import sources as sources_module
from atompaint_vae.data.sets.sources import StructureCountError, choose_structures


def make_atoms(num_atoms=600, structures=("1ABC", "1E10")):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        rng.uniform(-12, 12, (num_atoms, 3)).astype(np.float32), columns=["x", "y", "z"]
    )
    return table.assign(
        structure=pd.Categorical(np.repeat(structures, num_atoms // len(structures))),
        element=pd.Categorical(rng.choice(["C", "N", "O"], size=num_atoms)),
    )


def make_dataset(atoms=None, **kwargs):
    params = {"num_samples": 24, "seed": 1, "size_voxels": 9, "min_density_atoms_nm3": 10.0}
    return CropDataset(make_atoms() if atoms is None else atoms, **(params | kwargs))


def load_batches(dataset, sampler, *, num_workers=0, batch_size=4):
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate_crops,
    )
    return list(loader)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_any_number_of_workers_sees_the_same_samples(num_workers):
    dataset = make_dataset()
    sampler = EpochSampler(24, batch_size=4)
    sampler.set_epoch(5)
    expected = load_batches(dataset, sampler)
    actual = load_batches(dataset, sampler, num_workers=num_workers)
    assert len(actual) == 6
    for mine, theirs in zip(expected, actual, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_processes_see_together_what_one_would():
    dataset = make_dataset()
    whole = load_batches(dataset, EpochSampler(24, batch_size=4))
    halves = [
        load_batches(dataset, EpochSampler(24, batch_size=2, rank=r, world_size=2), batch_size=2)
        for r in range(2)
    ]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(batch.coords_A, torch.cat([p.coords_A for p in parts]))
        assert torch.equal(batch.sample_index, torch.cat([p.sample_index for p in parts]))


def test_an_epoch_follows_the_one_before():
    sampler = EpochSampler(5, batch_size=2)
    assert list(sampler) == [0, 1, 2, 3, 4]
    sampler.set_epoch(3)
    assert list(sampler) == [15, 16, 17, 18, 19]
    assert len(sampler) == 5


def test_each_rank_takes_its_part_of_every_step():
    ranks = [EpochSampler(12, batch_size=2, rank=r, world_size=3) for r in range(3)]
    for sampler in ranks:
        sampler.set_epoch(1)
    assert [list(s) for s in ranks] == [
        [12, 13, 18, 19],
        [14, 15, 20, 21],
        [16, 17, 22, 23],
    ]
    assert [len(s) for s in ranks] == [4, 4, 4]


def test_an_interrupted_epoch_goes_on_where_it_was():
    sampler = EpochSampler(12, batch_size=2, rank=1, world_size=2)
    sampler.resume_at(epoch=2, step=2)
    sampler.set_epoch(2)
    assert list(sampler) == [34, 35]
    assert len(sampler) == 6
    sampler.set_epoch(3)
    assert list(sampler) == [38, 39, 42, 43, 46, 47]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"batch_size": 4, "world_size": 2},
            "^12 samples per epoch are not a multiple of 8, 4 for each of 2 processes$",
        ),
        ({"rank": 2, "world_size": 2}, r"^rank 2 is not in 0\.\.1$"),
        ({"batch_size": 0}, "^expected at least 1 sample and 1 per batch, not 12 and 0$"),
    ],
)
def test_steps_that_cannot_be_shared_are_an_error(params, message):
    with pytest.raises(ValueError, match=message):
        EpochSampler(12, **params)


def test_a_batch_keeps_crops_apart():
    dataset = make_dataset()
    batch = collate_crops([dataset[i] for i in [7, 2, 2**63 - 1]])
    assert batch.sample_index.tolist() == [7, 2, 2**63 - 1]
    images = dataset.make_images(batch)
    assert images.shape == (3, 6, 9, 9, 9)
    for i, index in enumerate([7, 2, 2**63 - 1]):
        alone = dataset.make_images(collate_crops([dataset[index]]))
        assert torch.equal(images[i], alone[0])
        assert alone.count_nonzero() > 0


class Void(CropDataset):
    """A dataset of crops that hold no atom."""

    def __init__(self):
        super().__init__(make_atoms(), num_samples=1, seed=0, size_voxels=9)

    def __getitem__(self, index):
        nothing = np.empty((0, 3), np.float32), np.empty(0, np.int64)
        return index, Crop(*nothing, "1ABC", np.zeros(3), np.eye(3))


def test_a_crop_without_atoms_makes_an_empty_image():
    # Crops after the empty one must still go to their own images.
    batch = collate_crops([Void()[0], make_dataset()[5], Void()[2]])
    assert batch.image_index.unique().tolist() == [1]
    images = make_dataset().make_images(batch)
    assert images.sum((1, 2, 3, 4)).sign().tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=r"^4 images without an atom: can't be scaled to unit var"):
        calc_image_std(Void(), 4)


def test_crops_that_would_catch_no_atom_are_an_error():
    problem = r"^no crop of 0\.01 Å with an atom was found in 100 structures or zones chosen at ran"
    with pytest.raises(ValueError, match=problem):
        make_dataset(make_atoms(2), size_voxels=1, resolution_A=0.01, radius_A=0.05)


def test_the_image_std_is_that_of_all_voxels():
    dataset = make_dataset()
    images = dataset.make_images(collate_crops(list(dataset)))
    assert len(images) == 24
    std = calc_image_std(dataset, 24)
    assert std == pytest.approx(images.double().std(correction=0).item(), rel=1e-6)


def test_a_dataset_says_what_it_is():
    assert repr(make_dataset()) == (
        "2 structures -> crops of 9 Å: 6 channels of 9³ voxels, seed 1"
    )
    assert len(make_dataset()) == 24


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_samples": 0}, "^num_samples must be at least 1, not 0$"),
        ({"num_crops": -1}, "^num_crops must be at least 0, not -1$"),
        ({"seed": -1}, "^seed must be at least 0, not -1$"),
        ({"size_voxels": 0}, "^size_voxels must be at least 1, not 0$"),
        ({"resolution_A": -1.0}, "^resolution_A must be positive, not -1 Å$"),
        ({"radius_A": 0.0}, "^radius_A must be positive, not 0 Å$"),
    ],
)
def test_bad_arguments_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        make_dataset(**params)


def test_crops_that_are_seen_again_are_other_samples():
    own, shared = make_dataset(), make_dataset(num_crops=5)
    for sample in (0, 4, 5, 13):
        index, crop = shared[sample]
        assert index == sample
        np.testing.assert_array_equal(crop.coords_A, own[sample % 5][1].coords_A)
    assert len(shared) == 24


def test_negative_numbers_are_no_samples():
    with pytest.raises(IndexError, match=r"^sample -1: samples are numbered from 0$"):
        make_dataset()[-1]


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Two structures in train, none in validation, one that has no atoms in test."""
    path = tmp_path / "atoms.parquet"
    path.touch()
    path.with_name("structures.csv").write_text(
        "pdb_id,split\n1ABC,train\n1E10,train\n9XYZ,test\n"
    )
    monkeypatch.setattr(sources_module, "load_atoms", lambda path: make_atoms())
    return path


def test_a_split_holds_its_structures(source):
    atoms = load_split(source, "train")
    assert list(atoms["structure"].cat.categories) == ["1ABC", "1E10"]
    assert len(atoms) == 600


def test_ids_that_look_like_numbers_are_ids(source, monkeypatch):
    monkeypatch.setattr(
        sources_module, "load_atoms", lambda path: make_atoms(structures=("1E10", "4E05"))
    )
    source.with_name("structures.csv").write_text("pdb_id,split\n1E10,train\n4E05,train\n")
    assert len(load_split(source, "train")) == 600


def test_structures_of_other_splits_leave_no_trace(source):
    source.with_name("structures.csv").write_text("pdb_id,split\n1ABC,train\n1E10,test\n")
    atoms = load_split(source, "test")
    assert list(atoms["structure"].cat.categories) == ["1E10"]
    assert len(atoms) == 300


def test_fewer_structures_are_among_the_more():
    names = ("1ABC", "1E10", "2XYZ", "3JKL", "7PQR")
    atoms = make_atoms(structures=names)
    chosen = [set(choose_structures(atoms, n)["structure"].unique()) for n in range(1, 6)]
    assert [len(x) for x in chosen] == [1, 2, 3, 4, 5]
    assert all(few < more for few, more in pairwise(chosen))
    # By the SHA-256 of their names: those of all records.
    assert [chosen[0], chosen[1]] == [{"1ABC"}, {"1ABC", "3JKL"}]
    # The same ones, whatever the order of the table.
    backwards = make_atoms(structures=names[::-1])
    assert set(choose_structures(backwards, 2)["structure"].unique()) == chosen[1]
    with pytest.raises(StructureCountError, match=r"^6 structures asked for, but there are 5$"):
        choose_structures(atoms, 6)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("dev", "^unknown split 'dev': expected one of train, validation, test$"),
        ("validation", r"structures\.csv: no structure of atoms\.parquet in split 'validation'$"),
        ("test", r"structures\.csv: no structure of atoms\.parquet in split 'test'$"),
    ],
)
def test_a_split_that_is_not_there_is_named(source, split, message):
    with pytest.raises(ValueError, match=message):
        load_split(source, split)


def test_a_table_of_splits_without_its_columns_is_named(source):
    source.with_name("structures.csv").write_text("pdb_id\n1ABC\n")
    with pytest.raises(ValueError, match=r"structures\.csv: no column 'split'$"):
        load_split(source, "train")


def test_a_missing_table_of_splits_is_named(source):
    source.with_name("structures.csv").unlink()
    with pytest.raises(ValueError, match=r"structures\.csv: no such file; it lists the split of"):
        load_split(source, "train")


def test_the_starter_set_has_crops_in_every_split():
    structures = {}
    for split in SPLITS:
        atoms = load_split("starter", split)
        structures[split] = set(atoms["structure"].cat.categories)
        dataset = CropDataset(atoms, num_samples=1, seed=0)
        _, crop = dataset[0]
        # Between a lone peptide's and a closely packed nucleosome's.
        assert 100 < len(crop.coords_A) < 3000
        assert 0.02 < calc_image_std(dataset, 4) < 0.1
    assert "6ZU5" in structures["train"]
    assert sum(map(len, structures.values())) == len(set.union(*structures.values())) == 85
