"""The role ``:expt:``: a link to an experiment, by its number, date or name."""

import re
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.roles import XRefRole
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from ...records.find import DATE
from .experiments import find_pages
from .pages import NOTES, SHEET

logger = logging.getLogger(__name__)

FOLDER = re.compile(r"(\d+)_(\w+)")

NUMBER_FILE = ".expt/id"
"""Where exmemo keeps an experiment's number."""

Place = tuple[str, str, str]  # page, anchor, title


class ExperimentRole(XRefRole):
    """
    A link to an experiment, by the number, date or name of its folder.

    ``20241217``, ``2024-12-17``, ``train_vae`` and ``20241217_train_vae`` all lead to the page of
    ``expts/20241217_train_vae``; a path, such as ``design/train_vae``, to one of several that have
    the same name. A number may also stand in the file ``.expt/id`` of the folder, as in notebooks
    that exmemo has made. Where the notes of an experiment are a section of another page, a target
    of the folder's name stands before that section: ``.. _20241217_train_vae:``. Text of one's own
    goes before the target: ``text <20241217>``.
    """

    innernodeclass = nodes.inline

    def process_link(self, env, refnode, has_explicit_title, title, target):
        """Title and target as they are; the page is known to have such a link."""
        env.metadata[env.docname]["atompaint_expt"] = True
        return title, target


class ExperimentError(ValueError):
    """An experiment that isn't there, or one of several."""


def find_experiment(
    target: str, places: dict[str, Place], numbers: dict[str, str] | None = None
) -> Place:
    """
    Where an experiment is.

    target:  number, date, name, folder, or the end of its path
    places:  by the paths of their folders
    numbers: those that no folder's name says, by the folders' paths
    raises:  ExperimentError if there is none or more than one
    """
    numbers = numbers or {}
    wanted = DATE.sub(r"\1\2\3", target.strip().strip("/"))
    tests = [
        lambda path: f"/{path}".endswith(f"/{wanted}"),
        lambda path: wanted and wanted in _split(path),
        lambda path: (
            wanted.isdecimal()
            and wanted.lstrip("0")
            in (_split(path)[0].lstrip("0"), numbers.get(path, "").lstrip("0"))
        ),
    ]
    for test in tests:
        found = [path for path in places if test(path)]
        if len(found) > 1:
            raise ExperimentError(f"{target!r} may be any of {', '.join(_shorten(found))}")
        if found:
            return places[found[0]]
    words = {word: path for path in places for word in [*_split(path), PurePosixPath(path).name]}
    near = dict.fromkeys(words[x] for x in get_close_matches(wanted, [x for x in words if x], n=3))
    hint = f"; did you mean {' or '.join(_shorten(near))}?" if near else ""
    raise ExperimentError(f"no experiment {target!r}{hint}")


def list_places(env) -> dict[str, Place]:
    """All experiments, by the paths of their folders, or by the targets that stand for folders.

    Notes come before a target, and a target before a run sheet.
    """
    pages = {
        folder: (page, "", env.titles[page].astext())
        for folder, page in sorted(find_pages(frozenset(env.found_docs)).items())
        if page in env.titles
    }
    places = {folder: place for folder, place in pages.items() if place[0].endswith(f"/{NOTES}")}
    names = {PurePosixPath(path).name.lower() for path in places}
    labels = {
        label: place
        for label, place in env.domains.standard_domain.labels.items()
        if FOLDER.fullmatch(label) and label not in names
    }
    for folder, place in pages.items():
        if PurePosixPath(folder).name.lower() not in labels:
            places.setdefault(folder, place)
    return places | labels


def _split(path: str) -> tuple[str, str]:
    """Number and name of a folder, either of which may be missing."""
    name = PurePosixPath(path).name
    match = FOLDER.fullmatch(name)
    return match.groups() if match else ("", name)


def _shorten(paths) -> list[str]:
    names = [PurePosixPath(path).name for path in paths]
    return [x if names.count(x) == 1 else path for x, path in zip(names, paths, strict=True)]


def resolve(app, env, node, contnode):
    """The link of an ``:expt:``; its text alone, and a warning, if it leads nowhere."""
    if node["reftype"] != "expt":
        return None
    try:
        places = list_places(env)
        page, anchor, title = find_experiment(node["reftarget"], places, env.atompaint_numbers)
    except ExperimentError as error:
        logger.warning("expt: %s", error, location=node, type="ref", subtype="expt")
        return contnode
    text = contnode if node["refexplicit"] else nodes.inline("", title, classes=["expt"])
    return make_refnode(app.builder, node["refdoc"], page, anchor, text)


def read_numbers(env) -> dict[str, str]:
    """The numbers in the experiments' folders, by the folders' paths."""
    numbers = {}
    for folder in find_pages(frozenset(env.found_docs)):
        path = Path(env.srcdir, folder, NUMBER_FILE)
        if path.is_file():
            text = path.read_text("utf-8", "replace").strip()
            numbers |= {folder: text} if text.isdecimal() else {}
    return numbers


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """The pages with an ``:expt:``, if experiments or their numbers have come, gone or changed."""
    before = getattr(env, "atompaint_numbers", {})
    env.atompaint_numbers = read_numbers(env)
    if before == env.atompaint_numbers and not any(
        x.endswith((f"/{NOTES}", f"/{SHEET}")) for x in added | removed
    ):
        return []
    return [name for name, metadata in env.metadata.items() if "atompaint_expt" in metadata]


def setup_component(app):
    app.add_role("expt", ExperimentRole())
    app.connect("missing-reference", resolve)
    app.connect("env-get-outdated", find_outdated)
