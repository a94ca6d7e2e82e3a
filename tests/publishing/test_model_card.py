"""The card of a model says what its hyperparameters are."""

from atompaint_vae.config.schema import Hparams
from atompaint_vae.publishing.model_card import make_card

HPARAMS = {
    "data": {"size_voxels": 21, "resolution_A": 0.8, "radius_A": 1.2, "density": "gaussian"},
    "model": {"layers": ["4x0e", "3x0e"], "latent": "2x0e", "symmetry": "none"},
    "loss": {"beta": 0.25, "reduction": "mean"},
    "optim": {"batch_size": 6},
    "train": {"epochs": 1, "steps_per_epoch": 1, "num_val_crops": 17, "num_test_crops": 19},
}


def read_card(**data):
    hparams = Hparams.model_validate({**HPARAMS, "data": {**HPARAMS["data"], **data}})
    metrics = ["r2", "beta", "active_units"]
    return " ".join(make_card("small", "20240101_x/a", hparams, metrics).split())


def test_numbers_of_the_card():
    card = read_card()
    for text in (
        "6 channels (C, N, O, P, S, other) of 21³ voxels of 0.8 Å. An atom is a Gaussian of the "
        "volume of a ball of radius 1.2 Å.",
        "structures, without symmetry, for comparison.",
        "``4x0e`` → ``3x0e``",
        "Mean-reduced data loss, β = 0.25, Adam, :metric:`20240101_x/a steps ,` steps of 6 crops,",
        "19 crops of the test structures",
        "training structures of :doc:`/docs/notebook/starter_structures`.",
        "- :metric:`20240101_x/a test.active_units .3g`",
        "``2x0e``: :metric:`20240101_x/a latent_shape` numbers, "
        ":metric:`20240101_x/a compression_ratio .1f`",
    ):
        assert text in card
    assert "test.beta" not in card


def test_balls_and_other_structures():
    card = read_card(density="sphere", source="../set.parquet")
    assert "An atom is a ball of radius 1.2 Å." in card
    assert "training structures of ``../set.parquet``." in card
