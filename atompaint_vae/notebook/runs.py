"""
The directive ``.. runs::``, a table of runs, and the role ``:metric:``, a number of one.
"""

from collections.abc import Mapping, Sequence

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from ..runs.compare import MINUTES, choose_columns, find_incomparable, name_column, write_cells
from ..runs.properties import HPARAMS, PropertyError, Run, Value, get_value, load_runs
from ..runs.where import format_value
from .run_data import RunsDirective, note_runs
from .table_nodes import datatable, make_table_node
from .tables import Table

logger = logging.getLogger(__name__)

DEFAULT_METRICS = ("val.r2", "test.r2")

METRIC_USAGE = "expected 'experiment/run property format', such as '20241217/wide test.r2 .3f'"


class RunsTableDirective(RunsDirective):
    """
    The table of the runs of one or many experiments.

    The content is the caption.

    runs:    names of experiments, by date or name, or of runs, ``experiment/run``; ``all`` means
             all; by default the experiment that the page belongs to
    where:   a filter expression; the runs that don't fulfil it are left out
    metrics: what to show of each run, separated by blanks
    hparams: which hyperparameters to show; by default those that differ
    name:    a target for ``:ref:`` and ``:numref:``
    """

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {  # noqa: RUF012  (docutils' way)
        "where": directives.unchanged_required,
        "metrics": directives.unchanged_required,
        "hparams": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        metrics = self.options.get("metrics", "").split() or DEFAULT_METRICS
        hparams = self.options["hparams"].split() if "hparams" in self.options else None
        try:
            names = " ".join(self.arguments).split()
            runs = self.load_runs(names, self.options.get("where", ""))
            columns = choose_columns(runs, metrics, hparams)
        except ValueError as error:
            return [report(error, "runs", self.get_location())]
        table_node = make_run_table([run.properties for run in runs], columns)
        link_records(table_node, runs)
        self.add_name(table_node)
        if self.content:
            caption, *_ = self.parse_content_to_nodes()
            table_node.insert(0, nodes.title(caption.rawsource, "", *caption.children))
        warnings = find_incomparable([run.properties for run in runs], metrics)
        legend = [nodes.paragraph("", "", nodes.Text(x), classes=["run-warning"]) for x in warnings]
        wrapper = datatable("", table_node, *legend, file="runs.csv")
        self.set_source_info(wrapper)
        return [wrapper]


def report(error: ValueError, kind: str, location) -> nodes.Node:
    """What stands in the place of what can't be shown; warns."""
    for line in str(error).splitlines():
        logger.warning("%s: %s", kind, line, location=location, type=kind)
    return nodes.paragraph("", f"Not shown: {error}", classes=["datatable-error"])


def make_run_table(runs: Sequence[Mapping[str, Value]], columns: Sequence[str]) -> nodes.table:
    """Properties of runs; what was measured with four digits, of which copies have all."""
    rows = [write_cells(run, columns) for run in runs]
    table_node = make_table_node(Table([name_column(x) for x in columns], rows))
    (body,) = table_node.findall(nodes.tbody)
    for row, run in zip(body, runs, strict=True):
        for entry, column in zip(row, columns, strict=True):
            value = run.get(column)
            if isinstance(value, float) and column not in (*HPARAMS, *MINUTES):
                entry[0][:] = [nodes.Text(round_value(value))]
                entry["written"] = str(value)
    return table_node


def round_value(value: float) -> str:
    """Four digits, or all those before the point, as ``runs.js`` does."""
    if value.is_integer():
        return format_value(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def link_records(table_node: nodes.table, runs: Sequence[Run]) -> None:
    """Make the name of each run a link to its record."""
    (body,) = table_node.findall(nodes.tbody)
    (head,) = table_node.findall(nodes.thead)
    column = [x.astext() for x in head[0]].index("run")
    for row, run in zip(body, runs, strict=True):
        entry = row[column]
        target = f"/expts/{run.properties['experiment']}/runs/{run.properties['run']}/record.nt"
        entry[:] = [addnodes.download_reference("", "", *entry.children, reftarget=target)]


class metric(nodes.inline):
    """A number from a run's record; ``source`` says which."""


class MetricRole(SphinxRole):
    """A number from a run's record, such as ``:metric:`20241217/2-layer-wide test.r2 .3f```."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            text, source = self.find_text()
        except ValueError as error:
            report(error, "metric", self.get_location())
            return [nodes.literal("", self.text)], []
        return [metric("", text, source=source)], []

    def find_text(self) -> tuple[str, str]:
        """
        The number as it is written, and what it is.

        raises: ValueError if the run, the property or the format isn't one
        """
        words = self.text.split()
        if len(words) not in (2, 3):
            raise PropertyError(f"{METRIC_USAGE}, got {self.text!r}")
        run_name, name, form = [*words, ""][:3]
        runs = load_runs(note_runs(self.env, [run_name]))
        if len(runs) != 1:
            known = ", ".join(run.id for run in runs) or "none has a record"
            raise PropertyError(f"{run_name!r} is not one run; known: {known}")
        value = get_value(runs[0], name)
        try:
            text = format(value, form) if form else format_value(value)
        except ValueError:
            text = f"{name} is {value!r}, which can't be written as {form!r}"
            raise PropertyError(text) from None
        return text.replace("-", "−", 1) if text.startswith("-") else text, f"{runs[0].id}: {name}"


def visit_metric_html(self, node):
    self.body.append(self.starttag(node, "span", "", CLASS="run-metric", title=node["source"]))


def depart_metric_html(self, node):
    self.body.append("</span>")


def pass_over(self, node):
    """Nothing: the children write themselves."""


def setup_component(app):
    silent = (pass_over, pass_over)
    app.add_node(
        metric,
        html=(visit_metric_html, depart_metric_html),
        latex=silent,
        text=silent,
        man=silent,
        texinfo=silent,
    )
    app.add_directive("runs", RunsTableDirective)
    app.add_role("metric", MetricRole())
