"""
Expand an `hparams.nt` into the values of each of its runs, still as text.

    from: ../20241217_train_vae/hparams.nt
    shared:
      model:
        latent: 10x0e+5x1e+3x2e
    runs:
      plain:
      beta-{loss.beta}-seed-{seed}:
        grid:
          loss.beta:
            - 0.1
            - 1
          seed:
            - 0
            - 1

`from:` inherits the `shared:` values of another experiment, or all values of one run if it names
`runs/<run>/hparams.nt`; values in this file override them. A run with `grid:` becomes one run for
each combination of the listed values; with `zip:`, one run for the first values of all lists, one
for the second, and so on; with both, one for each combination of grid and zip. The run's name holds
the keys, in braces.

`search:` lists the values that a search samples; `space.py` reads it. Sampled trials are in
`trials.nt` beside the file; they are runs too, after those of the file.
"""

import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from ..text.files import is_file
from ..text.located import (
    Located,
    LocatedError,
    Place,
    Problem,
    load_located,
    merge_located,
)
from ..text.suggest import say_unknown, suggest, suggest_key
from .schema import list_hparams
from .trials import load_trials

FILE_KEYS = ("from", "shared", "runs", "search")
EXPANSIONS = ("grid", "zip")
MAX_RUNS = 1000  # of one entry

# Where misplaced keys belong.
HOMES = {
    **dict.fromkeys(FILE_KEYS, "at the top of the file"),
    **dict.fromkeys(EXPANSIONS, "below the name of a run"),
}

_KEY_IN_NAME = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class ExpandedFile:
    """
    shared:   values of all runs, inherited ones too
    runs:     name and own values of each run, in order; names may be invalid or duplicates
    search:   content of `search:`, None if the key is missing
    problems: mistakes that prevented the expansion of runs
    """
    shared: Located
    runs: list[tuple[str, Located]]
    search: Located | None
    problems: list[Problem]


def expand_file(path: Path, error: type[LocatedError]) -> ExpandedFile:
    """Return a file's expanded runs; raises: `error` if it or an inherited file is unreadable."""
    root = load_located(path, error)
    problems = []
    shared = _load_shared(path, root, error, problems, [path])
    runs = root.content.get("runs", _nothing(root))
    expanded = []
    if not isinstance(runs.content, dict) and runs.content != "":
        problems.append(Problem(runs.place, "runs: expected names of runs, each with keys below"))
    elif runs.content:
        runs = _drop_misplaced(runs, EXPANSIONS, problems)
        for name, values in runs.content.items():
            expanded += _expand_run(name, values, problems)
    elif "search" not in root.content and not problems:
        problems.append(Problem(runs.key_place, "no runs; name at least one below 'runs:'"))
    trials = load_trials(path.parent, error)
    expanded += [(name, trial.values) for name, trial in trials.items() if not trial.infeasible]
    return ExpandedFile(shared, expanded, root.content.get("search"), problems)


def _nothing(root: Located) -> Located:
    return Located({}, root.key_place, root.place)


def _load_shared(
        path: Path, root: Located, error: type[LocatedError], problems: list[Problem],
        chain: list[Path]) -> Located:
    problems += [
        Problem(value.key_place, say_unknown(key, suggest_key(key, FILE_KEYS), FILE_KEYS))
        for key, value in root.content.items() if key not in FILE_KEYS
    ]
    shared = _drop_misplaced(root.content.get("shared", _nothing(root)), HOMES, problems)
    source = root.content.get("from")
    if source is None:
        return shared
    text = source.content
    if not (isinstance(text, str) and text and text.isprintable()):
        problems.append(Problem(source.place, "from: expected the path of another hparams.nt"))
        return shared
    inherited = Path(os.path.normpath(path.parent / text))
    others = [other.resolve() for other in chain]
    if inherited.resolve() in others:
        names = " <- ".join(map(str, [*chain, inherited]))
        problems.append(Problem(source.place, f"from: a file can't inherit from itself: {names}"))
        return shared
    if not is_file(inherited):
        problems.append(Problem(source.place, f"from: {inherited}: no such file"))
        return shared
    other = load_located(inherited, error)
    if not is_run_file(inherited):
        other = _load_shared(inherited, other, error, problems, [*chain, inherited])
    return merge_located(other, shared)


def _drop_misplaced(
        values: Located, keys: Iterable[str], problems: list[Problem]) -> Located:
    """Return the values without these keys, and append a problem for each of them."""
    if not isinstance(values.content, dict):
        return values
    misplaced = [key for key in keys if key in values.content and _is_misplaced(key, values)]
    problems += [
        Problem(values.content[key].key_place, f"'{key}:' belongs {HOMES[key]}")
        for key in misplaced
    ]
    return replace(values, content={k: v for k, v in values.content.items() if k not in misplaced})


def _is_misplaced(key: str, values: Located) -> bool:
    """Return whether a key is misplaced; a grid without lists is a run's name, or `model.grid`."""
    if key not in EXPANSIONS:
        return True
    content = values.content[key].content
    return isinstance(content, dict) and any(isinstance(x.content, list) for x in content.values())


def is_run_file(path: Path) -> bool:
    """Return whether a file is a run's resolved hparams.nt: `runs/<run>/hparams.nt`."""
    return path.absolute().parents[1].name == "runs"


