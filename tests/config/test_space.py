"""What `search:` says, and what Optuna makes of it."""

import math
from pathlib import Path

import nestedtext as nt
import pytest

from atompaint_vae.config.checks import check_experiment
from atompaint_vae.config.hparams import HparamsError, check_trial, read_hparams
from atompaint_vae.config.space import Choices, Range, Search, SearchHparams
from atompaint_vae.models.kind import get_kind
from atompaint_vae.search.history import Outcome, find_best
from atompaint_vae.search.study import is_hopeless, sample_params

ERRORS = nt.load(Path(__file__).parent / "search_errors.nt")

HEAD = """\
shared:
  data:
    size_voxels: 11
  model:
    layers:
      - 4x0e
    latent: 1x0e
  train:
    {epochs: 2, steps_per_epoch: 60}
"""


@pytest.fixture
def hparams_nt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("hparams.nt")


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS.keys())
def test_mistakes(case, hparams_nt):
    hparams_nt.write_text(HEAD + case["search"] + "\n")
    if "error" in case:
        with pytest.raises(HparamsError) as error:
            check_experiment(hparams_nt)
        assert str(error.value) == case["error"]
    else:
        assert check_experiment(hparams_nt).warnings == case["warning"].splitlines()


SPACE = "search:\n  trials: 3\n  space:\n    model.layers:\n      -\n        - 8x0e\n"


def test_keys_that_neither_the_shared_values_nor_the_space_give(hparams_nt):
    hparams_nt.write_text("shared:\n  model:\n    latent: 1x0e\n" + SPACE)
    with pytest.raises(HparamsError) as error:
        check_experiment(hparams_nt)
    where = "is missing; give it in 'shared:' or in the search's space"
    assert str(error.value) == (
        f"hparams.nt:1:1: train.epochs {where}\nhparams.nt:1:1: train.steps_per_epoch {where}"
    )


def test_data_that_no_trial_could_have(hparams_nt):
    hparams_nt.write_text(HEAD.replace("size_voxels: 11", "source: startr") + SPACE)
    with pytest.raises(HparamsError) as error:
        check_experiment(hparams_nt)
    assert str(error.value) == (
        "hparams.nt:3:13: data.source: startr: no such file; did you mean 'starter'?"
    )


def test_values_in_the_units_of_the_key(hparams_nt):
    text = "search:\n  trials: 3\n  space:\n    data.radius_A:\n      low: 0.05 nm\n      high: 1\n"
    hparams_nt.write_text(HEAD + text)
    dimension = read_hparams(hparams_nt).search.space["data.radius_A"]
    assert dimension == Range(0.5, 1.0, None, log=False, is_integer=False)


def test_ranges_of_keys_that_may_be_blank(hparams_nt):
    range_text = "      low: 1\n      high: 3\n"
    key = "model.decoder.convs_per_layer"
    hparams_nt.write_text(HEAD + f"search:\n  trials: 3\n  space:\n    {key}:\n{range_text}")
    file = read_hparams(hparams_nt)
    assert file.search.space[key] == Range(1, 3, None, log=False, is_integer=True)
    # A run from before the key was searched, whose decoder is like the encoder, is outside.
    blank = check_trial(file, {}, Path())[1]
    assert file.search.find_params(blank) is None
    two = check_trial(file, file.search.write_values({key: 2}), Path())[1]
    assert file.search.find_params(two) == {key: 2}


@pytest.mark.parametrize(
    ("dimension", "value", "text"),
    [
        (Range(0.1, 1, None, True, False), 0.123456, "0.1235"),
        (Range(0.12344, 1, None, True, False), 0.12344, "0.12344"),  # not below the range
        (Range(0, 1, 0.1, False, False), 0.1 + 0.2, "0.3"),
        (Range(1, 9, None, False, True), 3, "3"),
        (Choices((1.0, 2.0), ("1", "2")), 1, "2"),
    ],
)
def test_sampled_values_as_text(dimension, value, text):
    assert dimension.write(value) == text


def test_where_a_value_is_in_the_space():
    steps = Range(0.1, 0.7, 0.2, False, False)
    assert [steps.find(x) for x in (0.1, 0.3, 0.4, 0.7, 0.9)] == [0.1, 0.3, None, 0.7, None]
    assert Choices(("a", "b"), ("a", "b")).find("b") == 1
    assert Choices(("a", "b"), ("a", "b")).find("c") is None


