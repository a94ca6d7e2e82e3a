"""
Hyperparameters of an experiment's runs, read strictly from its `hparams.nt`.

The file has `shared:` values and named `runs:`, which may override them:

    shared:
      model:
        latent: 10x0e+5x1e+3x2e
      ...
    runs:
      beta_1:
        loss:
          beta: 1
      beta_4:
        loss:
          beta: 4

Mappings are merged deeply; lists and single values are replaced. Inheritance between files and
entries that stand for several runs are in `expand.py`; the keys are in `schema.py`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data import STARTER
from ..text.located import (
    Located,
    LocatedError,
    Problem,
    list_problems,
    load_located,
    merge_located,
    place_all,
    show_value,
)
from ..text.typed import dump_model
from .expand import EXPANSIONS, expand_file, is_run_file
from .schema import Hparams, check_hparams, find_kind, flatten, list_hparams
from .space import Search, read_search


class HparamsError(LocatedError):
    """Mistakes in a file of hyperparameters, one per line."""


@dataclass(frozen=True)
class HparamsFile:
    """
    shared:   values of all runs
    values:   values of each run, without defaults, with their places
    runs:     the well-formed runs
    search:   None if there is none, or `search:` is ill formed
    problems: all mistakes
    """
    shared: Located
    values: dict[str, Located]
    runs: dict[str, Hparams]
    search: Search | None
    problems: list[Problem]


def load_hparams(path: Path) -> dict[str, Hparams]:
    """
    Return the hyperparameters of each run of an experiment, in the order of the file.

    raises: HparamsError with every mistake at its file, line and column
    """
    file = read_hparams(path)
    if file.problems:
        raise HparamsError(list_problems(file.problems))
    return file.runs


def read_hparams(path: Path) -> HparamsFile:
    """Return the content of a file, with its mistakes; raises: HparamsError if it is unreadable."""
    path = Path(path)
    expanded = expand_file(path, HparamsError)
    shared = expanded.shared
    problems = [*expanded.problems, *_check_names(expanded.runs)]
    problems += _check_shared(shared, expanded.runs)
    in_shared = {p.place for p in problems}

    merged, runs, missing = {}, {}, {}
    for name, values in expanded.runs:
        merged[name] = _place_source(merge_located(shared, values), path.parent)
        hparams, found = check_hparams(merged[name], f"run '{name}'", also=EXPANSIONS)
        problems += [p for p in found if not p.missing and p.place not in in_shared]
        missing[name] = [p.missing for p in found if p.missing]
        if hparams is not None:
            runs[name] = hparams
    if missing:
        problems += _place_missing(missing, dict(expanded.runs), shared)
    search = None
    if expanded.search:
        search, found = read_search(expanded.search, find_kind(shared))
        problems += found
    file = HparamsFile(shared, merged, runs, search, problems)
    if search and not expanded.runs:
        where = "give it in 'shared:' or in the search's space"
        problems += [
            Problem(shared.key_place, f"{p.missing} is missing; {where}")
            for p in check_trial(file, search.make_example(), path.parent)[2] if p.missing
        ]
    return file


def check_trial(
        file: HparamsFile, values: Mapping[str, Any], expt_dir: Path,
        ) -> tuple[Located, Hparams | None, list[Problem]]:
    """Return the values of a trial of the file's search, its hyperparameters and its problems."""
    place = file.shared.key_place
    merged = _place_source(merge_located(file.shared, place_all(values, place)), expt_dir)
    return merged, *check_hparams(merged)


def _check_shared(shared: Located, runs: list[tuple[str, Located]]) -> list[Problem]:
    """Return the problems of the shared values that are problems for every kind of the runs."""
    kinds = {find_kind(merge_located(shared, values)) for _, values in runs} or {find_kind(shared)}
    found = [check_hparams(shared, "shared", kind=kind)[1] for kind in sorted(kinds)]
    return [p for p in found[0] if not p.missing and all(p in others for others in found)]


def _place_source(values: Located, expt_dir: Path) -> Located:
    """Return the values, with an inherited `data.source` relative to this folder."""
    data = values.content["data"] if "data" in _get_keys(values) else None
    source = data.content["source"] if data and "source" in _get_keys(data) else None
    if source is None or not isinstance(source.content, str) or source.content in ("", STARTER):
        return values
    origin = source.place.path
    folder = origin.parents[2] if is_run_file(origin) else origin.parent
    text = source.content
    if not Path(text).is_absolute() and folder != expt_dir:
        text = os.path.relpath(folder / text, expt_dir)
    data = replace(data, content={**data.content, "source": replace(source, content=text)})
    return replace(values, content={**values.content, "data": data})


def _get_keys(values: Located) -> Mapping[str, Located]:
    return values.content if isinstance(values.content, dict) else {}


def _check_names(runs: list[tuple[str, Located]]) -> list[Problem]:
    problems, seen = [], {}
    for name, values in runs:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
            text = ("expected a name of at most 100 letters, digits, '.', '_' or '-' that does not "
                    f"begin with '.' or '-', got {show_value(name)}")
            problems.append(Problem(values.key_place, f"run: {text}"))
        # Two such runs would share a folder on file systems that ignore case.
        if (other := seen.get(name.lower())) is not None:
            text = f"two runs are named '{name}'" if other == name else (
                f"runs '{other}' and '{name}' differ only in upper and lower case")
            problems.append(Problem(values.key_place, text))
        seen.setdefault(name.lower(), name)
    return problems


def _place_missing(
        missing: Mapping[str, list[str]], runs: Mapping[str, Located],
        shared: Located) -> list[Problem]:
    first, *others = missing.values()
    in_every_run = [k for k in first if others and all(k in keys for keys in others)]
    problems = [
        Problem(shared.key_place, f"{key} is missing; give it in 'shared:' or in every run", key)
        for key in in_every_run
    ]
    problems += [
        Problem(runs[name].key_place, f"run '{name}': {key} is missing", key)
        for name, keys in missing.items() for key in keys if key not in in_every_run
    ]
    return problems


def load_resolved(path: Path) -> Hparams:
    """Return the hyperparameters of one run from the file that `dump_hparams` wrote."""
    hparams, problems = check_hparams(load_located(path, HparamsError))
    if problems:
        raise HparamsError(list_problems(problems))
    return hparams


def dump_hparams(hparams: Hparams) -> str:
    """Return NestedText with every value, defaults too; the inverse of `load_resolved`."""
    return dump_model(hparams)


def find_changes(then: Hparams, now: Hparams) -> list[str]:
    """Return the hyperparameters that have changed, such as `seed was 1, is 2`."""
    values = find_differences({"then": then, "now": now})
    return [f"{key} was {values['then'][key]}, is {new}" for key, new in values["now"].items()]


def find_differences(runs: Mapping[str, Hparams]) -> dict[str, dict[str, Any]]:
    """Return, for each run, its values of the dotted keys in which the runs differ."""
    flat = {run: flatten(hparams) for run, hparams in runs.items()}
    differing = [
        n for n in list_hparams() if len({values.get(n) for values in flat.values()}) > 1
    ]
    return {run: {n: values.get(n) for n in differing} for run, values in flat.items()}
