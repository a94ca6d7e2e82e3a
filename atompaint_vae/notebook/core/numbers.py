"""Numbers of figures, tables and equations: each page has its own, beginning at one.

Sphinx counts through all pages: a figure on the newest page would renumber, and write again, all
others; and to count, it opens the doctree of every page.
"""

from collections import Counter

from docutils import nodes
from sphinx.environment.collectors.toctree import TocTreeCollector

KEY = "atompaint_numbers"


def number_captions(app, doctree):
    """Nothing; what is to be numbered on a page is numbered in the order of the page."""
    env = app.env
    standard, math = env.domains.standard_domain, env.domains.math_domain
    counter = Counter()
    numbers: dict[str, dict[str, tuple[int, ...]]] = {}
    for node in doctree.findall(nodes.Element):
        kind = standard.get_enumerable_node_type(node) if standard.get_numfig_title(node) else None
        kind = kind or math.get_enumerable_node_type(node)
        if kind in (None, "section") or not node["ids"]:
            continue
        counter[kind] += 1
        numbers.setdefault(kind, {})[node["ids"][0]] = (counter[kind],)
    env.metadata[env.docname][KEY] = numbers


def assign_numbers(env) -> list[str]:
    """The pages whose numbers have changed; all pages have their numbers."""
    if not env.config.numfig:
        return []
    old = env.toc_fignumbers
    env.toc_fignumbers = {doc: x[KEY] for doc, x in env.metadata.items() if x.get(KEY)}
    return [doc for doc, numbers in env.toc_fignumbers.items() if numbers != old.get(doc)]


def setup_component(app):
    app.connect("doctree-read", number_captions)
    for listener in app.events.listeners["env-get-updated"]:
        collector = getattr(listener.handler, "__self__", None)
        if isinstance(collector, TocTreeCollector):
            collector.assign_figure_numbers = assign_numbers
