"""Databases made by macromol_gym_unsupervised's own code; zones whose atoms are counted by hand."""

import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from atompaint_vae.cli import run_command
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops, open_split
from atompaint_vae.data.crops.filters import CropFilters
from atompaint_vae.data.crops.sampler import CropSampler
from atompaint_vae.data.sets.macromol_db import ZoneDatabase, is_database
from atompaint_vae.data.structures.table import StructureError

gym = pytest.importorskip("macromol_gym_unsupervised")
pl = pytest.importorskip("polars")

ZONE_SIZE_A = 10.0
CENTRES_A = {"1abc": [[0, 0, 0], [20, 0, 0]], "2abc": [[0, 30, 0]], "3abc": [[5, 5, 5]]}


def make_atoms(seed: int):
    rng = np.random.default_rng(seed)
    coords = rng.uniform(-15, 35, (3000, 3))
    return pl.DataFrame({
        "chain_id": ["A"] * 3000, "comp_id": rng.choice(["GLY", "DA"], 3000),
        "element": rng.choice(["C", "N", "ZN"], 3000), "x": coords[:, 0], "y": coords[:, 1],
        "z": coords[:, 2], "occupancy": rng.choice([0.5, 1.0], 3000),
    })  # fmt: skip


@pytest.fixture(scope="module")
def db_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("db") / "zones.sqlite"
    db = gym.open_db(path, "rwc")
    gym.init_db(db)
    gym.insert_metadata(db, {"zone_size_A": ZONE_SIZE_A, "polymer_labels": [], "cath_labels": []})
    gym.insert_neighbors(db, [np.array([1.0, 0.0, 0.0])])
    for seed, (name, centres_A) in enumerate(CENTRES_A.items()):
        structure_id = gym.insert_structure(db, name, model_id="1")
        assembly_id = gym.insert_assembly(db, structure_id, "1", make_atoms(seed))
        for centre_A in centres_A:
            gym.insert_zone(
                db, assembly_id, center_A=np.array(centre_A, float), neighbor_ids=[0]
            )
    gym.update_splits(db, {"1abc": "train", "2abc": "val", "3abc": "test"})
    db.commit()
    db.close()
    return path


def make_dataset(db_path, **kwargs):
    return CropDataset(
        open_split(db_path, "train"), num_samples=8, seed=4, size_voxels=9, **kwargs
    )


def test_a_split_has_the_zones_that_its_own_code_finds(db_path):
    for split, own_name in [("train", "train"), ("validation", "val"), ("test", "test")]:
        zones = ZoneDatabase(db_path, split)
        db = gym.open_db(db_path)
        ids = gym.select_split(db, own_name)
        assert len(zones) == len(ids)
        for zone, zone_id in enumerate(ids):
            np.testing.assert_array_equal(
                zones.centres_A[zone], gym.select_zone_center_A(db, zone_id)
            )
            mine, theirs = zones.load_atoms(zone), gym.select_zone_atoms(db, zone_id)
            np.testing.assert_array_equal(mine[["x", "y", "z"]], theirs[["x", "y", "z"]])
            assert mine.element.tolist() == theirs["element"].to_list()
            is_nucleic = (theirs["comp_id"] == "DA").to_numpy()
            assert mine.kind.tolist() == np.where(is_nucleic, "nucleic", "protein").tolist()
        assert zones.zone_size_A == gym.select_metadatum(db, "zone_size_A")


def test_crops_are_centred_anywhere_in_a_zone(db_path):
    dataset = make_dataset(db_path)
    centres_A = np.array([dataset[i][1].centre_A for i in range(400)])
    is_second = centres_A[:, 0] > 10
    assert 0.4 < is_second.mean() < 0.6
    offsets_A = centres_A - np.where(is_second[:, None], [20, 0, 0], [0, 0, 0])
    assert np.abs(offsets_A).max() <= ZONE_SIZE_A / 2
    # Uniform: the mean and the standard deviation of each axis, to four standard errors.
    assert np.abs(offsets_A.mean(axis=0)).max() < 4 * 10 / np.sqrt(12 * 400)
    np.testing.assert_allclose(offsets_A.std(axis=0), 10 / np.sqrt(12), rtol=0.1)


