"""Experiments among the pages: the list of their notes, or of their sheets where there are none."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.directives.other import TocTree

from .sheets import NOTES, SHEET, find_sibling


class ExperimentsDirective(TocTree):
    """The notes of all experiments, newest first, or what there is in their place."""

    def run(self) -> list[nodes.Node]:
        # Read again when pages come or go; a glob of its own would warn where it matches nothing.
        self.options["glob"] = None
        pages = sorted((x for x in self.env.found_docs if x.startswith("expts/")), reverse=True)
        source, _ = self.get_source_info()
        # The notes lead to the sheet.
        listed = [
            x for x in pages if not (is_sheet(x) and find_sibling(x, NOTES) in self.env.found_docs)
        ]
        self.content = StringList([make_entry(x) for x in listed], source=source)
        return super().run()


def is_sheet(page: str) -> bool:
    return page.endswith(f"/{SHEET}")


def make_entry(page: str) -> str:
    """The line of a table of contents; a sheet goes by its experiment's name."""
    return f"{page.split('/')[-2]} </{page}>" if is_sheet(page) else f"/{page}"


def setup_component(app):
    app.add_directive("experiments", ExperimentsDirective)
