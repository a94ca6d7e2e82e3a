"""
The directive ``.. compare::``, which compares runs of any dates, chosen by a filter expression.

A script shows the runs that match the filter. Without JavaScript, in LaTeX and in text, there is a
table of the newest runs.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from docutils import nodes

from ...models.kind import DEFAULT_KIND, get_kind
from ...records.properties import Value, list_reduced, load_run, make_signature
from ...records.record import RunPaths
from ...text.files import write_atomic
from ..core.nodes import add_html_node
from ..core.problems import note_unreadable
from ..sheets.pages import name_sheet
from ..tables.cells import Table
from ..tables.order import make_text_key
from ..tables.table_nodes import Format, datatable, make_table_node
from .run_data import RunsDirective, add_run_scripts, dump_json, note_runs, write_runs
from .runs import list_default_metrics, make_run_table

MAX_PLAIN = 200

METRICS = "atompaint_metrics"
"""The metrics by which a page compares runs, in the page's metadata."""

MEASURED = re.compile(r"last\((.+)\)|(test\..+)")


class run_compare(nodes.General, nodes.Element):
    """Runs to compare; ``runs`` holds their ids, the child is their table."""


class CompareDirective(RunsDirective):
    """
    Runs of any dates, to filter and compare.

    runs: as for ``.. runs::``; all by default
    """

    optional_arguments = 1
    final_argument_whitespace = True

    def show(self) -> list[nodes.Node]:
        found = note_runs(self.env, " ".join(self.arguments).split())
        runs = load_properties(Path(self.env.doctreedir), found)
        for paths, properties in zip(found.values(), runs, strict=True):
            note_unreadable(self.env, paths.run_dir, properties)
        if not runs:
            return [nodes.paragraph("", "No run has a record yet.")]
        self.env.metadata[self.env.docname][METRICS] = list_metrics(runs)
        table, formats = make_plain_table(runs)
        wrapper = datatable(
            "",
            make_table_node(table, with_rows=False),
            file="runs.csv",
            columns=len(table.header),
            rows=table.rows,
            formats=formats,
        )
        if len(runs) > MAX_PLAIN:
            text = f"The newest {MAX_PLAIN} of {len(runs)} runs."
            wrapper += nodes.paragraph("", text, classes=["datatable-legend"])
        node = run_compare("", wrapper, runs=list(found))
        self.set_source_info(node)
        return [node]


def name_data(ids: Iterable[str]) -> str:
    """Return the name of the files that hold the properties of some runs."""
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    return f"compare-{digest}"


def load_properties(doctreedir: Path, found: Mapping[str, RunPaths]) -> list[Mapping[str, Value]]:
    """Return the properties of runs; for unchanged runs, as the last build stored them."""
    path = doctreedir / f"{name_data(found)}.json"  # also read when the page is written
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    now = {}
    for id, paths in found.items():
        signature = make_signature(paths)
        if before.get(id, [None])[0] != signature:
            now[id] = [signature, load_run(id, paths).properties]
        else:
            now[id] = before[id]
    if now != before:
        write_atomic(path, json.dumps(now), sync=False)
    return [properties for _, properties in now.values()]


def list_metrics(runs: Sequence[Mapping[str, Value]]) -> list[str]:
    """Return the names of all metrics of runs, such as `val.r2`."""
    names = dict.fromkeys(name for properties in runs for name in properties)
    return [x[1] or x[2] for x in map(MEASURED.fullmatch, names) if x]


def sort_metrics(metrics: Sequence[str], first: Sequence[str]) -> list[str]:
    """Return metrics in the order in which people look for them: `first`, others by their names."""
    return [x for x in first if x in metrics] + sorted({*metrics} - {*first}, key=make_text_key)


def find_lower(runs: Sequence[Mapping[str, Value]], metrics: Sequence[str]) -> list[str]:
    """Return the metrics of which lower values are better."""
    kinds = [get_kind(x) for x in dict.fromkeys(run.get("kind") or DEFAULT_KIND for run in runs)]
    found = {name: [kind.find_metric(name.partition(".")[2]) for kind in kinds] for name in metrics}
    return [name for name, x in found.items() if any(y and y.better == "lower" for y in x)]


def make_plain_table(runs: Sequence[Mapping[str, Value]]) -> tuple[Table, dict[int, Format]]:
    """Return the table for pages without JavaScript: the newest runs and their results."""
    runs = runs[-MAX_PLAIN:]
    known = dict.fromkeys(name for properties in runs for name in properties)
    metrics = list_default_metrics(runs)
    reduced = [name for metric in metrics for name in list_reduced(metric, known)]
    columns = ["experiment", "run", *reduced, "state", "duration_s"]
    return make_run_table(runs, columns)


def pack_properties(ids: Sequence[str], runs: Sequence[Mapping[str, Value]]) -> dict:
    """Return the properties of runs as columns; those that are equal in all runs only once."""
    names = dict.fromkeys(name for properties in runs for name in properties)
    columns = {name: [properties.get(name) for properties in runs] for name in names}
    same = {name: values[0] for name, values in columns.items() if len(set(values)) == 1}
    varied = {name: values for name, values in columns.items() if name not in same}
    return {"ids": list(ids), "same": same, "properties": varied}


def find_sheets(app, runs: Iterable[Mapping[str, Value]]) -> dict[str, str]:
    """Return the address of each experiment's run sheet, relative to the notebook's root."""
    pages = {x["experiment"]: name_sheet(app.srcdir, x["experiment"]) for x in runs}
    known = app.env.found_docs
    return {x: app.builder.get_target_uri(page) for x, page in pages.items() if page in known}


def visit_compare_html(self, node):
    attributes = {} if self.builder.name == "epub" else {"data-source": name_data(node["runs"])}
    self.body.append(self.starttag(node, "div", CLASS="run-compare", **attributes))


def depart_compare_html(self, node):
    self.body.append("</div>\n")


def add_scripts(app, pagename, templatename, context, doctree):
    """Add the scripts and the data of all runs to pages that compare runs."""
    found = list(doctree.findall(run_compare)) if doctree is not None else []
    if app.builder.name == "epub" or not found:
        return
    add_run_scripts(app)
    app.add_js_file("parallel.js", loading_method="defer", priority=630)
    app.add_js_file("compare.js", loading_method="defer", priority=631)
    for node in found:
        name = name_data(node["runs"])
        noted = json.loads(Path(app.doctreedir, f"{name}.json").read_text("utf-8"))
        runs = [properties for _, properties in noted.values()]
        metrics = sort_metrics(list_metrics(runs), list_default_metrics(runs))
        more = {"sheets": find_sheets(app, runs), "metric": list_default_metrics(runs)[0],
                "metrics": metrics, "lower": find_lower(runs, metrics)}  # fmt: skip
        data = dump_json(pack_properties(node["runs"], runs) | more)
        text = f'(window.atompaintCompare??={{}})["{name}"]={data};\n'
        path = Path(app.outdir) / "_static" / "runs" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text, sync=False)
        write_runs(app, node["runs"])


def setup_component(app):
    add_html_node(app, run_compare, visit_compare_html, depart_compare_html)
    app.add_directive("compare", CompareDirective)
    app.connect("html-page-context", add_scripts)
