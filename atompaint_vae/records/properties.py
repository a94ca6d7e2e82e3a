"""
Properties of a run, which are shown, filtered and compared, and its curves.

Properties are its names (`experiment`, `run`, `date`), its hyperparameters (`loss.beta`), entries
of its record (`state`, `compression_ratio`), and its metrics. Metrics of tables with many rows are
reduced: `last(val.r2)`, `best(val.r2)`, but `test.r2`.

If a file of a run is damaged, its other files are still read; its `state` is "unreadable" and its
`error` tells the place of the damage.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..config.hparams import load_resolved
from ..config.schema import Hparams, flatten
from ..models.kind import DEFAULT_KIND, get_kind
from ..text.formats import format_shape
from ..text.suggest import suggest
from .find import get_date
from .metrics import MetricsError, load_columns
from .record import UNREADABLE, RunPaths, RunRecord, describe_damage, load_record

Value = int | float | str | None

CURVES = ("train", "val")
"""Tables with a row for each recorded step; `test` has one row."""

AXES = ("step", "epoch", "elapsed_s")
"""Columns that each of those rows has besides its metrics."""

FILES = ("hparams.nt", "record.nt", "train.csv", "val.csv", "test.csv")
"""Sources of properties and curves; pages with a thousand runs check them often."""

VERSION = 3
"""Version of the properties: increment it when names or values change, to invalidate caches."""


class PropertyError(ValueError):
    """A run has no such property or metric."""


@dataclass(frozen=True)
class Run:
    """
    The recorded data of a run.

    id:     `experiment/run`
    properties: name to value; None for values that don't exist yet
    tables: columns of the tables `train`, `val` and `test` that exist
    """

    id: str
    properties: Mapping[str, Value]
    tables: Mapping[str, Mapping[str, Sequence[Value]]]


def load_runs(found: Mapping[str, RunPaths]) -> list[Run]:
    """Return the runs at these paths, in their order."""
    return [load_run(id, paths) for id, paths in found.items()]


def load_run(id: str, paths: RunPaths) -> Run:
    """Return a run; cached until one of its files changes."""
    return _load_run(id, paths, make_signature(paths))


def make_signature(paths: RunPaths) -> str:
    """Return a signature that changes with the run's files, or with what is read from them."""
    with os.scandir(paths.run_dir) as entries:
        states = [(x.name, x.stat()) for x in entries if x.name in FILES]
    files = [f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in sorted(states)]
    return " ".join([str(VERSION), *files])


@lru_cache(maxsize=4096)
def _load_run(id: str, paths: RunPaths, signature: str) -> Run:
    errors = []

    def read(load, path):
        try:
            return load(path)
        except (ValueError, OSError) as error:
            errors.append(error)

    hparams, record = read(load_resolved, paths.hparams), read(load_record, paths.record)
    tables = {
        path.stem: read(load_numbers if path == paths.test_metrics else load_curves, path)
        for path in (paths.train_metrics, paths.val_metrics, paths.test_metrics)
        if path.exists()
    }
    tables = {name: columns for name, columns in tables.items() if columns is not None}
    experiment, _, name = id.rpartition("/")
    date = get_date(experiment)
    properties = {
        "experiment": experiment,
        "run": name,
        "date": int(date) if date else None,
        **({key: _simplify(x) for key, x in flatten(hparams).items()} if hparams else {}),
        **(_make_record_properties(record) if record else {}),
    }
    if errors:
        damage = describe_damage(errors, paths.run_dir)
        properties |= {"state": UNREADABLE, "error": damage}
    for table, columns in tables.items():
        for column, values in columns.items():
            if table == "test":
                properties[f"test.{column}"] = _clean(values[-1]) if values else None
            elif column not in AXES:
                properties |= _reduce(table, column, values, hparams)
    return Run(id, properties, tables)


def load_curves(path: Path) -> dict[str, list[int | float | None]]:
    """
    Return the columns of a table of numbers, which has all of the AXES.

    raises: MetricsError with the line of the damage
    """
    columns = load_numbers(path)
    missing = [name for name in AXES if name not in columns]
    if missing and columns["step"]:
        raise MetricsError(f"{path}:1: no column {missing[0]!r}")
    return columns


def load_numbers(path: Path) -> dict[str, list[int | float | None]]:
    """Return the columns of test.csv, whose only axis is the step; raises: as `load_curves`."""
    columns = load_columns(path)
    for name, cells in columns.items():
        for line, cell in enumerate(cells, start=2):
            if isinstance(cell, str) or (cell is None and name in AXES):
                raise MetricsError(f"{path}:{line}: {name}: expected a number, got {cell or ''!r}")
    return columns


