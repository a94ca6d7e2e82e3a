"""Nodes of docutils that this extension adds."""

from docutils import nodes


def pass_over(self, node):
    """Write nothing for a node: its children write themselves."""


def add_html_node(app, node: type[nodes.Element], visit, depart, **others):
    """
    Register a node that HTML writes in its own way; other builders write its children.

    others: pairs of visit and depart for builders that write the node, by the builders' formats
    """
    silent = dict.fromkeys(["latex", "text", "man", "texinfo"], (pass_over, pass_over))
    app.add_node(node, html=(visit, depart), **silent | others)
