"""Searches that nobody ran, in memory."""

from atompaint_vae.config.space import Choices, Range, Search, SearchHparams
from atompaint_vae.models.kind import get_kind
from atompaint_vae.search.history import History, Outcome

SPACE = {
    "optim.learning_rate": Range(1e-4, 1e-1, None, True, False),
    "model.decoder.convs_per_layer": Range(1, 3, None, False, True),
    "model.decoder.nonlinearity": Choices(("elu", "relu", None), ("elu", "relu", "")),
}


def make_history(
    outcomes: dict[str, Outcome], space: dict | None = None, trials: int = 9, metric: str = "val.r2"
) -> History:
    settings = SearchHparams(trials=trials, space={"x": "y"}, metric=metric)
    metric = get_kind("vae").find_metric(metric.removeprefix("val."))
    search = Search(settings, metric, space or SPACE, {})
    states = {name: outcome.state for name, outcome in outcomes.items()}
    runs = {name: None if state == "infeasible" else name for name, state in states.items()}
    return History(None, search, runs, states, outcomes)
