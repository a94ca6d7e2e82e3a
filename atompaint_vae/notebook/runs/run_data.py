"""
Runs among the pages: which runs a page shows, when it must be read again, and the runs' data.

The data of each run are in `_static/runs/<experiment>/<run>.js`, which all pages share. They are a
script because browsers load nothing else from file://.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ...config.schema import list_hparams, list_rules
from ...records.compare import EFFECTLESS
from ...records.filters import describe_nearest, filter_runs
from ...records.find import (
    UnknownRunError,
    find_own_experiment,
    find_runs,
    get_expts_dir,
    list_runs,
)
from ...records.properties import Run, load_run, load_runs, make_signature
from ...records.record import RunPaths
from ...text.files import write_atomic
from ..core.problems import NotebookDirective, note_unreadable

MAX_ROWS = 2000
"""Longer tables of metrics are thinned; a page couldn't show more points."""

SHOWN = "atompaint_runs"


class RunsDirective(NotebookDirective):
    """A directive whose arguments name experiments and runs."""

    def load_runs(self, names: Sequence[str], where: str = "") -> list[Run]:
        """
        Return the runs that the directive names, by default those of the page's own experiment.

        raises: ValueError for unknown runs, damaged records or a wrong filter expression
        """
        if not names:
            own = find_own(self.env)
            if own is None:
                text = "no experiment is named, and the page isn't in the folder of one"
                raise UnknownRunError(text)
            names = [own]
        runs = load_noted(self.env, note_runs(self.env, names))
        chosen = [runs[i] for i in filter_runs(where, [run.properties for run in runs])]
        if not chosen:
            which = f":where: matches none of {len(runs)} runs" if runs else "no run has a record"
            near = describe_nearest(where, [run.properties for run in runs])
            which += f"; {near}" if near else ""
            raise UnknownRunError(f"{' or '.join(names)}: {which}")
        return chosen


def find_own(env) -> str | None:
    """Return the experiment whose folder the page that is being read lies in."""
    path = Path(env.srcdir, env.docname)
    expts_dir = get_expts_dir(Path(env.srcdir))
    if not path.is_relative_to(expts_dir):
        return None
    return find_own_experiment(env.atompaint_experiments, path.relative_to(expts_dir).as_posix())


def note_runs(env, names: Sequence[str]) -> dict[str, RunPaths]:
    """
    Return the paths of the named runs, of all runs if there are no names.

    Runs of the page's own experiment need no prefix. The page depends on these runs from now on.

    raises: UnknownRunError for an unknown name
    """
    shown = env.metadata[env.docname].setdefault(SHOWN, {})
    own = find_own(env)
    key = (own, *names)
    shown[key] = None  # a page with wrong names is read again when runs are added
    expts_dir = get_expts_dir(Path(env.srcdir))
    found = find_runs(expts_dir, names, env.atompaint_experiments, own=own)
    shown[key] = sign_runs(found)
    return found


def load_noted(env, found: Mapping[str, RunPaths]) -> list[Run]:
    """Load runs from their paths, and store warnings for those whose files are damaged."""
    runs = load_runs(found)
    for run, paths in zip(runs, found.values(), strict=True):
        note_unreadable(env, paths.run_dir, run.properties)
    return runs


def sign_runs(
    found: Mapping[str, RunPaths], sign: Callable[[RunPaths], str] = make_signature
) -> str:
    """Return a hash that changes whenever runs or their files are added, removed or changed."""
    text = "\n".join(f"{id} {sign(paths)}" for id, paths in found.items())
    return hashlib.sha256(text.encode()).hexdigest()


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the pages whose runs, or files of runs, were added, removed or changed."""
    expts_dir = get_expts_dir(Path(env.srcdir))
    # Several pages may show the same run.
    sign, list_cached = cache(make_signature), cache(list_runs)
    now: dict[tuple[str | None, ...], str | None] = {}
    outdated = []
    for doc, metadata in env.metadata.items():
        for key, before in metadata.get(SHOWN, {}).items():
            if key not in now:
                try:
                    own, *names = key
                    known = env.atompaint_experiments
                    found = find_runs(expts_dir, names, known, list_cached, own)
                    now[key] = sign_runs(found, sign)
                except UnknownRunError:
                    now[key] = None
            if now[key] != before:
                outdated.append(doc)
    return outdated


def write_run(app, id: str, paths: RunPaths) -> None:
    """Write the script that holds a run's properties and curves, if it isn't up to date."""
    path = Path(app.outdir) / "_static" / "runs" / f"{id}.js"
    first_line = f"// {make_signature(paths)}\n"
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            if file.readline() == first_line:
                return
    run = load_run(id, paths)
    every = max(1, *(math.ceil(len(x["step"]) / MAX_ROWS) for x in run.tables.values()), 1)
    tables = {
        name: {column: _thin(values, every) for column, values in columns.items()}
        for name, columns in run.tables.items()
    }
    payload = {"properties": run.properties, "tables": tables, "every": every}
    line = f"(window.atompaintRuns??={{}})[{dump_json(run.id)}]={dump_json(payload)};\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, first_line + line, sync=False)


def _thin(values: Sequence[Any], every: int) -> Sequence[Any]:
    return values if every == 1 or not values else [*values[:-1:every], values[-1]]


def get_paths(srcdir: Path, ids: Iterable[str]) -> dict[str, RunPaths]:
    """Return the paths of runs by their ids, `experiment/run`."""
    parts = [id.rpartition("/") for id in ids]
    root = get_expts_dir(Path(srcdir))
    return {f"{expt}/{run}": RunPaths(root / expt / "runs" / run) for expt, _, run in parts}


def write_runs(app, ids: Iterable[str]) -> None:
    """Write the scripts of some runs."""
    for id, paths in get_paths(app.srcdir, ids).items():
        write_run(app, id, paths)


def write_schema(app) -> None:
    """Write what the scripts must know of hyperparameters."""
    if app.builder.format != "html":
        return
    schema = {"hparams": list_hparams(), "rules": list_rules(), "effectless": EFFECTLESS}
    path = Path(app.outdir) / "_static" / "run_schema.js"
    text = f"window.atompaintSchema={dump_json(schema)};\n"
    if not path.is_file() or path.read_text("utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def dump_json(value: Any) -> str:
    """Return compact JSON that is safe in a script; NaN and infinity, unknown to JSON, are null."""
    return json.dumps(_replace_nan(value), separators=(",", ":"), ensure_ascii=False).replace(
        "</", "<\\/"
    )


def _replace_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _replace_nan(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_nan(x) for x in value]
    return value


def add_run_scripts(app) -> None:
    """Add the scripts that draw runs to the page that is being written."""
    app.add_css_file("uplot.css", priority=600)
    app.add_css_file("runs.css", priority=620)
    for i, name in enumerate(["run_schema.js", "uplot.js", "runs.js", "curves.js"]):
        app.add_js_file(name, loading_method="defer", priority=620 + i)


def setup_component(app):
    app.connect("env-get-outdated", find_outdated)
    app.connect("builder-inited", write_schema)
