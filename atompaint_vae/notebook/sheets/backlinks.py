"""Links from a run sheet to the pages that show what is in its folder."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.util.nodes import make_refnode

from .sheets import NOTES, SHEET


class backlinks(nodes.General, nodes.Element):
    """The place of the links, which are known when all pages are read."""


def find_users(env) -> dict[str, list[str]]:
    """The pages that show a file of a folder, by the sheet of that folder; its notes are none."""
    folders = {page.rpartition("/")[0] for page in env.found_docs if page.endswith(f"/{SHEET}")}
    users: dict[str, set[str]] = {}
    for path, pages in list_files(env):
        above = (str(x) for x in PurePosixPath(path).parents)
        folder = next((x for x in above if x in folders), None)
        if folder is not None:
            users.setdefault(f"{folder}/{SHEET}", set()).update(
                x for x in pages if x not in (f"{folder}/{SHEET}", f"{folder}/{NOTES}")
            )
    return {sheet: sorted(pages) for sheet, pages in users.items() if pages}


def list_files(env) -> Iterator[tuple[str, Iterable[str]]]:
    """The files that pages show or read, relative to the notebook's root, and these pages."""
    root = Path(env.srcdir)
    for page, paths in env.dependencies.items():
        for path in paths:
            if (full := root / path).is_relative_to(root):
                yield full.relative_to(root).as_posix(), [page]
    for path, (pages, _) in env.images.items():
        yield path, pages


def add_links(app, doctree, docname: str) -> None:
    """Nothing; the links are in their place."""
    for node in list(doctree.findall(backlinks)):
        pages = find_users(app.env).get(docname, [])
        links = [make_link(app, docname, page) for page in pages]
        text = nodes.paragraph("", "Shown in: ")
        for i, link in enumerate(links):
            text += [nodes.Text("; "), link] if i else [link]
        node.replace_self([text] if links else [])


def make_link(app, sheet: str, page: str) -> nodes.reference:
    """A link to a page; to the section that a target of the folder's name stands before."""
    title = app.env.titles[page].astext()
    folder = sheet.split("/")[-2].lower()
    place, anchor, section = app.env.domains.standard_domain.labels.get(folder, ("", "", ""))
    if place != page:
        anchor, section = "", ""
    text = f"{title}, {section}" if section else title
    return make_refnode(app.builder, sheet, page, anchor, nodes.Text(text))


def find_changed(app, env) -> list[str]:
    """The sheets that other pages show now than when they were written."""
    before, now = getattr(env, "atompaint_users", {}), find_users(env)
    env.atompaint_users = now
    return [
        sheet for sheet in sorted(before.keys() | now.keys())
        if before.get(sheet) != now.get(sheet) and sheet in env.found_docs
    ]  # fmt: skip


def setup_component(app):
    app.add_node(backlinks)
    app.connect("doctree-resolved", add_links)
    app.connect("env-updated", find_changed)
