"""The directive ``.. runs::``, a table of runs, and the role ``:metric:``, a number of a run."""

import re
from collections.abc import Mapping, Sequence

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxRole

from ...config.schema import list_hparams
from ...records.compare import (
    MINUTES,
    choose_columns,
    find_incomparable,
    name_column,
    sort_runs,
    write_cells,
)
from ...records.properties import (
    PropertyError,
    Run,
    Value,
    get_value,
    list_best_metrics,
    list_properties,
    list_reduced,
)
from ...text.formats import format_value, round_cell
from ..core.nodes import add_html_node
from ..core.problems import report
from ..sheets.pages import link_run
from ..tables.cells import Table
from ..tables.table_nodes import Format, datatable, make_table_node
from .run_data import RunsDirective, load_noted, note_runs

METRIC_USAGE = "expected 'experiment/run property format', such as '20241217/wide test.r2 .3f'"


class RunsTableDirective(RunsDirective):
    """
    The table of the runs of one or many experiments, the best by the first metric first.

    The first paragraph of the content is the caption; further ones go below the table.

    runs:    names of experiments, by date or name, or of runs, ``experiment/run``; ``all`` for all
             runs; by default those of the experiment that the page belongs to
    where:   a filter expression; runs that don't match it are left out
    metrics: columns of ``val.csv``, ``train.csv`` and ``test.csv``, separated by spaces; by default
             what chooses the best weights, ``val.r2 test.r2`` of a VAE
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

    def show(self) -> list[nodes.Node]:
        metrics = self.options.get("metrics", "").split()
        hparams = self.options["hparams"].split() if "hparams" in self.options else None
        names = " ".join(self.arguments).split()
        runs = self.load_runs(names, self.options.get("where", ""))
        metrics = metrics or list_default_metrics([run.properties for run in runs])
        columns = choose_columns(runs, metrics, hparams)
        if reduced := list_reduced(metrics[0], list_properties(runs)):
            runs = sort_runs(runs, reduced[-1])
        caption, rest = self.parse_caption()
        table_node = make_table_node(*make_run_table([run.properties for run in runs], columns))
        link_sheets(table_node, runs)
        self.set_source_info(table_node)
        self.add_name(table_node)
        if caption:
            table_node.insert(0, nodes.title(caption.rawsource, "", *caption.children))
        rest += make_warnings(runs, metrics)
        wrapper = datatable("", table_node, *rest, file="runs.csv")
        self.set_source_info(wrapper)
        return [wrapper]


def list_default_metrics(runs: Sequence[Mapping[str, Value]]) -> list[str]:
    """Return what chooses the best weights of the runs' kinds, of validation and test."""
    best = list_best_metrics(runs)
    return [f"{table}.{name}" for table in ("val", "test") for name in best]


def make_run_table(
    runs: Sequence[Mapping[str, Value]], columns: Sequence[str]
) -> tuple[Table, dict[int, Format]]:
    """Return the properties of runs, measured ones with all digits, and the columns' formats."""
    formats = {
        i: round_cell
        for i, column in enumerate(columns)
        if column not in (*list_hparams(), *MINUTES)
        and any(isinstance(run.get(column), float) for run in runs)
    }
    rows = [write_cells(run, columns) for run in runs]
    for row, run in zip(rows, runs, strict=True):
        for i in formats:
            value = run.get(columns[i])
            row[i] = "" if value is None else str(value)
    return Table([name_column(x) for x in columns], rows), formats


def make_warnings(runs: Sequence[Run], metrics: Sequence[str]) -> list[nodes.paragraph]:
    """Return the reasons not to compare some runs."""
    texts = find_incomparable([run.properties for run in runs], metrics)
    found = [nodes.paragraph("", "", nodes.Text(x), classes=["run-warning"]) for x in texts]
    for node in found:
        node["support_smartquotes"] = False  # it quotes code
    return found


def link_sheets(table_node: nodes.table, runs: Sequence[Run]) -> None:
    """Make the name of each run a link to its experiment's sheet."""
    (body,) = table_node.findall(nodes.tbody)
    (head,) = table_node.findall(nodes.thead)
    column = [x.astext() for x in head[0]].index("run")
    for row, run in zip(body, runs, strict=True):
        (cell,) = row[column]
        cell[:] = [link_run(run.id, nodes.inline("", "", *cell.children))]


class metric(nodes.inline):
    """A number from a run's record; ``source`` names the run and the property."""


class MetricRole(SphinxRole):
    """A number from a run's record, such as ``:metric:`20241217/2-layer-wide test.r2 .3f```."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            text, source = self.find_text()
        except ValueError as error:
            report(error, self)
            return [nodes.literal("", self.text)], []
        return [metric("", text, source=source)], []

    def find_text(self) -> tuple[str, str]:
        """
        Return the formatted number, and the name of its source.

        raises: ValueError for an unknown run or property, or a wrong format
        """
        words = self.text.split()
        if len(words) not in (2, 3):
            raise PropertyError(f"{METRIC_USAGE}, got {self.text!r}")
        run_name, name, form = [*words, ""][:3]
        runs = load_noted(self.env, note_runs(self.env, [run_name]))
        if len(runs) != 1:
            known = ", ".join(run.id for run in runs) or "none has a record"
            raise PropertyError(f"{run_name!r} is not one run, but {len(runs)}: {known}")
        value = get_value(runs[0], name)
        try:
            if re.search(r"\d{4}", form):  # wider than any page
                raise ValueError
            text = format(value, form) if form else format_value(value)
        except ValueError:
            text = f"{name} is {value!r}, which can't be formatted with {form!r}"
            raise PropertyError(text) from None
        return text.replace("-", "−", 1) if text.startswith("-") else text, f"{runs[0].id}: {name}"


def visit_metric_html(self, node):
    self.body.append(self.starttag(node, "span", "", CLASS="run-metric", title=node["source"]))


def depart_metric_html(self, node):
    self.body.append("</span>")


def setup_component(app):
    add_html_node(app, metric, visit_metric_html, depart_metric_html)
    app.add_directive("runs", RunsTableDirective)
    app.add_role("metric", MetricRole())
