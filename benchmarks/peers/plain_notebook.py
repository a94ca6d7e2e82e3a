"""A Sphinx extension that shows nothing: what Sphinx alone takes for the pages of a notebook."""

from collections import defaultdict

from docutils import nodes
from docutils.parsers.rst import Directive, directives

DIRECTIVES = ("runs", "curves", "datatable", "experiments", "compare")


class Nothing(Directive):
    """A directive with any arguments, options and content."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = defaultdict(lambda: directives.unchanged, name=directives.unchanged)  # noqa: RUF012

    def run(self):
        return []


def show_text(name, rawtext, text, lineno, inliner, options=None, content=()):
    return [nodes.literal(rawtext, text)], []


def setup(app):
    for name in DIRECTIVES:
        app.add_directive(name, Nothing)
    app.add_role("metric", show_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