def _expand_run(name: str, run: Located, problems: list[Problem]) -> list[tuple[str, Located]]:
    """Return the runs of one entry of `runs:`."""
    if run.content == "":
        run = replace(run, content={})
    run = _drop_misplaced(run, FILE_KEYS, problems)
    if not isinstance(run.content, dict):
        return [(name, run)]
    own = replace(run, content={k: v for k, v in run.content.items() if k not in EXPANSIONS})
    lists = {kind: run.content[kind] for kind in EXPANSIONS if kind in run.content}
    num_before = len(problems)
    for kind, listed in lists.items():
        problems += _check_lists(name, kind, listed, own)
    problems += _check_keys_once(name, lists)
    if len(problems) > num_before:
        return []

    columns = {kind: list(listed.content.items()) for kind, listed in lists.items()}
    axes = [[(key, value)] for key, value in columns.get("grid", [])]
    axes += [columns["zip"]] if "zip" in columns else []
    num_runs = prod(len(axis[0][1].content) for axis in axes)
    if num_runs > MAX_RUNS:
        text = f"run '{name}': grid: {num_runs:,} runs; expected at most {MAX_RUNS:,}"
        problems.append(Problem(run.content["grid"].key_place, text))
        return []
    # Each axis is a list of keys whose lists are stepped through together.
    steps = [[[(key, values.key_place, values.content[i]) for key, values in axis]
              for i in range(len(axis[0][1].content))] for axis in axes]
    expanded = [
        _make_run(name, own, [cell for step in combination for cell in step])
        for combination in itertools.product(*steps)
    ]
    keys = [key for column in columns.values() for key, _ in column]
    problems += _check_template(name, run, keys, [new for new, _ in expanded], axes)
    return expanded if len(problems) == num_before else []


def _check_lists(name: str, kind: str, listed: Located, own: Located) -> list[Problem]:
    if not isinstance(listed.content, dict) or not listed.content:
        text = f"run '{name}': {kind}: expected keys such as 'loss.beta', each with a list below"
        return [Problem(listed.place, text)]
    problems, lengths = [], {}
    for key, values in listed.content.items():
        if not isinstance(values.content, list) or not values.content:
            text = f"run '{name}': {kind}: {key}: expected a list of values, one for each run"
            problems.append(Problem(values.place, text))
        else:
            lengths[key] = len(values.content)
        if _is_given(own, key.split(".")):
            text = f"run '{name}': {key} is given by {kind}: and by the run itself"
            problems.append(Problem(values.key_place, text))
    if kind == "zip" and len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{key} {length}" for key, length in lengths.items())
        text = f"run '{name}': zip: the lists differ in length: {sizes}"
        problems.append(Problem(listed.key_place, text))
    return problems


def _is_given(values: Located, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(values.content, dict):
            return values.content != ""  # a value in place of the section
        if key not in values.content:
            return False
        values = values.content[key]
    return True


def _check_keys_once(name: str, lists: dict[str, Located]) -> list[Problem]:
    keys = [
        (key, values.key_place) for listed in lists.values() if isinstance(listed.content, dict)
        for key, values in listed.content.items()
    ]
    return [
        Problem(place, f"run '{name}': {key} is given twice, by grid: and zip: or by its section")
        for i, (key, place) in enumerate(keys) for other, _ in keys[:i]
        if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")
    ]


def _make_run(
        name: str, own: Located, cells: list[tuple[str, Place, Located]]) -> tuple[str, Located]:
    for key, key_place, value in cells:
        nested = replace(value, key_place=key_place)
        for part in reversed(key.split(".")):
            nested = Located({part: nested}, own.key_place, own.place)
        own = replace(merge_located(own, nested), key_place=own.key_place, place=own.place)
    texts = {key: _make_name_part(value) for key, _, value in cells}
    return _KEY_IN_NAME.sub(lambda match: texts.get(match[1], match[0]), name), own


def _make_name_part(value: Located) -> str:
    """Return a value as part of a folder's name, with hyphens for characters that it can't have."""
    parts = value.content if isinstance(value.content, list) else [value]
    text = "-".join(part.content if isinstance(part.content, str) else "" for part in parts)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")


def _check_template(
        name: str, run: Located, keys: list[str], names: list[str], axes: list,
        ) -> list[Problem]:
    problems = [
        Problem(run.key_place, f"run '{name}': '{{{key}}}': {_say_no_key(key, keys)}")
        for key in _KEY_IN_NAME.findall(name) if key not in keys
    ]
    if not problems and len(set(names)) < len(names):
        problems += _check_keys_known(name, run)
    if not problems and len(set(names)) < len(names):
        missing = [axis[0][0] for axis in axes if not any(f"{{{key}}}" in name for key, _ in axis)]
        better = "-".join([name, *(f"{{{key}}}" for key in missing)])
        hint = f"name them by their values, such as '{better}'" if missing else (
            "their values are the same, or look the same in a name")
        twice = next(each for each in names if names.count(each) > 1)
        problems.append(Problem(
            run.key_place, f"run '{name}': {len(names)} runs, of which several are named "
            f"'{twice}'; {hint}"))
    return problems


def _check_keys_known(name: str, run: Located) -> list[Problem]:
    known, problems = list_hparams(), []
    for kind in EXPANSIONS:
        for key, values in run.content[kind].content.items() if kind in run.content else ():
            if not any(f"{x}.".startswith(f"{key}.") for x in known):
                hint = suggest(key, known, [x for x in known if x.endswith(f".{key}")])
                text = f"run '{name}': {kind} key '{key}' is unknown; {hint}"
                problems.append(Problem(values.key_place, text))
    return problems


def _say_no_key(key: str, keys: list[str]) -> str:
    if not keys:
        return "the run has neither grid: nor zip:"
    return f"no key of its grid: or zip:; known: {', '.join(keys)}"
