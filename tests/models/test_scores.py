"""Scores of images. Truth: atoms at known places, copies, displaced atoms."""

import numpy as np
import pytest
import torch

from atompaint_vae.data.crops.dataset import CropDataset, load_split
from atompaint_vae.data.crops.voxelize import CHANNELS, voxelize
from atompaint_vae.models.neighbor_location.classifier import NeighborClassifier
from atompaint_vae.models.references import make_crop_set
from atompaint_vae.models.scores import ImageSet, Scorer
from atompaint_vae.nn.rotations import make_octahedral_group, rotate_voxels

GRID = {"resolution_A": 1.0, "radius_A": 0.75}
C, O = CHANNELS.index("C"), CHANNELS.index("O")
SIZE = 15


def make_pairs_of_atoms(length_A, num_images=4):
    """27 pairs of C and O of a length, 4.2 Å apart and within 5.5 Å of the centre."""
    at = torch.cartesian_prod(*[torch.tensor([-4.2, 0.0, 4.2])] * 3)
    other = at + torch.tensor([length_A, 0, 0])
    coords_A = torch.cat([at, other]).repeat(num_images, 1)
    channels = torch.tensor([C, O]).repeat_interleave(27).repeat(num_images)
    index = torch.arange(num_images).repeat_interleave(54)
    images = voxelize(
        coords_A, channels, index, num_images=num_images, num_channels=len(CHANNELS),
        size_voxels=SIZE, **GRID,
    )  # fmt: skip
    return ImageSet(images, [f"structure {i}" for i in range(num_images)])


@pytest.fixture(scope="module")
def crops():
    return [
        CropDataset(load_split("starter", split), num_samples=48, seed=0, size_voxels=SIZE)
        for split in ("test", "train")
    ]


@pytest.fixture(scope="module")
def scorer(crops):
    test, train = crops
    torch.manual_seed(0)
    classifier = NeighborClassifier(
        ["8x0e+4x1e"], "2x0e", num_channels=len(CHANNELS), size_voxels=5, image_std=0.1
    ).eval()
    training = make_crop_set(train, range(24)).images.split(16)
    return Scorer(make_crop_set(test, range(24)), training, classifier=classifier, **GRID)


@pytest.fixture(scope="module")
def real(crops, scorer):
    """Scores of crops of the reference's structures."""
    return scorer.score(make_crop_set(crops[0], range(24, 48)))


def test_atoms_at_known_places_have_known_scores():
    reference = make_pairs_of_atoms(1.3)
    found = Scorer(reference, [reference.images], **GRID).score(make_pairs_of_atoms(1.2))
    assert found["num_images"] == 4
    assert found["bonded"] == found["coordination"] == 1
    assert (found["bonded_low"], found["bonded_high"]) == (1, 1)
    assert found["clashing"] == found["isolated"] == 0
    # Atoms are found to some hundredths of an Å.
    assert found["nearest_A"] == pytest.approx(1.2, abs=0.03)
    assert found["bond_CO_A"] == found["bond_A"] == pytest.approx(0.1, abs=0.03)
    assert np.isnan([found["bond_CC_A"], found["bond_CN_A"]]).all()
    # 54 atoms in a cube of 11 Å, since a border of 2 Å doesn't count; one layer of O is in it.
    assert found["atoms_nm3"] == pytest.approx(54 / 1.331, rel=1e-6)
    assert not {"kernel_distance", "frechet_infinity", "neighbor_accuracy"} & set(found)


def test_atoms_too_near_or_too_far_are_not_bonded():
    reference = make_pairs_of_atoms(1.3)
    scorer = Scorer(reference, [reference.images], **GRID)
    near, far = (scorer.score(make_pairs_of_atoms(x)) for x in (0.9, 1.25))
    assert (near["clashing"], near["bonded"]) == (1, 0)
    assert far["bonded"] == 1
    mixed = torch.cat([make_pairs_of_atoms(0.9).images[:1], make_pairs_of_atoms(1.25).images[:3]])
    found = scorer.score(ImageSet(mixed, list("abcd")))
    assert found["clashing"] == 1 / 4
    assert found["bonded_low"] < found["bonded"] == 3 / 4 < found["bonded_high"]


def test_copies_are_recognised_and_test_crops_are_not_copies(crops, scorer, real):
    images, structures = make_crop_set(crops[1], range(24))
    turned = torch.cat(
        [rotate_voxels(x[None], r) for x, r in zip(images, make_octahedral_group(), strict=True)]
    )
    copies = scorer.score(ImageSet(turned, structures))
    assert copies["copied"] == 1
    assert copies["training_distance"] == pytest.approx(0, abs=1e-4)
    assert real["copied"] == 0
    assert real["training_distance"] == pytest.approx(1, abs=0.1)


def test_displaced_atoms_are_farther_in_features_and_in_bonds(crops, scorer, real):
    moved = [
        scorer.score(make_crop_set(crops[0], range(24, 48), displacement_A=x)) for x in (0.5, 2.0)
    ]
    assert real["bonded"] > 0.95
    assert real["kernel_distance_low"] < real["kernel_distance"] < real["kernel_distance_high"]
    for key in ("kernel_distance", "frechet_infinity", "bond_CC_A", "bond_A"):
        assert real[key] < moved[0][key], key
    assert moved[0]["kernel_distance"] < moved[1]["kernel_distance"]
    assert moved[0]["bonded"] < 0.7


def test_an_untrained_classifier_guesses(real):
    assert real["neighbor_accuracy"] == pytest.approx(1 / 6, abs=0.1)
    low, high = real["neighbor_accuracy_low"], real["neighbor_accuracy_high"]
    assert low < real["neighbor_accuracy"] < high


def test_images_too_small_for_two_views_have_no_accuracy(crops):
    torch.manual_seed(0)
    classifier = NeighborClassifier(
        ["4x0e"], "2x0e", num_channels=len(CHANNELS), size_voxels=9
    ).eval()
    reference = make_crop_set(crops[0], range(4))
    found = Scorer(reference, [reference.images], classifier=classifier, **GRID).score(reference)
    assert "kernel_distance" in found
    assert "neighbor_accuracy" not in found


def test_empty_images_have_scores_or_none(scorer):
    found = scorer.score(ImageSet(torch.zeros(4, 6, SIZE, SIZE, SIZE), list("abcd")))
    assert found["atoms_nm3"] == found["copied"] == 0
    undefined = "bonded", "nearest_A", "bond_A", "neighbor_accuracy"
    assert np.isnan([found[x] for x in undefined]).all()
    assert found["kernel_distance"] > 0


def test_what_cannot_be_scored_says_why(crops, scorer):
    images, structures = make_crop_set(crops[0], range(4))
    with pytest.raises(ValueError, match="scores need at least 4 images, not 3"):
        scorer.score(ImageSet(images[:3], structures[:3]))
    with pytest.raises(
        ValueError, match="images of 6×13×13×13, but the reference has 6×15×15×15"
    ):
        scorer.score(ImageSet(images[..., :13, :13, :13], structures))