def test_a_crop_holds_the_atoms_around_its_centre(db_path):
    crop = make_dataset(db_path)[3][1]
    atoms = make_atoms(0)[["x", "y", "z"]].to_numpy()
    turned = (atoms - crop.centre_A) @ crop.rotation_ia.T
    expected = turned[(np.abs(turned) < 4.5 + 0.75).all(axis=1)]
    np.testing.assert_allclose(
        np.sort(crop.coords_A, axis=0), np.sort(expected, axis=0), atol=1e-4
    )
    assert crop.structure == "1abc"


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_any_number_of_workers_sees_the_same_samples(db_path):
    dataset = make_dataset(db_path)
    one, four = (
        list(DataLoader(dataset, batch_size=2, num_workers=n, collate_fn=collate_crops))
        for n in (0, 4)
    )
    for mine, theirs in zip(one, four, strict=True):
        assert all((a == b).all() for a, b in zip(mine, theirs, strict=True))


def test_a_split_can_be_sent_to_another_process(db_path):
    zones = pickle.loads(pickle.dumps(open_split(db_path, "train")))
    assert len(zones.load_atoms(0)) == 3000
    assert repr(zones) == "2 zones of 1 structures"


def test_filters_apply_to_databases(db_path):
    zones = open_split(db_path, "train")
    sampler = CropSampler(
        zones, length_A=9.0, radius_A=1.0, min_density_atoms_nm3=0.0,
        filters=CropFilters(elements=("Zn",), min_occupancy=0.6),
    )  # fmt: skip
    atoms = make_atoms(0).to_pandas()
    num_kept = ((atoms.element == "ZN") & (atoms.occupancy == 1)).sum()
    sampler.sample(0, 0)
    assert len(sampler.source.load_structure(0).grid.coords_A) == num_kept
    assert set(sampler.sample(0, 1).channels.tolist()) == {5}


def test_a_database_is_a_source_of_data_for_a_run(db_path, tmp_path):
    from atompaint_vae.config.datasets import make_dataset
    from atompaint_vae.config.hparams import load_hparams

    (tmp_path / "hparams.nt").write_text(
        f"shared:\n  data:\n    source: {db_path}\n    size_voxels: 9\n    density: gaussian\n"
        "    elements: C N\n  model:\n    layers:\n      - 4x0e\n    latent: 1x0e\n  loss:\n"
        "  optim:\n  train:\n    epochs: 1\n    steps_per_epoch: 1\nruns:\n  one:\n"
    )
    hparams = load_hparams(tmp_path / "hparams.nt")["one"]
    for split in ("train", "validation", "test"):
        dataset = make_dataset(hparams, tmp_path, split)
        images = dataset.make_images(collate_crops([dataset[0]]))
        assert images[:, :2].sum() > 0
        assert images[:, 2:].sum() == 0


def test_show_counts_a_database(db_path, capsys):
    assert run_command(["data", "show", str(db_path), "--no-svg"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "1", "2", "3,000"] in lines
    assert ["all", "3", "4", "9,000"] in lines


def test_show_reports_a_broken_database_whatever_its_name(db_path, tmp_path, capsys):
    path = tmp_path / "no zones.sqlite"
    path.write_bytes(db_path.read_bytes()[:5000])
    assert run_command(["data", "show", str(path), "--no-svg"]) == 2
    assert "no zones.sqlite: not a database of macromol_gym" in capsys.readouterr().err


def test_what_is_no_such_database_is_named(db_path, tmp_path):
    import sqlite3

    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (a)")
    assert is_database(other)
    with pytest.raises(StructureError, match=r"other\.sqlite: not a database of macromol_gym_uns"):
        open_split(other, "train")
    assert not is_database(tmp_path)
    db = gym.open_db(tmp_path / "empty.sqlite", "rwc")
    gym.init_db(db)
    db.commit()
    db.close()
    with pytest.raises(StructureError, match=r"empty\.sqlite: no zones in split 'train'"):
        open_split(tmp_path / "empty.sqlite", "train")
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(db_path.read_bytes()[:5000])
    with pytest.raises(StructureError, match=r"damaged\.sqlite: not a database of macromol_gym"):
        open_split(damaged, "train")


