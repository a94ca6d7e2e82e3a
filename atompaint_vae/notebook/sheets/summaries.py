"""
What each page says of itself: its date, its question, its answer and its first figure.

The question is the first paragraph, up to its last question mark if it has one. The answer is the
first sentence of the section "Conclusion", or else of "Results". A section after a target of an
experiment's name, such as ``.. _20241217_train_vae:``, has a question and an answer of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from posixpath import join, normpath

from docutils import nodes
from sphinx import addnodes

from ...records.find import get_date
from ..core.updates import parse_date
from .experiments import find_pages
from .pages import SHEET

KEY = "atompaint_summaries"
TARGET = re.compile(r"\d+_\w+")
ANSWERS = ("conclusion", "result")  # beginnings of titles, the best place first
QUESTION = re.compile(r"\?(?!.*\?)", re.DOTALL)
SENTENCE = re.compile(r"[.!](?=\s|$)|:$")


@dataclass(frozen=True)
class Summary:
    """
    What a page or a section is about.

    date:     such as "2024/12/17", or the first and the last of several; blank if there is none
    question: a paragraph, None if there is none
    answer:   a paragraph, None if there is none
    figure:   the files of the first figure by their types, as Sphinx's images have them
    """

    date: str
    question: nodes.paragraph | None
    answer: nodes.paragraph | None
    figure: Mapping[str, str]

    def __str__(self):
        parts = (self.question, self.answer)
        texts = [x.pformat() if x is not None else "" for x in parts]
        return "\n".join([self.date, *texts, str(self.figure)])


def summarize(app, doctree: nodes.document) -> None:
    """Store the summaries of a page and of its experiments' sections, and put its date on it."""
    page, metadata = app.env.docname, app.env.metadata[app.env.docname]
    whole = next(iter(doctree.findall(nodes.section)), None)
    if whole is None:
        return
    date = format_date(metadata.get("date", "")) or format_date(get_date(page) or "")
    sections = {
        name: section
        for section in whole.findall(nodes.section)
        for name in section["names"]
        if section is not whole and TARGET.fullmatch(name)
    }
    summaries = {"": make_summary(whole, date or find_dates(whole))}
    for name, section in sections.items():
        own = find_dates(section) or format_date(get_date(name) or "")
        summaries[name] = make_summary(section, own)
    metadata[KEY] = summaries
    if summaries[""].date:
        place = whole.index(next(iter(whole.findall(nodes.title)))) + 1
        whole.insert(place, nodes.paragraph("", summaries[""].date, classes=["page-date"]))


def make_summary(section: nodes.section, date: str) -> Summary:
    first = next((x for x in section if is_prose(x) or isinstance(x, nodes.section)), None)
    question = first if is_prose(first) else None
    place = next(iter(find_answers(section)), section)
    answer = None
    for x in place:
        if isinstance(x, nodes.bullet_list | nodes.enumerated_list):
            answer = answer or x.next_node(nodes.paragraph)
        elif is_prose(x) and place is not section:
            answer = answer or x
    figure = section.next_node(lambda x: isinstance(x, nodes.image) and x.get("candidates"))
    return Summary(
        date,
        None if question is None else copy_start(question, QUESTION),
        None if answer is None else copy_start(answer, SENTENCE),
        dict(figure["candidates"]) if figure is not None else {},
    )


def is_prose(node: nodes.Node | None) -> bool:
    """Return whether a node is a paragraph, and not just a link as the one to the run sheet."""
    is_link = len(node or ()) == 1 and isinstance(node[0], addnodes.pending_xref)
    return isinstance(node, nodes.paragraph) and not is_link


def find_answers(section: nodes.section) -> list[nodes.section]:
    """Return the subsections that tell what came of it, the best first."""
    below = [x for x in section if isinstance(x, nodes.section)]
    titles = [x.next_node(nodes.title).astext().lower() for x in below]
    return [x for word in ANSWERS for x, title in zip(below, titles, strict=True)
            if title.startswith(word)]  # fmt: skip


def copy_start(paragraph: nodes.paragraph, end: re.Pattern) -> nodes.paragraph:
    """Return a copy, without its page, of a paragraph up to a mark, all of it without the mark."""
    copy = cut(paragraph, end)
    for node in copy.findall():
        node.document = None  # or the environment would hold the whole page
    return copy


def cut(paragraph: nodes.paragraph, end: re.Pattern) -> nodes.paragraph:
    """Return a paragraph up to a mark between its words, the whole one if it has no such mark."""
    children = list(paragraph.children)
    texts = [(i, x) for i, x in enumerate(children) if isinstance(x, nodes.Text | nodes.strong)]
    places = [(i, match.end()) for i, x in texts if (match := end.search(x.astext()))]
    if not places:
        return paragraph.deepcopy()
    i, length = places[-1] if end is QUESTION else places[0]
    last = children[i]
    kept = [x.deepcopy() for x in children[: i + 1]]
    if isinstance(last, nodes.Text):
        kept[-1] = nodes.Text(last.astext()[:length])
    return nodes.paragraph("", "", *kept)


def format_date(text: str) -> str:
    """Return a date as pages show it, blank if the text is no date."""
    date = parse_date(text)
    return f"{date:%Y/%m/%d}" if date else ""


def find_dates(section: nodes.section) -> str:
    """Return the first and the last date among the titles of a section and of those in it."""
    titles = (x.next_node(nodes.title).astext() for x in section.findall(nodes.section))
    dates = sorted(filter(None, map(format_date, titles)))
    return " – ".join(dict.fromkeys(dates[:1] + dates[-1:]))


def copy_nodes(page: str, to: str, content: nodes.Element) -> list[nodes.Node]:
    """Return copies of what a page has said, to be shown on another page."""
    copy = content.deepcopy()
    for node in copy.findall(nodes.Element):
        node["ids"] = []
    for link in copy.findall(addnodes.pending_xref):
        if link["reftype"] == "doc" and link["reftarget"][:1] != "/":
            folder = page.rpartition("/")[0]
            link["reftarget"] = "/" + normpath(join(folder, link["reftarget"]))
        link["refdoc"] = to
    return copy.children


def find_summary(env, page: str) -> tuple[Summary | None, str, str, nodes.title]:
    """
    Return the summary of an experiment's page, its page, its label and its title.

    A sheet without notes has those of the section that is marked as the experiment's; only that
    has a label.
    """
    folder, _, name = page.rpartition("/")
    label = folder.rpartition("/")[2].lower()
    place, _, title = env.domains.standard_domain.labels.get(label, ("", "", ""))
    own = env.metadata[place].get(KEY, {}).get(label) if place else None
    if name != SHEET or own is None:
        whole = env.titles[page]
        if name == SHEET:
            whole = nodes.title("", folder.rpartition("/")[2])
        return env.metadata[page].get(KEY, {}).get(""), page, "", whole
    whole = nodes.title("", title) if not parse_date(title) else env.titles[place]
    return own, place, label, whole


def title_sheets(app, env) -> None:
    """Let a sheet without notes have, in the contents, the title of its section or folder."""
    for page in find_pages(frozenset(env.found_docs)).values():
        if page.endswith(f"/{SHEET}"):
            _, place, _, title = find_summary(env, page)
            text = title.astext()
            if title is env.titles[place]:  # other sections of the page may be experiments, too
                text += f", {format_date(get_date(page) or '')}"
            env.tocs[page].next_node(nodes.reference)[:] = [nodes.Text(text)]


def setup_component(app):
    app.connect("env-updated", title_sheets)
    app.connect("doctree-read", summarize)
