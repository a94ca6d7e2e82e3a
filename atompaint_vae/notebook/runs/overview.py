"""
What lists of experiments show: of each its date, its question, its answer, its runs and a figure.

The table of contents that a list is for Sphinx stays in LaTeX and in text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from ...models.kind import DEFAULT_KIND, get_kind, get_symbol
from ...records.properties import Value, list_best_metrics
from ...text.formats import round_cell
from ..core.nodes import add_html_node
from ..sheets.experiments import experiment_list
from ..sheets.pages import link_run
from ..sheets.summaries import copy_nodes, find_summary
from .compare import load_properties
from .run_data import note_runs

LISTED = "atompaint_listed"
"""The experiments that only a list on the page shows, in the page's metadata."""

BEFORE_LINKS = 5
"""Priority of a transform before Sphinx resolves references (10)."""


@dataclass(frozen=True)
class Outcome:
    """
    What came of an experiment's runs.

    count: such as "3 runs, 2 finished"
    best:  such as "best test R² 0.915", blank if there is no metric yet
    run:   the id of the best run
    """

    count: str
    best: str = ""
    run: str = ""


class thumbnail(nodes.image):
    """A small image, which browsers fetch when it is nearly in sight."""


def note_outcomes(app, doctree: nodes.document) -> None:
    """Give each list the outcomes of its experiments' runs; its page depends on these runs."""
    listed, others = set(), set()
    for toctree in doctree.findall(addnodes.toctree):
        is_list = isinstance(toctree.parent, experiment_list)
        (listed if is_list else others).update(toctree["includefiles"])
    app.env.metadata[app.env.docname][LISTED] = sorted(listed - others)
    for node in doctree.findall(experiment_list):
        (toctree,) = node.findall(addnodes.toctree)
        pages = {page.rpartition("/")[0].removeprefix("expts/"): page
                 for page in toctree["includefiles"]}  # fmt: skip
        names = [x for x in pages if x in app.env.atompaint_experiments]
        found = note_runs(app.env, names) if names else {}
        runs: dict[str, dict[str, Mapping[str, Value]]] = {}
        loaded = load_properties(Path(app.doctreedir), found) if found else []
        for id, properties in zip(found, loaded, strict=True):
            runs.setdefault(id.rpartition("/")[0], {})[id] = properties
        node["outcomes"] = {pages[name]: describe_outcome(x) for name, x in runs.items()}


def describe_outcome(runs: Mapping[str, Mapping[str, Value]]) -> Outcome:
    """Return the outcome of one or more runs, by their ids."""
    num_finished = sum(x.get("state") == "finished" for x in runs.values())
    count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    if num_finished < len(runs):
        count += f", {num_finished or 'none'} finished"
    for metric in list_best_metrics(runs.values()):
        for words, name in [("test", f"test.{metric}"), ("validation", f"best(val.{metric})")]:
            values = {id: x[name] for id, x in runs.items() if x.get(name) is not None}
            if values:
                best = find_best(metric, list(runs.values()), list(values.values()))
                number = round_cell(str(best)).replace("-", "−")
                text = f"best {words} {get_symbol(metric)} {number}"
                return Outcome(count, text, next(id for id, x in values.items() if x == best))
    return Outcome(count)


def find_best(
    metric: str, runs: Sequence[Mapping[str, Value]], values: Sequence[float]
) -> float:
    """Return the best value of a metric that chooses the best weights of some of the runs."""
    kinds = [get_kind(run.get("kind") or DEFAULT_KIND) for run in runs]
    return next(x.best for x in kinds if x.best.name == metric).find_best(values)


class ShowOverview(SphinxPostTransform):
    """Replace the contents of a list by an entry for each experiment."""

    default_priority = BEFORE_LINKS
    formats = ("html",)

    def run(self, **kwargs):
        page = self.env.docname
        for node in list(self.document.findall(experiment_list)):
            (toctree,) = node.findall(addnodes.toctree)
            if not toctree["includefiles"]:
                continue
            outcomes = node.get("outcomes", {})
            entries = [self.make_entry(page, x, outcomes.get(x)) for x in toctree["includefiles"]]
            heading = nodes.rubric("", toctree["caption"] or "", classes=["caption"])
            heading["heading-level"] = 2
            node[:] = [heading] * bool(toctree["caption"])
            node += nodes.bullet_list("", *entries, classes=["overview"])

    def make_entry(self, page: str, shown: str, outcome: Outcome | None) -> nodes.list_item:
        summary, place, label, title = find_summary(self.env, shown)
        link = addnodes.pending_xref(
            "", nodes.inline("", "", *copy_nodes(place, page, title)), refdoc=page,
            refdomain="std", reftype="ref" if label else "doc", reftarget=label or f"/{place}",
            refexplicit=True,
        )  # fmt: skip
        entry = nodes.list_item("", nodes.paragraph("", "", link, classes=["overview-title"]))

        def add(kind, *content):
            entry.append(nodes.paragraph("", "", *content, classes=[f"overview-{kind}"]))

        if summary:
            if summary.date:
                entry.insert(0, nodes.paragraph("", summary.date, classes=["overview-date"]))
            for kind in ("question", "answer"):
                if said := getattr(summary, kind):
                    add(kind, *copy_nodes(place, page, said))
        if outcome:
            words = [nodes.Text(f"{outcome.count}{'; ' * bool(outcome.best)}{outcome.best}")]
            if outcome.run:
                name = nodes.inline("", outcome.run.rpartition("/")[2])
                words += [nodes.Text(", "), link_run(outcome.run, name)]
            add("runs", *words)
        if summary and summary.figure:
            uri = next(iter(summary.figure.values()))
            entry += thumbnail(uri=uri, candidates=summary.figure, alt="")
        return entry


def find_changed(app, env) -> list[str]:
    """Return the pages with lists of which an experiment says something else than before."""
    now = {
        page: [tuple(map(str, find_summary(env, x))) for x in metadata["atompaint_experiments"]]
        for page, metadata in env.metadata.items()
        if metadata.get("atompaint_experiments")
    }
    before, env.atompaint_overviews = getattr(env, "atompaint_overviews", {}), now
    return [page for page in now if now[page] != before.get(page)]


def keep_lists(app, env) -> None:
    """
    Leave pages as they are whose lists show nothing of what has changed.

    Sphinx writes a page again when any of those in its contents has changed. This holds for one
    build, whose environment is already stored.
    """
    for page, metadata in env.metadata.items():
        for listed in metadata.get(LISTED, ()):
            env.files_to_rebuild.get(listed, set()).discard(page)


def visit_thumbnail_html(self, node):
    uri = node["uri"]
    if uri in self.builder.images:
        uri = f"{self.builder.imgpath}/{self.builder.images[uri]}"
    self.body.append(self.emptytag(node, "img", "", src=uri, alt="", loading="lazy"))


def depart_thumbnail_html(self, node):
    pass


def setup_component(app):
    add_html_node(app, thumbnail, visit_thumbnail_html, depart_thumbnail_html)
    app.connect("doctree-read", note_outcomes)
    app.add_post_transform(ShowOverview)
    app.add_css_file("overview.css", priority=595)
    app.connect("env-updated", find_changed)
    app.connect("env-check-consistency", keep_lists)
