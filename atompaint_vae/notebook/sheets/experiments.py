"""
Experiments among the pages: every folder with notes or a run sheet is one.

They may be nested. The page of each lists those directly below it. The notebook's first page, or
``.. experiments::``, lists those at the top.
"""

import re
from functools import lru_cache
from pathlib import PurePosixPath

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from ..core.nodes import add_html_node
from ..tables.order import make_text_key
from .pages import NOTES, SHEET

DATED = re.compile(r"\d{8}(_|$)")


class experiment_list(nodes.compound):
    """A list of experiments: a table of contents, of which HTML shows what each page says."""


class ExperimentsDirective(SphinxDirective):
    """
    The list of the experiments below a page.

    Dated folders come first, the newest at the top. The directive only sets the list's position:
    without it, an experiment's page and the notebook's first page have the list too.

    caption: the heading of the list
    """

    option_spec = {"caption": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        children = find_children(self.env.found_docs, self.env.docname)
        toctree = make_toctree(self.env.docname, children, self.options.get("caption"))
        self.set_source_info(toctree)
        note_children(self.env, self.env.docname, children)
        return [experiment_list("", toctree, classes=["toctree-wrapper", "experiments"])]


class TitleNotes(SphinxTransform):
    """Give an experiment's page without a title the name of its folder."""

    default_priority = 490  # before ListNested looks for a section

    def apply(self, **kwargs):
        name = self.env.docname
        if name not in find_pages(frozenset(self.env.found_docs)).values():
            return
        if next(iter(self.document.findall(nodes.section)), None) is not None:
            return
        title = PurePosixPath(name).parent.name
        names = [nodes.fully_normalize_name(title)]
        section = nodes.section("", nodes.title("", title), names=names)
        self.document.note_implicit_target(section, section)
        about = (nodes.docinfo, nodes.decoration)
        children = [x for x in self.document if not isinstance(x, about)]
        for child in children:
            self.document.remove(child)
        section += children
        self.document += section


class ListNested(SphinxTransform):
    """List the experiments below an experiment's page or the first page, if it doesn't itself."""

    default_priority = 500

    def apply(self, **kwargs):
        name = self.env.docname
        pages = find_pages(frozenset(self.env.found_docs))
        if name not in pages.values() and name != self.config.root_doc:
            return
        if "atompaint_experiments" in self.env.metadata[name]:
            return
        children = find_children(self.env.found_docs, name)
        note_children(self.env, name, children)
        toctrees = self.document.findall(addnodes.toctree)
        listed = {x for toctree in toctrees for x in toctree["includefiles"]}
        rest = [x for x in children if x not in listed]
        section = next(iter(self.document.findall(nodes.section)), None)
        if not rest or section is None:
            return
        wrapper = experiment_list(
            "", make_toctree(name, rest, "Experiments"), classes=["toctree-wrapper", "experiments"]
        )
        place = next(
            (i for i, x in enumerate(section) if isinstance(x, nodes.section)), len(section)
        )
        section.insert(place, wrapper)


@lru_cache(maxsize=1)
def find_pages(found_docs: frozenset[str]) -> dict[str, str]:
    """Return the page of each experiment's folder: its notes, or its sheet without notes."""
    pages = {}
    for name in (SHEET, NOTES):
        pages |= {x.rpartition("/")[0]: x for x in found_docs if x.endswith(f"/{name}")}
    return pages


def find_children(found_docs, docname: str) -> list[str]:
    """
    Return the pages of the experiments directly below a page, dated folders first, newest first.

    Below an experiment's page are those in its folder, below any other page those at the top.
    """
    found_docs = frozenset(found_docs)
    folder = docname.rpartition("/")[0]
    is_experiment = docname in find_pages(found_docs).values()
    return list(_group(found_docs).get(folder if is_experiment else None, []))


@lru_cache(maxsize=1)
def _group(found_docs: frozenset[str]) -> dict[str | None, list[str]]:
    """Return the experiments' pages, by the nearest folder above that is an experiment."""
    pages = find_pages(found_docs)
    groups: dict[str | None, list[str]] = {}
    for folder in sorted(pages, key=make_text_key):
        above = (str(x) for x in PurePosixPath(folder).parents)
        groups.setdefault(next((x for x in above if x in pages), None), []).append(folder)
    for group in groups.values():
        dated = [x for x in group if DATED.match(PurePosixPath(x).name)]
        dated.sort(key=lambda x: PurePosixPath(x).name[:8], reverse=True)
        group[:] = [pages[x] for x in [*dated, *(x for x in group if x not in dated)]]
    return groups


def make_toctree(docname: str, children: list[str], caption: str | None) -> addnodes.toctree:
    """Return the contents of a page, as Sphinx's own directive makes them."""
    return addnodes.toctree(
        "",
        parent=docname,
        entries=[(None, x) for x in children],
        includefiles=list(children),
        maxdepth=1,
        caption=caption if children else None,
        rawcaption=caption or "",
        glob=False,
        hidden=False,
        includehidden=False,
        numbered=0,
        titlesonly=False,
    )


def note_children(env, docname: str, children: list[str]):
    env.metadata[docname]["atompaint_experiments"] = children


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the pages whose experiments were added or removed."""
    return [
        name
        for name, metadata in env.metadata.items()
        if "atompaint_experiments" in metadata
        and find_children(env.found_docs, name) != metadata["atompaint_experiments"]
    ]


def visit_list_html(self, node):
    self.visit_compound(node)


def depart_list_html(self, node):
    self.depart_compound(node)


def setup_component(app):
    add_html_node(app, experiment_list, visit_list_html, depart_list_html)
    app.add_directive("experiments", ExperimentsDirective)
    app.add_transform(TitleNotes)
    app.add_transform(ListNested)
    app.connect("env-get-outdated", find_outdated)
