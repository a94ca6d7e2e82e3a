"""
The directive ``.. compare::``, where runs of any dates are chosen by filter expressions.

A page's script shows what a filter leaves; without JavaScript, in LaTeX and in text there is the
table of all runs.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from docutils import nodes

from ..runs.compare import choose_columns
from ..runs.fields import Run, list_fields
from ..runs.record import write_atomic
from .curves import load_node_runs
from .datatable import datatable, make_table_node
from .run_data import RunsDirective, add_run_scripts, dump_json, note_runs, write_runs
from .runs import DEFAULT_METRICS, make_run_table, report


class run_compare(nodes.General, nodes.Element):
    """Runs to compare; ``runs`` are ids, the child is their table."""


class CompareDirective(RunsDirective):
    """
    Runs of any dates, to filter and compare.

    The arguments name experiments or runs as those of ``.. runs::`` do; all without any.
    """

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        names = " ".join(self.arguments).split()
        try:
            if not names and not note_runs(self.env, []):
                return [nodes.paragraph("", "No run has a record yet.")]
            runs = self.load_runs(names or ["all"])
            columns = choose_columns(runs, DEFAULT_METRICS, [])
        except ValueError as error:
            return [report(error, "compare", self.get_location())]
        table = datatable("", make_table_node(make_run_table(runs, columns)), file="runs.csv")
        node = run_compare("", table, runs=[run.id for run in runs])
        self.set_source_info(node)
        return [node]


def name_data(node: run_compare) -> str:
    """The name of the script that holds the fields of the runs."""
    digest = hashlib.sha256("\n".join(node["runs"]).encode()).hexdigest()[:16]
    return f"compare-{digest}"


def pack_fields(runs: Sequence[Run]) -> dict:
    """The fields of runs, column by column, those that are the same in all only once."""
    columns = {name: [run.fields.get(name) for run in runs] for name in list_fields(runs)}
    same = {name: values[0] for name, values in columns.items() if len(set(values)) == 1}
    varied = {name: values for name, values in columns.items() if name not in same}
    return {"ids": [run.id for run in runs], "same": same, "fields": varied}


def visit_compare_html(self, node):
    attributes = {} if self.builder.name == "epub" else {"data-source": name_data(node)}
    self.body.append(self.starttag(node, "div", CLASS="run-compare", **attributes))


def depart_compare_html(self, node):
    self.body.append("</div>\n")


def pass_over(self, node):
    """Nothing: the children write themselves."""


def add_scripts(app, pagename, templatename, context, doctree):
    """Nothing; a page that compares runs gets its scripts and the data of all runs."""
    found = list(doctree.findall(run_compare)) if doctree is not None else []
    if app.builder.name == "epub" or not found:
        return
    add_run_scripts(app)
    app.add_js_file("parallel.js", loading_method="defer", priority=630)
    app.add_js_file("compare.js", loading_method="defer", priority=631)
    for node in found:
        name = name_data(node)
        data = dump_json(pack_fields(load_node_runs(Path(app.srcdir), node)))
        text = f'(window.atompaintCompare??={{}})["{name}"]={data};\n'
        path = Path(app.outdir) / "_static" / "runs" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
        write_runs(app, node["runs"])


def setup_component(app):
    silent = (pass_over, pass_over)
    app.add_node(
        run_compare,
        html=(visit_compare_html, depart_compare_html),
        latex=silent,
        text=silent,
        man=silent,
        texinfo=silent,
    )
    app.add_directive("compare", CompareDirective)
    app.connect("html-page-context", add_scripts)
