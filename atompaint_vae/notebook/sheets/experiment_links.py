"""The role ``:expt:``: a link to an experiment, by its number, date or name."""

import re
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.roles import XRefRole
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from ...records.find import DATE
from ...text.suggest import find_near
from .experiments import find_pages
from .pages import NOTES, SHEET

logger = logging.getLogger(__name__)

FOLDER = re.compile(r"(\d+)_(\w+)")

NUMBER_FILE = ".expt/id"
"""The file in which exmemo stores an experiment's number."""

Place = tuple[str, str, str]  # page, anchor, title


class ExperimentRole(XRefRole):
    """
    A link to an experiment, by the number, date or name of its folder.

    ``20241217``, ``2024-12-17``, ``train_vae`` and ``20241217_train_vae`` all link to the page of
    ``expts/20241217_train_vae``. If several folders have the same name, a path such as
    ``design/train_vae`` selects one. The number may also be in the file ``.expt/id`` of the
    folder, as in notebooks made by exmemo. If the notes of an experiment are a section of another
    page, put a target with the folder's name before that section: ``.. _20241217_train_vae:``.
    For another text, write ``text <20241217>``.
    """

    innernodeclass = nodes.inline

    def process_link(self, env, refnode, has_explicit_title, title, target):
        """Return title and target unchanged, and mark the page as having such a link."""
        env.metadata[env.docname]["atompaint_expt"] = True
        return title, target


class ExperimentError(ValueError):
    """An unknown or ambiguous experiment."""


def find_experiment(
    target: str, places: dict[str, Place], numbers: dict[str, str] | None = None
) -> Place:
    """
    Return the place of an experiment.

    target:  number, date, name, folder, or the end of its path
    places:  of all experiments, by the paths of their folders
    numbers: those that aren't in a folder's name, by the paths of the folders
    raises:  ExperimentError if none or several match
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
            raise ExperimentError(f"{target!r} is ambiguous: {', '.join(_shorten(sorted(found)))}")
        if found:
            return places[found[0]]
    words = {word: path for path in places for word in [*_split(path), PurePosixPath(path).name]}
    near = dict.fromkeys(words[x] for x in find_near(wanted, filter(None, words)))
    hint = f"; did you mean {' or '.join(_shorten(near))}?" if near else ""
    raise ExperimentError(f"no experiment {target!r}{hint}")


def list_places(env) -> dict[str, Place]:
    """
    Return the places of all experiments, by the paths of their folders or by their targets.

    Notes take precedence over a target, and a target over a run sheet.
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
    """Return the number and the name of a folder; either may be empty."""
    name = PurePosixPath(path).name
    match = FOLDER.fullmatch(name)
    return match.groups() if match else ("", name)


def _shorten(paths) -> list[str]:
    names = [PurePosixPath(path).name for path in paths]
    return [x if names.count(x) == 1 else path for x, path in zip(names, paths, strict=True)]


def resolve(app, env, node, contnode):
    """Return the link of an ``:expt:``; without an experiment, warn and return the text."""
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
    """Return the numbers in the files of exmemo, by the paths of the folders."""
    numbers = {}
    for folder in find_pages(frozenset(env.found_docs)):
        path = Path(env.srcdir, folder, NUMBER_FILE)
        if path.is_file():
            text = path.read_text("utf-8", "replace").strip()
            numbers |= {folder: text} if text.isdecimal() else {}
    return numbers


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the pages with an ``:expt:`` if any experiment or number has changed."""
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
