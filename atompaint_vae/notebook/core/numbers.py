"""
Numbers of figures, tables and equations, which start at one on each page.

Sphinx numbers them through all pages: a new figure on the newest page would renumber all others,
which would have to be written again. To count, Sphinx also opens the doctree of every page.
"""

from collections import Counter

from docutils import nodes
from sphinx.environment.collectors.toctree import TocTreeCollector

KEY = "atompaint_numbers"


def number_captions(app, doctree):
    """Number the figures, tables and equations of a page, in their order."""
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
    """Set the numbers of all pages, and return the pages whose numbers have changed."""
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