def _make_record_properties(record: RunRecord) -> dict[str, Value]:
    sessions = record.sessions
    times = [(x.ended - x.started).total_seconds() for x in sessions if x.ended]
    last = sessions[-1] if sessions else None
    return {
        "state": record.state,
        "num_parameters": record.num_parameters,
        **{name: format_shape(x) if isinstance(x, tuple) else _clean(x)
           for name, x in record.sizes.items()},
        "best_step": record.best.step if record.best else None,
        "duration_s": int(sum(times)) if times else None,
        "steps": last.steps_end if last else None,
        "device": last.device if last else None,
        "commit": last.git_commit + "+" * last.git_dirty if last and last.git_commit else None,
        "data_hash": record.data_hash,
        "error": last.error if last else None,
    }


def _reduce(
    table: str, column: str, values: Sequence[Value], hparams: Hparams | None
) -> dict[str, Value]:
    numbers = [x for x in map(_clean, values) if isinstance(x, int | float)]
    reduced = {f"last({table}.{column})": _clean(values[-1]) if values else None}
    metric = get_kind(hparams.kind if hparams else DEFAULT_KIND).find_metric(column)
    if metric and numbers:
        reduced[f"best({table}.{column})"] = metric.find_best(numbers)
    return reduced


def list_best_metrics(runs: Iterable[Mapping[str, Value]]) -> list[str]:
    """Return the metrics that choose the best weights, for the kinds of these runs."""
    kinds = dict.fromkeys(run.get("kind") or DEFAULT_KIND for run in runs) or [DEFAULT_KIND]
    return list(dict.fromkeys(get_kind(kind).best.name for kind in kinds))


def list_properties(runs: Iterable[Run]) -> list[str]:
    """Return the names of all properties of the runs, in their order."""
    return list(dict.fromkeys(name for run in runs for name in run.properties))


def list_metrics(runs: Iterable[Run]) -> list[str]:
    """Return the names of all metrics of the runs, such as `val.r2`; `test` first."""
    names = dict.fromkeys(
        f"{table}.{column}"
        for run in runs
        for table in ("test", "val", "train")
        for column in run.tables.get(table, ())
        if column not in AXES
    )
    return sorted(names, key=lambda name: ("test", "val", "train").index(name.split(".")[0]))


def list_reduced(metric: str, properties: Iterable[str]) -> list[str]:
    """Return the properties that reduce a metric to a number: last, best, or the metric itself."""
    properties = set(properties)
    return [x for x in (metric, f"last({metric})", f"best({metric})") if x in properties]


AT = re.compile(r"(?P<table>train|val)\.(?P<column>\w+)@(?P<axis>step|epoch)=(?P<x>\d+(\.\d+)?)")


def get_value(run: Run, name: str) -> Value:
    """
    Return a property of a run, or a metric at a step or epoch, such as `val.prior_loss@epoch=1`.

    raises: PropertyError with the known names or places
    """
    if match := AT.fullmatch(name):
        return _get_value_at(run, **match.groupdict())
    if run.properties.get(name) is not None:
        return run.properties[name]
    _check_readable(run, name)
    if name in run.properties:
        raise PropertyError(f"{run.id}: the property {name!r} is blank")
    raise PropertyError(f"{run.id}: {say_unknown_property(name, list_properties([run]))}")


def _check_readable(run: Run, name: str) -> None:
    if run.properties["state"] == UNREADABLE:
        raise PropertyError(f"{run.id}: {name} can't be read: {run.properties['error']}")


def _get_value_at(run: Run, table: str, column: str, axis: str, x: str) -> Value:
    columns = run.tables.get(table, {})
    if column not in columns:
        _check_readable(run, f"{table}.{column}")
        known = [name for name in list_metrics([run]) if name.partition(".")[0] in CURVES]
        raise PropertyError(f"{run.id}: {say_unknown_property(f'{table}.{column}', known)}")
    places = columns.get(axis, [])
    for place, value in zip(places, columns[column], strict=True):
        if math.isclose(place, float(x), rel_tol=1e-6):
            if value is None:
                raise PropertyError(f"{run.id}: {table}.{column} is blank at {axis} {x}")
            return value
    there = f"{places[0]:g} to {places[-1]:g}" if places else "none"
    raise PropertyError(f"{run.id}: {table}.csv has no row of {axis} {x}; there: {there}")


def say_unknown_property(name: str, properties: Sequence[str]) -> str:
    """Return the message for an unknown property."""
    inside = [x for x in properties if f"({name})" in x]
    return f"unknown property {name!r}; {suggest(name, properties, inside)}"


def _simplify(value: object) -> Value:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, int | float | str) else None if value is None else str(value)


def _clean(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value
