"""The role ``:datadir:``: a folder of data that are too large for git."""

import os
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxRole

from .problems import report
from .watch import watch_files

NAME = "data"
FOUND = "atompaint_folder"
"""Attribute of the path's node: the folder relative to the notebook's root."""


class DataFolderRole(SphinxRole):
    """
    A folder below ``data/``: ``:datadir:`scripts/20250310_adamw```.

    As in notebooks made by exmemo, ``data/`` is beside the notebook's root, or in it. Its content
    is usually not in git. Where the folder exists, its path is a link to it.
    """

    def run(self):
        path = self.text.strip().strip("/")
        if not path or ".." in Path(path).parts:
            report(ValueError(f"bad folder {self.text!r}; expected one below {NAME}/"), self)
            return [nodes.literal("", self.text)], []
        root = Path(self.env.srcdir)
        places = [top / NAME / path for top in (root.parent, root)]
        watch_files(self.env, places)
        text = f"{NAME}/{path}"
        node = nodes.literal("", text)
        if found := next((x for x in places if x.is_dir()), None):
            node[FOUND] = os.path.relpath(found, root)
        return [node], []


def add_links(app, doctree, docname: str) -> None:
    """Make the folders that exist links; these are relative, and so name no machine."""
    if app.builder.format != "html":
        return
    page = Path(app.outdir, app.builder.get_target_uri(docname)).parent
    for node in [x for x in doctree.findall(nodes.literal) if FOUND in x]:
        folder = os.path.relpath(Path(app.srcdir, node[FOUND]), page)
        link = nodes.reference("", "", refuri=f"{Path(folder).as_posix()}/")
        node.replace_self(link)
        link += node


def setup_component(app):
    app.add_role("datadir", DataFolderRole())
    app.connect("doctree-resolved", add_links)
