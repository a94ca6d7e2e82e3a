"""
A badge with the reason below each figure and table that is stale.

Content decides what is stale, see `figures/provenance/drawings.py`. Modification times only decide
which pages are read again: a page watches all files that its figures were drawn from.
"""

from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform

from ...figures.provenance.drawings import (
    FILE_NAME,
    Drawing,
    ProvenanceError,
    describe_reasons,
    find_drawing,
    find_reasons,
    hash_code,
    list_watched,
    load_provenance,
)
from ..core.problems import note_damages
from ..core.watch import sign_file, watch_files
from ..tables.table_nodes import datatable

HASHES = "atompaint_code_hashes"
"""Attribute of the environment: the hashes of modules' code by those of their contents."""


class MarkStale(SphinxTransform):
    """Add a badge to each figure and table of a page that is stale."""

    default_priority = 500

    def apply(self, **kwargs):
        shown = [
            (node, node.get("uri"))
            for node in self.document.findall(nodes.image)
            if not isinstance(node.parent, nodes.substitution_definition)
        ]
        shown += [(node, node.get("path")) for node in self.document.findall(datatable)]
        drawings: dict[Path, dict[str, Drawing]] = {}
        for node, uri in shown:
            path = self.find_file(uri)
            if path is None:
                continue
            folder = path.parent
            if folder not in drawings:
                watch_files(self.env, [folder / FILE_NAME])
                drawings[folder] = self.load_drawings(folder)
            command = find_drawing(path, drawings[folder])
            if command is None:
                continue
            drawing = drawings[folder][command]
            watch_files(self.env, list_watched(folder, drawing))
            if reasons := find_reasons(folder, drawing, path.name, self.calc_code_hash):
                attach_badge(node, make_badge(command, reasons))

    def find_file(self, uri: str) -> Path | None:
        """Return the path of what is shown, None if it isn't a file."""
        if not uri or "://" in uri or uri.startswith("data:"):
            return None
        path = Path(self.env.relfn2path(uri)[1])
        if path.suffix == ".*":  # each builder chooses one
            return next(iter(sorted(path.parent.glob(f"{path.stem}.*"))), None)
        return path

    def calc_code_hash(self, path: Path) -> str:
        """Return `hash_code`, which is slow, of a module with this content."""
        known = self.env.__dict__.setdefault(HASHES, {})
        content = sign_file(str(path))
        if content not in known:
            known[content] = hash_code(path)
        return known[content]

    def load_drawings(self, folder: Path) -> dict[str, Drawing]:
        """Return the drawings of a folder by their commands; warn of a broken provenance.nt."""
        try:
            return load_provenance(folder)
        except ProvenanceError as error:
            note_damages(self.env, str(error))
            return {}


def make_badge(command: str, reasons: list[str]) -> nodes.paragraph:
    badge = nodes.inline("", "Stale", classes=["stale-badge"])
    remedy = nodes.literal("", "atompaint-vae figures draw")
    text = nodes.Text(f" {describe_reasons(reasons)}. ")
    again = nodes.Text(f" runs {command} again.")
    paragraph = nodes.paragraph("", "", badge, text, remedy, again, classes=["stale"])
    paragraph["support_smartquotes"] = False  # a--b.csv may be the name of a file
    return paragraph


def attach_badge(node: nodes.Element, badge: nodes.paragraph) -> None:
    """Put a badge below a table, into a figure's legend, or after a picture."""
    parents = node.parent, node.parent.parent
    figure = next((x for x in parents if isinstance(x, nodes.figure)), None)
    if isinstance(node, datatable):
        node += nodes.container("", badge, classes=["datatable-legend"])
    elif figure is not None:
        legend = next(iter(figure.findall(nodes.legend)), None)
        if legend is None:
            legend = nodes.legend()
            figure += legend
        legend += badge
    else:
        while isinstance(node.parent, nodes.TextElement | nodes.reference):
            node = node.parent
        node.parent.insert(node.parent.index(node) + 1, badge)


def merge_hashes(app, env, docnames, other) -> None:
    """Take what another process has found out."""
    env.__dict__.setdefault(HASHES, {}).update(getattr(other, HASHES, {}))


def setup_component(app):
    app.connect("env-merge-info", merge_hashes)
    app.add_transform(MarkStale)