def make_search(**settings) -> Search:
    space = {
        "optim.learning_rate": Range(1e-4, 1.0, None, True, False),
        "model.convs_per_layer": Range(1, 3, None, False, True),
        "model.latent": Choices(("a", "b", "c"), ("a", "b", "c")),
    }
    settings = SearchHparams(trials=9, space={"x": "y"}, **settings)
    metric = get_kind("vae").find_metric(settings.metric.removeprefix("val.") or "r2")
    return Search(settings, metric, space, {})


def run_search(search: Search, num_trials: int) -> list[Outcome]:
    """With a result in closed form, which is best at a rate of 10^-2.5 and choice 1."""
    outcomes = []
    for number in range(num_trials):
        params = sample_params(search, outcomes, (number,))
        distance = abs(math.log10(params["optim.learning_rate"]) + 2.5)
        loss = distance + (params["model.latent"] != 1)
        outcomes.append(Outcome(params, "finished", (loss,)))
    return outcomes


def calc_mean(outcomes: list[Outcome]) -> float:
    return sum(outcome.curve[0] for outcome in outcomes) / len(outcomes)


def test_the_sampler_learns():
    learned, random = (
        calc_mean([
            x for seed in range(4)
            for x in run_search(make_search(sampler=s, seed=seed, metric="val.loss"), 40)[20:]
        ])
        for s in ("tpe", "random")
    )  # fmt: skip
    # Of points at random: 2/3 for the choice, and (1.5² + 2.5²) / 2 / 4 for the rate.
    assert random == pytest.approx(2 / 3 + 1.0625, abs=0.25)
    assert learned < random - 0.3


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_samples_depend_on_the_seed_and_the_outcomes_alone(sampler):
    first = run_search(make_search(seed=1, sampler=sampler), 15)
    assert first == run_search(make_search(seed=1, sampler=sampler), 15)
    assert first != run_search(make_search(seed=2, sampler=sampler), 15)
    assert all(1e-4 <= x.params["optim.learning_rate"] <= 1 for x in first)
    assert {x.params["model.convs_per_layer"] for x in first} <= {1, 2, 3}


@pytest.mark.parametrize("state", ["failed", "infeasible"])
def test_the_sampler_keeps_away_from_what_cannot_be_trained(state):
    search = make_search()
    good = [Outcome({"optim.learning_rate": 10 ** (-3 + i / 50), "model.convs_per_layer": 1 + i % 3,
                     "model.latent": 1}, "finished", (0.5,)) for i in range(15)]  # fmt: skip
    bad = [Outcome({**x.params, "model.latent": 2}, state) for x in good]
    chosen = [sample_params(search, good + bad, (i,))["model.latent"] for i in range(30)]
    assert chosen.count(2) < 5


@pytest.mark.parametrize(
    ("settings", "curve", "is_pruned"),
    [
        ({}, (0.1, 0.1), True),
        ({}, (0.1, 0.35), False),  # the median of 0.2, 0.3, 0.4 is 0.3
        ({}, (0.35, 0.1), False),  # its best counts
        ({}, (0.1,), False),  # in the first epoch
        ({"warmup_epochs": 0}, (0.05,), True),
        ({"warmup_epochs": 2}, (0.1, 0.1), False),
        ({"startup_trials": 4}, (0.1, 0.1), False),
        ({"pruner": "none"}, (0.1, 0.1), False),
        ({"metric": "val.loss"}, (0.1, 0.1), False),
        ({"metric": "val.loss"}, (0.5, 0.5), True),
        ({}, (0.1, math.nan), True),
    ],
)
def test_the_median_decides(settings, curve, is_pruned):
    finished = [(0.1, x, 0.9) for x in (0.2, 0.3, 0.4)]
    search = make_search(**{"startup_trials": 3, **settings})
    assert is_hopeless(search, curve, finished) == is_pruned


@pytest.mark.parametrize(
    ("metric", "best"), [("val.r2", 0.75), ("val.loss", 0.25), ("val.prior_loss", 0.25)]
)
def test_the_best_of_a_curve_is_that_of_the_metric(metric, best):
    search = make_search(metric=metric)
    assert find_best(search, (math.nan, 0.5, 0.75, 0.25, 0.5)) == best
    assert math.isnan(find_best(search, (math.nan,)))
