"""Tables on paper: those of many columns are set in small print, and their words are broken."""

import re

from docutils import nodes

MANY_COLUMNS = 7
"""A table with more columns is wider than a page."""

AFTER_SIGN = re.compile(r"(?<=[._(/-])(?=\D)")
"""Where names of runs and metrics may be broken."""


def shrink_tables(app, doctree, docname):
    """Set tables of many columns in small print, in LaTeX."""
    if app.builder.format != "latex":
        return
    for table in list(doctree.findall(nodes.table)):
        if len(list(table.findall(nodes.colspec))) <= MANY_COLUMNS:
            continue
        for text in list(table.findall(nodes.Text)):
            first, *others = AFTER_SIGN.split(text)
            broken = [[_make_raw(r"\allowbreak{}"), nodes.Text(x)] for x in others]
            text.parent.replace(text, sum(broken, [nodes.Text(first)]))
        place = table.parent.index(table)
        table.parent[place : place + 1] = [
            _make_raw(r"\begingroup\scriptsize"), table, _make_raw(r"\endgroup"),
        ]  # fmt: skip


def _make_raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="latex")


def setup_component(app):
    app.connect("doctree-resolved", shrink_tables, priority=600)  # after tables have their rows
