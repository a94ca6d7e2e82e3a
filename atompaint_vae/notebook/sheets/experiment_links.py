"""
The role ``:expt:``: a link to an experiment, by its number, date or name.

The number stands before the title of the experiment's page, and the page ends with the pages that
cite it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.roles import XRefRole
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from ...records.find import DATE, parse_number, read_number
from ...text.suggest import find_near
from .experiments import find_pages
from .pages import NOTES, SHEET

logger = logging.getLogger(__name__)

FOLDER = re.compile(r"(\d+)_(\w+)")

CITED = "atompaint_expt"
"""The targets of a page's links, in its metadata."""

RUNS = "atompaint_runs"
"""The experiments and runs that a page shows, in its metadata; see `runs/run_data.py`."""

Place = tuple[str, str, str]  # page, anchor, title


class ExperimentRole(XRefRole):
    """
    A link to an experiment, by the number, date or name of its folder.

    ``20241217``, ``2024-12-17``, ``train_vae`` and ``20241217_train_vae`` all link to the page of
    ``expts/20241217_train_vae``. If several folders have the same name, a path such as
    ``design/train_vae`` selects one. In notebooks made by exmemo, the number is that in the
    folder's file ``.expt/id``; then one in the folder's name doesn't count. If the notes of an
    experiment are a section of another page, put a target with the folder's name before that
    section: ``.. _20241217_train_vae:``. For another text, write ``text <20241217>``.

    The number stands before the title of the experiment's page, which ends with links to the pages
    that cite it.
    """

    innernodeclass = nodes.inline

    def process_link(self, env, refnode, has_explicit_title, title, target):
        """Return title and target unchanged, and mark the page as having such a link."""
        env.metadata[env.docname].setdefault(CITED, []).append(target)
        return title, target


class NumberTitle(SphinxTransform):
    """Put an experiment's number before the title of its page, and so into the contents."""

    default_priority = 495  # after TitleNotes has added a title

    def apply(self, **kwargs):
        number = get_page_numbers(self.env).get(self.env.docname)
        title = next(iter(self.document.findall(nodes.title)), None)
        if number is not None and title is not None:
            title.insert(0, nodes.Text(f"#{number}: "))


class ExperimentError(ValueError):
    """An unknown or ambiguous experiment."""


def find_experiment(
    target: str, places: Mapping[str, Place], numbers: Mapping[str, int | None] | None = None
) -> Place:
    """
    Return the place of an experiment.

    target:  number, date, name, folder, or the end of its path
    places:  of all experiments, by the paths of their folders
    numbers: by the paths of the folders; those of other places are in their names
    raises:  ExperimentError if none or several match
    """
    found = match_experiments(target, places, numbers)
    if len(found) > 1:
        raise ExperimentError(f"{target!r} is ambiguous: {', '.join(_shorten(sorted(found)))}")
    if found:
        return places[found[0]]
    words = {
        word: path
        for path in places
        for word in (*parse_folder(path)[1:], PurePosixPath(path).name)
    }
    near = dict.fromkeys(words[x] for x in find_near(_normalize(target), filter(None, words)))
    hint = f"; did you mean {' or '.join(_shorten(near))}?" if near else ""
    raise ExperimentError(f"no experiment {target!r}{hint}")


def match_experiments(
    target: str, places: Iterable[str], numbers: Mapping[str, int | None] | None = None
) -> list[str]:
    """Return the experiments that a target means: one if it is unambiguous, none if unknown."""
    numbers = numbers or {}
    wanted = _normalize(target)
    if wanted.isdecimal() and parse_number(wanted) is not None:
        number = int(wanted)
        tests = [
            lambda path: (numbers[path] if path in numbers else parse_folder(path)[0]) == number
        ]
    else:
        tests = [
            lambda path: f"/{path}".endswith(f"/{wanted}"),
            lambda path: wanted and wanted in parse_folder(path)[1:],
        ]
    found = ([path for path in places if test(path)] for test in tests)
    return next(filter(None, found), [])


