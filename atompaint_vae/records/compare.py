"""
Differences between runs, and reasons not to compare them.

Runs are given as properties. `static/runs.js` follows the same rules in the pages;
`tests/records/compare.nt` tests both with the same cases.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise

from ..config.schema import list_hparams, list_rules
from ..models.kind import DEFAULT_KIND, get_kind
from ..text.formats import format_value
from ..text.suggest import suggest
from .properties import (
    CURVES,
    PropertyError,
    Run,
    Value,
    list_metrics,
    list_properties,
    list_reduced,
    say_unknown_property,
)
from .record import UNREADABLE

Properties = Mapping[str, Value]

SEED = "seed"

TABLES = ("train", "val", "test")

EFFECTLESS = ("kind", SEED, "train.num_val_crops", "train.num_test_crops")
"""Hyperparameters whose effects are not of interest."""

SEED_SUFFIX = re.compile(r"[-_.=/,]*(seed[-_.=]*\d*)?[-_.=/,]*$")

MINUTES = {"duration_s": "duration [min]"}


def choose_columns(
    runs: Sequence[Run],
    metrics: Sequence[str],
    hparams: Sequence[str] | None = None,
    also: Sequence[str] = (),
) -> list[str]:
    """
    Return the columns of a table of runs: names, metrics, hyperparameters, state.

    hparams: names of hyperparameters, None for those that differ
    also:    other properties to show after the metrics
    raises:  PropertyError if there is no such hyperparameter or metric
    """
    known, reduced = list_properties(runs), []
    for metric in metrics:
        check_metric(metric, runs)
        reduced += list_reduced(metric, known)
    if hparams is None:
        hparams = find_varied([run.properties for run in runs])
    for name in hparams:
        if name not in known:
            raise PropertyError(say_unknown_property(name, known))
    several = len({run.properties["experiment"] for run in runs}) > 1
    names = ["experiment"] * several + ["run"]
    return list(dict.fromkeys([*names, *reduced, *also, *hparams, "state", "duration_s"]))


def sort_runs(runs: Sequence[Run], key: str) -> list[Run]:
    """
    Return runs sorted by a property: the best first if it is a metric, else ascending.

    Runs without the property are last; equals stay in their order.
    """
    table, _, column = re.sub(r"^\w+\((.*)\)$", r"\1", key).partition(".")
    is_metric = table in TABLES
    kinds = {run.properties.get("kind") or DEFAULT_KIND for run in runs if key in run.properties}
    found = [get_kind(kind).find_metric(column) for kind in sorted(kinds)] if is_metric else []
    sign = -1 if any(metric and metric.better == "higher" for metric in found) else 1

    def rank(run: Run):
        value = run.properties.get(key)
        if isinstance(value, int | float):
            return 0, sign * value, ""
        return (2, 0, "") if value is None else (1, 0, value)

    return sorted(runs, key=rank)


def find_sort_key(runs: Sequence[Run], name: str) -> str:
    """
    Return the property to sort by: a property, or the best or last value of a metric's curve.

    raises: PropertyError if there is no such property or metric
    """
    known = list_properties(runs)
    if name in known:
        return name
    if reduced := list_reduced(name, known):
        return reduced[-1]  # the best, if one is better
    raise PropertyError(say_unknown_property(name, known))


def check_metric(metric: str, runs: Sequence[Run]) -> None:
    """
    Check that some of the runs have a metric, or that its table isn't written yet.

    raises: PropertyError with the known metrics
    """
    known, table = list_metrics(runs), metric.partition(".")[0]
    is_early = table in TABLES and not any(table in x.tables for x in runs)
    if metric not in known and not is_early:
        raise PropertyError(f"unknown metric {metric!r}; {suggest(metric, known)}")


def check_curve(runs: Sequence[Run], metric: str) -> None:
    """
    Check that some of the runs have a curve of a metric.

    raises: PropertyError with the known curves
    """
    known = [x for x in list_metrics(runs) if x.partition(".")[0] in CURVES]
    if metric not in known:
        raise PropertyError(f"no curve of {metric!r}; {suggest(metric, known)}")


def name_column(name: str) -> str:
    """Return the head of a property's column."""
    return MINUTES.get(name, name)


def write_cells(run: Properties, columns: Sequence[str]) -> list[str]:
    """Return a run's properties as text, durations in minutes; missing values are blank."""
    cells = []
    for column in columns:
        value = run.get(column)
        if value is not None and column in MINUTES:
            cells.append(f"{value / 60:.1f}")
        else:
            cells.append("" if value is None else shorten(column, value))
    return cells


def keep_readable(runs: Sequence[Properties]) -> list[Properties]:
    """Return the runs that can be read; the properties of the others are unknown."""
    return [run for run in runs if run.get("state") != UNREADABLE]


def find_varied(runs: Sequence[Properties]) -> list[str]:
    """Return the hyperparameters that differ between runs, in the order of the schema."""
    runs = keep_readable(runs)
    return [key for key in list_hparams() if differs(key, runs)]


def differs(key: str, runs: Sequence[Properties]) -> bool:
    """Return whether runs differ in a property; a run whose kind lacks a key doesn't differ in it.
    """
    values = {run.get(key) for run in runs}
    return len(values - {None} if key in list_hparams() else values) > 1


