"""The importance of keys of searches whose results are known in closed form."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up_search import make_history

from atompaint_vae.config.space import Choices, Range
from atompaint_vae.figures.importance import calc_importances, plot_importance
from atompaint_vae.search.history import Outcome
from atompaint_vae.text.errors import UserError

SPACE = {
    "optim.learning_rate": Range(0.0, 1.0, None, False, False),
    "loss.beta": Range(0.0, 1.0, None, False, False),
    "optim.weight_decay": Range(0.0, 1.0, None, False, False),
    "model.latent": Choices(("a", "b", "c"), ("a", "b", "c")),
}


def make_trials(num: int, judge, metric="val.r2", seed=0):
    """Random points; `judge` returns the state and the value of one."""
    rng, outcomes = np.random.default_rng(seed), {}
    for i in range(num):
        rate, beta, decay = rng.random(3).tolist()
        point = (rate, beta, decay, int(rng.integers(3)))
        state, value = judge(*point)
        params = dict(zip(SPACE, point, strict=True))
        outcomes[f"trial-{i:03}"] = Outcome(params, state, (value,))
    return make_history(outcomes, space=SPACE, metric=metric)


@pytest.mark.parametrize(("metric", "sign"), [("val.r2", -1), ("val.loss", 1)])
def test_the_keys_are_in_the_order_of_their_effects(metric, sign):
    def judge(rate, beta, decay, latent):
        return "finished", sign * (4 * (rate - 0.3) ** 2 + (beta - 0.7) ** 2)

    table = calc_importances(make_trials(150, judge, metric), num_draws=20)
    assert list(table["key"][:2]) == ["optim.learning_rate", "loss.beta"]
    assert table["importance"].sum() == pytest.approx(1)
    rate, _, *others = table.itertuples()
    assert rate.low > 0.4 and rate.importance > rate.chance
    assert rate.low <= rate.importance <= rate.high
    assert all(row.importance < row.chance for row in others)


@pytest.mark.parametrize(("metric", "sign"), [("val.r2", -1), ("val.loss", 1)])
def test_what_makes_the_worst_trials_worst_matters_less(metric, sign):
    def judge(rate, beta, decay, latent):
        return "finished", sign * (9.0 if beta > 0.75 else (rate - 0.3) ** 2)

    table = calc_importances(make_trials(100, judge, metric), num_draws=2)
    assert table["key"][0] == "optim.learning_rate"


def test_trials_that_were_pruned_are_not_among_the_best():
    def judge(rate, beta, decay, latent):
        # The value that a pruned trial had early says nothing.
        return ("finished", 0.5 + 0.01 * beta) if latent == 1 else ("pruned", 0.9 + rate)

    table = calc_importances(make_trials(60, judge), num_draws=10)
    assert table["key"][0] == "model.latent"


def test_too_few_trials():
    history = make_trials(9, lambda rate, *_: ("pruned", rate))
    with pytest.raises(UserError, match="importances need 4 finished trials, there are 0"):
        calc_importances(history)


def test_the_figure_shows_the_table():
    def judge(rate, *others):
        return "finished", rate

    table = calc_importances(make_trials(20, judge), num_draws=5)
    figure = plot_importance(table)
    (axes,) = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], table["importance"])
    assert [x.get_text() for x in axes.get_yticklabels()] == list(table["key"])
    (chance,) = axes.lines
    np.testing.assert_allclose(chance.get_xdata(), table["chance"])
    ends = [segment[:, 0] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(ends, table[["low", "high"]])
    plt.close(figure)
