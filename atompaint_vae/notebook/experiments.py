"""Experiments among the pages: the list of all ``expts/**/notes.rst``."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.directives.other import TocTree


class ExperimentsDirective(TocTree):
    """The notes of all experiments, newest first; nothing where there are none."""

    def run(self) -> list[nodes.Node]:
        # Read again when pages come or go; a glob of its own would warn where it matches nothing.
        self.options["glob"] = None
        pages = sorted((x for x in self.env.found_docs if x.startswith("expts/")), reverse=True)
        source, _ = self.get_source_info()
        self.content = StringList([f"/{x}" for x in pages], source=source)
        return super().run()


def setup_component(app):
    app.add_directive("experiments", ExperimentsDirective)
