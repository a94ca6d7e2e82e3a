"""What is left of a search, and its best trials, counted by hand."""

import math

import pytest
from made_up_search import make_history

from atompaint_vae.search.history import Outcome

STATES = ("finished", "pruned", "failed", "open", "infeasible")
TIMES_S = (60, 20, 900, 30, None)


@pytest.fixture
def history():
    outcomes = {
        state: Outcome({}, state, (0.5,), time_s)
        for state, time_s in zip(STATES, TIMES_S, strict=True)
    }
    return make_history(outcomes, trials=8)


def test_trials_left(history):
    # 3 of 8 are over, the open one isn't, and the infeasible one doesn't count.
    assert history.count_left() == 5
    # The number of trials was lowered afterwards.
    assert make_history(history.outcomes, trials=2).count_left() == 0


@pytest.mark.parametrize(("num_workers", "rest_s"), [(1, 200), (2, 120), (5, 40), (9, 40)])
def test_time_left(history, num_workers, rest_s):
    # A finished and a pruned trial took 40 s on average; failed ones say nothing.
    assert history.estimate_rest_s(num_workers) == rest_s


def test_time_left_is_unknown_at_first():
    assert make_history({"a": Outcome({}, "open", (), 9.0)}).estimate_rest_s(1) is None


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("val.r2", {"b": 0.75, "c": 0.5, "a": 0.25}), ("val.loss", {"a": 0.125, "b": 0.25, "c": 0.5})],
)
def test_the_best_trials_come_first(metric, expected):
    curves = {"a": (0.125, 0.25), "b": (0.75, 0.25), "c": (math.nan, 0.5), "d": (math.nan,)}
    outcomes = {name: Outcome({}, "finished", curve) for name, curve in curves.items()}
    outcomes["e"] = Outcome({}, "pruned", (0.9, 0.0))
    ranked = make_history(outcomes, metric=metric).rank_finished()
    assert list(ranked.items()) == list(expected.items())
