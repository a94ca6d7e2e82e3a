"""The card of a model says what its hyperparameters are."""

import pytest

from atompaint_vae.config.schema import Hparams
from atompaint_vae.publishing.model_card import make_card

HPARAMS = {
    "data": {"size_voxels": 21, "resolution_A": 0.8, "radius_A": 1.2, "density": "gaussian"},
    "model": {"layers": ["4x0e", "3x0e"], "latent": "2x0e", "symmetry": "none"},
    "loss": {"beta": 0.25, "reduction": "mean"},
    "optim": {"batch_size": 6},
    "train": {"epochs": 1, "steps_per_epoch": 1, "num_val_crops": 17, "num_test_crops": 19},
}


def read_card(**sections):
    """The card of a model, with other values in sections of HPARAMS."""
    values = {name: {**HPARAMS[name], **sections.get(name, {})} for name in HPARAMS}
    hparams = Hparams.model_validate(values)
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
    assert "encoder's" not in card


def test_balls_and_other_structures():
    card = read_card(data={"density": "sphere", "source": "../set.parquet"})
    assert "An atom is a ball of radius 1.2 Å." in card
    assert "training structures of ``../set.parquet``." in card


SEMI_SYMMETRIC = "with a rotation-equivariant encoder and a decoder without symmetry"


@pytest.mark.parametrize(
    ("symmetry", "encoder", "decoder", "text"),
    [
        ("rotation", "rotation", "", "rotation-equivariant"),
        ("rotation", "", "none", SEMI_SYMMETRIC),
        ("none", "rotation", "", SEMI_SYMMETRIC),
        ("rotation", "none", "none", "without symmetry, for comparison"),
        ("rotation", "none", "", "with an encoder without symmetry and a rotation-equivariant "
         "decoder"),
    ],
)  # fmt: skip
def test_symmetries_of_both_halves(symmetry, encoder, decoder, text):
    halves = {"encoder": {"symmetry": encoder}, "decoder": {"symmetry": decoder}}
    card = read_card(model={"symmetry": symmetry, **halves})
    assert f"macromolecular structures, {text}. It is the run" in card


def test_layers_of_both_halves():
    card = read_card(model={"decoder": {"layers": ["5x0e", "4x0e"]}})
    assert "- encoder ``4x0e`` → ``3x0e``, decoder ``5x0e`` → ``4x0e`` *" in card


@pytest.mark.parametrize(("rate", "text"), [(0, "frozen"), (0.1, "trained further")])
def test_where_the_encoder_is_from(rate, text):
    card = read_card(model={"encoder_weights": "20240101_x/b", "encoder_rate": rate})
    assert f"best_step ,`. The encoder's layers are those of ``20240101_x/b``, {text}. Test" in card


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (
            {"channel_weights": {"P": 20, "S": 0.5}, "occupied_weight": 4},
            "Mean-reduced data loss (errors × 20 in P, × 0.5 in S, × 4 in occupied voxels), "
            "β = 0.25, Adam",
        ),
        (
            {"beta_schedule": "warmup", "beta_steps": 500},
            "loss, β = 0.25 (raised from 0 over the first 500 steps), Adam",
        ),
        (
            {"beta_schedule": "cyclic", "beta_steps": 40},
            "loss, β = 0.25 (raised from 0 over the first half of every 40 steps), Adam",
        ),
    ],
)
def test_losses_that_are_weighted(loss, text):
    assert text in read_card(loss=loss)