def find_incomparable(runs: Sequence[Properties], metrics: Iterable[str]) -> list[str]:
    """Return the reasons why metrics of these runs are not comparable, as sentences."""
    sentences = [
        f"not comparable: {run['experiment']}/{run['run']} can't be read: {run['error']}"
        for run in runs
        if run.get("state") == UNREADABLE
    ]
    metrics, runs = list(metrics), keep_readable(runs)
    for keys, parts, why in list_rules():
        differing = [key for key in keys if differs(key, runs)]
        if differing and any(part in metric for part in parts for metric in metrics):
            values = "; ".join(f"{key} is {count_values(runs, key)}" for key in differing)
            sentences.append(f"not comparable: {why}: {values}")
    return sentences


def count_values(runs: Sequence[Properties], key: str) -> str:
    """Return a property's values and their counts, such as `mean (1 run) or sum (4 runs)`."""
    counts = {}
    for run in runs:
        text = shorten(key, run.get(key))
        counts[text] = counts.get(text, 0) + 1
    return " or ".join(f"{text} ({n} run{'s' * (n > 1)})" for text, n in counts.items())


def shorten(key: str, value: Value) -> str:
    """Return a property as text, with shortened hashes."""
    text = format_value(value)
    if key in ("commit", "data_hash") and value is not None:
        return text[:8] + "+" * text.endswith("+")
    return text


def find_confounded(runs: Sequence[Properties]) -> list[str]:
    """
    Return sentences about hyperparameters that vary only together.

    Two of them are confounded if no two runs differ in one and agree in the other. A number that
    is different in each run is confounded with another number only if it rises or falls with it:
    otherwise any two numbers drawn at random would be confounded.
    """
    runs = keep_readable(runs)
    keys = [key for key in find_varied(runs) if key not in EFFECTLESS]
    pairs = {pair for pair in combinations(keys, 2) if _are_confounded(runs, *pair)}
    groups = []
    for pair in combinations(keys, 2):
        if pair not in pairs or any(set(pair) <= set(group) for group in groups):
            continue
        group = list(pair)
        for key in keys:
            others = [tuple(sorted((key, x), key=keys.index)) for x in group]
            if key not in group and pairs.issuperset(others):
                group.append(key)
        groups.append(sorted(group, key=keys.index))
    return [
        f"confounded: {', '.join(group[:-1])} and {group[-1]} vary only together: "
        "their effects can't be told apart"
        for group in groups
    ]


def _are_confounded(runs: Sequence[Properties], a: str, b: str) -> bool:
    values = [(run.get(a), run.get(b)) for run in runs]
    numeric = [all(isinstance(pair[i], int | float) for pair in values) for i in (0, 1)]
    if numeric == [False, True]:
        values, numeric = [(y, x) for x, y in values], [True, False]
    xs, ys = zip(*values, strict=True)
    x_decides = len(set(values)) == len(set(xs))
    y_decides = len(set(values)) == len(set(ys))
    if numeric == [False, False]:
        return x_decides or y_decides
    in_order = [y for _, y in sorted(set(values), key=lambda pair: pair[0])]
    if numeric == [True, True]:
        return x_decides and y_decides and in_order in (sorted(in_order), sorted(in_order)[::-1])
    num_changes = sum(y != z for y, z in pairwise(in_order))
    return y_decides or (x_decides and num_changes == len(set(ys)) - 1)


def group_seeds(runs: Sequence[Properties]) -> list[list[int]]:
    """Return the indices of runs, grouped by all hyperparameters except the seed."""
    groups = {}
    for i, run in enumerate(runs):
        key = (run.get("data_hash"), *(run.get(key) for key in list_hparams() if key != SEED))
        key = (i,) if run.get("state") == UNREADABLE else key
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def name_runs(ids: Sequence[str]) -> list[str]:
    """Return names of runs: `experiment/run`, or just `run` if all are of one experiment."""
    several = len({x.rpartition("/")[0] for x in ids}) > 1
    return [x if several else x.rpartition("/")[2] for x in ids]


def name_group(names: Sequence[str]) -> str:
    """Return the name of a group of runs: the only run's name, or the common prefix and a count.

    names: names of the runs
    """
    if len(names) == 1:
        return names[0]
    prefix = names[0]
    while not all(name.startswith(prefix) for name in names):
        prefix = prefix[:-1]
    stem = SEED_SUFFIX.sub("", prefix) or names[0]
    return f"{stem} ({len(names)} seeds)"


def describe_code(runs: Sequence[Properties]) -> list[str]:
    """Return the commits that the runs were trained with, and commands to compare them."""
    commits = list(dict.fromkeys(x for run in runs if (x := run.get("commit"))))
    lines = [f"code: {count_values(runs, 'commit')}"]
    if any(x.endswith("+") for x in commits):
        lines.append("+ the files differed from the commit")
    clean = list(dict.fromkeys(x.rstrip("+")[:8] for x in commits))
    lines += [f"git diff {clean[0]} {other} -- atompaint_vae" for other in clean[1:]]
    return lines


def describe_data(runs: Sequence[Properties]) -> list[str]:
    """Return which structures the runs were trained with."""
    return [f"data: {count_values(runs, 'data.source')}, {count_values(runs, 'data_hash')}"]
