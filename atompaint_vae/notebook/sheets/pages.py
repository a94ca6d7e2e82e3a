"""
The pages of run sheets, one for each experiment's folder, and the links to and from them.

Sphinx only builds pages that are files. So each folder gets a short ``sheet.rst``, which git
ignores; the directive ``.. runsheet::`` in it makes the content, see `sheet.py`.
"""

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from ...records.find import find_experiments, get_expts_dir

logger = logging.getLogger(__name__)

SHEET, NOTES = "sheet", "notes"
MARK = ".. Made by the build, which writes it again; git ignores it.\n"
# Orphans may be missing from the contents: not every notebook lists its experiments.
STUB = MARK + "\n:orphan:\n\n{line}\n{title}\n{line}\n\n.. runsheet::\n"
LINK = "\n\n:doc:`{sheet}`\n"  # not in the contents, where sheets would be half of the links


def write_sheets(app) -> None:
    """Write the sheets of new experiments, and remove those of experiments that are gone."""
    expts_dir = get_expts_dir(Path(app.srcdir))
    experiments = find_experiments(expts_dir)
    app.env.atompaint_experiments = experiments  # before Sphinx forks processes to read
    wanted = set()
    for name in experiments:
        path = expts_dir / name / f"{SHEET}.rst"
        title = f"Run sheet: {path.parent.name.replace('_', ' ')}"
        text = STUB.format(title=title, line=len(title) * "*")
        wanted.add(path)
        before = path.read_text("utf-8", "replace") if path.exists() else MARK
        if before != text and before.startswith(MARK):
            path.write_text(text, "utf-8")
    for folder, subfolders, files in os.walk(expts_dir):
        subfolders[:] = [x for x in subfolders if x != "runs" and x[0] not in "._"]
        path = Path(folder, f"{SHEET}.rst")
        if path.name in files and path not in wanted and is_ours(path):
            path.unlink()
            if not any(path.parent.iterdir()):  # git has removed the rest of it
                path.parent.rmdir()


def name_sheet(srcdir: Path, experiment: str) -> str:
    """Return the name of the page of an experiment's run sheet."""
    path = get_expts_dir(Path(srcdir)) / experiment / SHEET
    return path.relative_to(srcdir).as_posix()


def is_ours(path: Path) -> bool:
    return path.read_text("utf-8", "replace").startswith(MARK)


def find_sibling(page: str, name: str) -> str:
    """Return the page of that name in the same folder."""
    return f"{page.rpartition('/')[0]}/{name}"


def append_sheets(app, env) -> None:
    """Append the sheets that the contents don't list to a printed notebook."""
    if app.builder.name == "latex":
        notes = sorted(x for x in env.found_docs if x.endswith(f"/{NOTES}"))
        sheets = [x for note in notes if (x := find_sibling(note, SHEET)) in env.found_docs]
        app.config.latex_appendices = [*app.config.latex_appendices, *sheets]


def make_anchor(run: str) -> str:
    """Return the id of a run on its experiment's sheet."""
    return f"run-{quote(run, safe='').replace('%', '_')}"


def link_run(id: str, text: nodes.Element) -> addnodes.pending_xref:
    """Return a reference to a run's place on its experiment's sheet, if that exists."""
    return addnodes.pending_xref("", text, refdomain="", reftype="run", reftarget=id)


def resolve_run(app, env, node, contnode):
    """Return the link of a run's name, or the name alone if there is no sheet."""
    if node["reftype"] != "run":
        return None
    experiment, _, run = node["reftarget"].rpartition("/")
    sheet = name_sheet(env.srcdir, experiment)
    if sheet not in env.found_docs:
        return contnode
    return make_refnode(app.builder, node["refdoc"], sheet, make_anchor(run), contnode)


def add_link(app, page: str, source: list[str]) -> None:
    """Append a link to the sheet to an experiment's notes."""
    if page.endswith(f"/{NOTES}"):
        sheet = find_sibling(page, SHEET)
        if sheet in app.env.found_docs:
            source[0] += LINK.format(sheet=SHEET)


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the notes that gain or lose a sheet, and the sheets that gain or lose notes."""
    pairs = {f"/{SHEET}": NOTES, f"/{NOTES}": SHEET}
    return [
        sibling
        for page in added | removed
        for end, name in pairs.items()
        if page.endswith(end)
        if (sibling := find_sibling(page, name)) in env.found_docs
    ]


class backlinks(nodes.General, nodes.Element):
    """The place of links to the pages that show a folder; known when all pages are read."""


def find_users(env) -> dict[str, list[str]]:
    """Return the pages, other than its notes, that show a file of a folder, by its sheet."""
    folders = {page.rpartition("/")[0] for page in env.found_docs if page.endswith(f"/{SHEET}")}

    @cache
    def find_folder(path: str) -> str:
        above = path.rpartition("/")[0]
        return above if above in folders or not above else find_folder(above)

    users: dict[str, set[str]] = {}
    for path, pages in list_files(env):
        if folder := find_folder(path):
            users.setdefault(f"{folder}/{SHEET}", set()).update(
                x for x in pages if x not in (f"{folder}/{SHEET}", f"{folder}/{NOTES}")
            )
    return {sheet: sorted(pages) for sheet, pages in users.items() if pages}


def list_files(env) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the files that pages show or read, relative to the root, with these pages."""
    root = f"{env.srcdir}/"
    for page, paths in env.dependencies.items():
        for path in map(str, paths):
            if path[:1] != "/" or path.startswith(root):
                yield path.removeprefix(root), [page]
    for path, (pages, _) in env.images.items():
        yield path, pages


def add_links(app, doctree, docname: str) -> None:
    """Put the links to the pages that show a folder on its sheet."""
    for node in list(doctree.findall(backlinks)):
        pages = app.env.atompaint_users.get(docname, [])
        links = [make_link(app, docname, page) for page in pages]
        text = nodes.paragraph("", "Shown in: ")
        for i, link in enumerate(links):
            text += [nodes.Text("; "), link] if i else [link]
        node.replace_self([text] if links else [])


def make_link(app, sheet: str, page: str) -> nodes.reference:
    """Return a link to a page, to the section after a target of the folder's name if it has one."""
    title = app.env.titles[page].astext()
    folder = sheet.split("/")[-2].lower()
    place, anchor, section = app.env.domains.standard_domain.labels.get(folder, ("", "", ""))
    if place != page:
        anchor, section = "", ""
    text = f"{title}, {section}" if section else title
    return make_refnode(app.builder, sheet, page, anchor, nodes.Text(text))


def find_changed(app, env) -> list[str]:
    """Return the sheets whose links have changed since they were written."""
    before, now = getattr(env, "atompaint_users", {}), find_users(env)
    env.atompaint_users = now
    return [
        sheet for sheet in sorted(before.keys() | now.keys())
        if before.get(sheet) != now.get(sheet) and sheet in env.found_docs
    ]  # fmt: skip


def setup_component(app):
    app.connect("builder-inited", write_sheets)
    app.connect("source-read", add_link)
    app.connect("env-get-outdated", find_outdated)
    app.connect("env-updated", append_sheets)
    app.connect("missing-reference", resolve_run)
    app.add_node(backlinks)
    app.connect("doctree-resolved", add_links)
    app.connect("env-updated", find_changed)