def _normalize(target: str) -> str:
    return DATE.sub(r"\1\2\3", target.strip().strip("/"))


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


@cache
def parse_folder(path: str) -> tuple[int | None, str, str]:
    """Return the number, the date and the name in a folder's name; each may be missing."""
    whole = PurePosixPath(path).name
    match = FOLDER.fullmatch(whole)
    date, name = match.groups() if match else ("", whole)
    number = parse_number(whole)
    return number, date if number is None else "", name


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


def get_page_numbers(env) -> dict[str, int | None]:
    """Return the numbers of the experiments by their pages."""
    pages = find_pages(frozenset(env.found_docs))
    return {pages[folder]: number for folder, number in env.atompaint_numbers.items()}


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the pages with another number, and those with an ``:expt:`` if any has changed."""
    before = getattr(env, "atompaint_numbers", {})
    folders = find_pages(frozenset(env.found_docs))
    now = {folder: read_number(Path(env.srcdir, folder)) for folder in folders}
    env.atompaint_numbers = now
    if before == now and not any(x.endswith((f"/{NOTES}", f"/{SHEET}")) for x in added | removed):
        return []
    renumbered = {x for folder, x in folders.items() if before.get(folder) != now[folder]}
    citing = (name for name, metadata in env.metadata.items() if CITED in metadata)
    return [*(renumbered - added), *citing]


def find_citing(env) -> dict[str, list[str]]:
    """Return the pages that cite a page's experiment, or show its runs, by this page."""
    places = list_places(env)
    named: dict[str, list[str]] = {}  # by the words that can mean them
    for path in places:
        for word in {PurePosixPath(path).name, *parse_folder(path)[1:]}:
            named.setdefault(word, []).append(path)

    @cache
    def find_page(target: str) -> str | None:
        word = _normalize(target).rpartition("/")[2]
        candidates = places if word.isdecimal() else named.get(word, ())
        found = match_experiments(target, candidates, env.atompaint_numbers)
        return places[found[0]][0] if len(found) == 1 else None

    citing: dict[str, set[str]] = {}
    for page, metadata in env.metadata.items():
        cited = {find_page(target) for target in metadata.get(CITED, ())}
        cited |= {
            find_page(name) or find_page(name.rpartition("/")[0]) for name in _list_shown(metadata)
        }
        # A list of experiments cites none of them.
        for other in cited - {page, None, *env.toctree_includes.get(page, ())}:
            citing.setdefault(other, set()).add(page)
    return {page: sorted(pages) for page, pages in citing.items()}


def _list_shown(metadata) -> Iterator[str]:
    for _, *names in metadata.get(RUNS, ()):
        yield from names


def note_citing(app, env) -> list[str]:
    """Return the pages that have come to be cited by others, or by pages of another title."""
    before = getattr(env, "atompaint_citing", {})
    env.atompaint_citing = now = {
        page: {other: env.titles[other].astext() for other in others}
        for page, others in find_citing(env).items()
    }
    return [
        page for page in sorted(before.keys() | now.keys())
        if before.get(page) != now.get(page) and page in env.found_docs
    ]  # fmt: skip


def add_citing(app, doctree, docname: str) -> None:
    """End a page with links to the pages that cite it."""
    citing = getattr(app.env, "atompaint_citing", {}).get(docname, {})
    section = next(iter(doctree.findall(nodes.section)), None)
    if not citing or section is None:
        return
    text = nodes.paragraph("", "Cited by: ", classes=["cited-by"])
    for i, (page, title) in enumerate(citing.items()):
        link = make_refnode(app.builder, docname, page, "", nodes.Text(title))
        text += [nodes.Text("; "), link] if i else [link]
    section += text


def setup_component(app):
    app.add_role("expt", ExperimentRole())
    app.add_transform(NumberTitle)
    app.connect("missing-reference", resolve)
    app.connect("env-get-outdated", find_outdated)
    app.connect("env-updated", note_citing)
    app.connect("doctree-resolved", add_citing)
