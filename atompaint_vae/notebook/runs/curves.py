"""
The directive ``.. curves::``: interactive curves of runs, with a picture as a fallback.

A script draws the curves with uPlot. Without JavaScript, and in LaTeX, there is a picture; in text,
a table of the last values.
"""

import hashlib
import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.transforms.post_transforms import SphinxPostTransform

from ...records.compare import check_curve, choose_columns
from ...records.properties import load_runs
from ...text.files import write_atomic
from ..core.nodes import add_html_node
from ..tables.table_nodes import make_table_node
from .run_data import RunsDirective, add_run_scripts, get_paths, write_runs
from .runs import list_default_metrics, make_run_table, make_warnings

AXES = {"epoch": "epoch", "step": "step", "elapsed": "elapsed_s"}


class run_curves(nodes.General, nodes.Element):
    """Curves; ``runs`` holds ids, ``options`` those of plot_run_curves; the child is a table."""


def parse_axis(text: str) -> str:
    return AXES[directives.choice(text, tuple(AXES))]


def parse_log(text: str) -> list[str]:
    words = directives.unchanged_required(text).split()
    return [directives.choice(word, ("x", "y")) for word in words]


def parse_weight(text: str) -> float:
    weight = float(text)
    if not 0 <= weight < 1:
        raise ValueError(f"expected a weight from 0 to below 1, got {text!r}")
    return weight


class CurvesDirective(RunsDirective):
    """
    One metric of runs against epochs, steps or elapsed time.

    The content is the caption. Readers can change everything but the runs on the page.

    runs:   as for ``.. runs::``
    where:  a filter expression; runs that don't match it are left out
    metric: what to draw; by default what chooses the best weights, ``val.r2`` of a VAE
    x:      ``epoch``, ``step`` or ``elapsed`` (training time)
    log:    the axes that are logarithmic: ``x``, ``y`` or both
    smooth: weight of an exponential moving average, from 0 (as recorded) to below 1; the recorded
            values stay visible behind it
    seeds:  draw runs that differ only in their seed as their mean, with a band of one standard
            deviation
    name:   a target for ``:ref:`` and ``:numref:``
    """

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {  # noqa: RUF012  (docutils' way)
        "where": directives.unchanged_required,
        "metric": directives.unchanged_required,
        "x": parse_axis,
        "log": parse_log,
        "smooth": parse_weight,
        "seeds": directives.flag,
        "name": directives.unchanged,
    }

    def show(self) -> list[nodes.Node]:
        names = " ".join(self.arguments).split()
        runs = self.load_runs(names, self.options.get("where", ""))
        metric = self.options.get("metric") or list_default_metrics([x.properties for x in runs])[0]
        columns = choose_columns(runs, [metric])
        check_curve(runs, metric)
        caption, rest = self.parse_caption()
        logs = self.options.get("log", [])
        options = {
            "metric": metric,
            "x": self.options.get("x", "epoch"),
            "logx": "x" in logs,
            "logy": "y" in logs,
            "smooth": self.options.get("smooth", 0.0),
            "seeds": "seeds" in self.options,
        }
        figure = nodes.figure("", run_curves(
            "", make_table_node(*make_run_table([run.properties for run in runs], columns)),
            runs=[run.id for run in runs], options=options,
        ), classes=["run-figure"])  # fmt: skip
        self.set_source_info(figure)
        self.add_name(figure)
        if caption:
            figure += nodes.caption(caption.rawsource, "", *caption.children)
            self.set_source_info(figure[-1])
        rest += make_warnings(runs, [metric])
        if rest:
            figure += nodes.legend("", *rest)
        return [figure]


def draw(srcdir: Path, node: run_curves, folder: Path, suffix: str) -> Path:
    """Return the file of a picture; draw it unless one of the same data exists."""
    runs = load_runs(get_paths(srcdir, node["runs"]))
    data = json.dumps([node["options"], [(run.id, run.properties, run.tables) for run in runs]])
    digest = hashlib.sha256(data.encode()).hexdigest()[:16]
    path = folder / f"curves-{digest}.{suffix}"
    if not path.is_file():
        from ...figures.run_curves import plot_run_curves
        from ...figures.style import render_figure

        folder.mkdir(parents=True, exist_ok=True)
        figure = plot_run_curves(runs, **node["options"])
        write_atomic(path, render_figure(figure, suffix), sync=False)
    return path


class DrawCurves(SphinxPostTransform):
    """Replace curves by a picture for LaTeX."""

    default_priority = 80
    formats = ("latex",)

    def run(self, **kwargs):
        for node in list(self.document.findall(run_curves)):
            pdf = draw(self.env.srcdir, node, Path(self.env.doctreedir) / "pdf", "pdf")
            image = nodes.image(uri=str(pdf), candidates={"*": str(pdf)})
            self.env.images.add_file(self.env.docname, str(pdf))
            node.replace_self(image)


def visit_curves_html(self, node):
    folder = Path(self.builder.outdir) / self.builder.imagedir
    picture = draw(self.builder.srcdir, node, folder, "svg").name
    alt = f"{node['options']['metric']} of {', '.join(node['runs'])}"
    image = self.starttag(node, "img", "", src=f"{self.builder.imgpath}/{picture}", alt=alt)
    if self.builder.name == "epub":
        self.body.append(image)
        raise nodes.SkipNode
    data = json.dumps({"runs": node["runs"], **node["options"]})
    box = self.starttag(node, "div", "", CLASS="run-curves", **{"data-options": data})
    self.body.append(f"{box}<noscript>{image}</noscript></div>\n")
    raise nodes.SkipNode


def add_scripts(app, pagename, templatename, context, doctree):
    """Add the scripts and the data of curves to pages that have any."""
    found = list(doctree.findall(run_curves)) if doctree is not None else []
    if app.builder.name == "epub" or not found:
        return
    add_run_scripts(app)
    write_runs(app, dict.fromkeys(id for node in found for id in node["runs"]))


def setup_component(app):
    add_html_node(app, run_curves, visit_curves_html, None)
    app.add_directive("curves", CurvesDirective)
    app.add_post_transform(DrawCurves)
    app.connect("html-page-context", add_scripts)
