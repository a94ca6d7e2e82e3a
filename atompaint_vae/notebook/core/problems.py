"""
What can't be shown, or can't be read: what stands in its place, and the warnings.

A mistake of the page's is a warning at the line of the page. Damage to a file that many pages may
show is one warning at the line of that file.
"""

import re

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ...records.record import UNREADABLE, describe_damage

logger = logging.getLogger(__name__)

MAX_LENGTH = 300
DAMAGES = "atompaint_damages"
PLACE = re.compile(r"(?P<place>.+?:\d+(:\d+)?): (?P<text>.*)|(?P<file>.+?): (?P<rest>.*)")


class NotebookDirective(SphinxDirective):
    """A directive that warns where it can't show what it should; the rest of the page is intact."""

    def run(self) -> list[nodes.Node]:
        try:
            return self.show()
        except (ValueError, OSError, RuntimeError) as error:
            return [report(error, self)]

    def show(self) -> list[nodes.Node]:
        """
        What the page shows.

        raises: ValueError or OSError for whatever is wrong with what the page, or a file, says
        """
        raise NotImplementedError

    def parse_path(self) -> str:
        """
        The path that is the directive's argument.

        raises: ValueError if text follows it at once, which docutils takes for a part of it
        """
        path, *rest = self.arguments[0].splitlines()
        if rest:
            raise ValueError(f"expected an empty line between {path!r} and {rest[0]!r}")
        return path

    def parse_caption(self) -> tuple[nodes.paragraph | None, list[nodes.Node]]:
        """
        The caption, which is the content's first paragraph, and what goes below.

        raises: ValueError if the content doesn't begin with a paragraph
        """
        if not self.content:
            return None, []
        first, *rest = self.parse_content_to_nodes()
        if not isinstance(first, nodes.paragraph):
            raise ValueError(f"the caption must begin with a paragraph, not with a {first.tagname}")
        return first, rest


def report(error: Exception, markup: SphinxDirective | SphinxRole) -> nodes.paragraph:
    """
    What stands in the place of what can't be shown; warns.

    markup: the directive or the role that can't show it
    """
    location = markup.get_location()
    if not location or location.startswith("<unknown>"):  # as of text that no file holds
        location = markup.env.docname
    text = shorten(describe_damage([error], markup.env.srcdir))
    logger.warning("%s: %s", markup.name, text, location=location, type=markup.name)
    return make_notice(text)


def make_notice(text: str, *, is_in_text: bool = False) -> nodes.Element:
    """What stands in the place of what can't be shown."""
    kind = nodes.inline if is_in_text else nodes.paragraph
    node = kind("", f"Not shown: {text}", classes=["not-shown"])
    node["support_smartquotes"] = False  # what it quotes is code
    return node


def shorten(text: str) -> str:
    """What a person reads at a glance, also where a page has a file's content for its name."""
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."


def note_damages(env, lines: str) -> None:
    """Nothing; a warning for each line, `file:line:column: text`, comes once pages are read."""
    env.metadata[env.docname].setdefault(DAMAGES, []).extend(lines.splitlines())


def note_unreadable(env, run_dir, properties) -> None:
    """Nothing; a warning comes once pages are read if some of a run's files are damaged."""
    if properties["state"] == UNREADABLE:
        note_damages(env, f"{run_dir}/{properties['error']}")


def warn_of_damages(app, env) -> None:
    """Nothing; warns of each damage once, whichever pages show it, in whichever process."""
    found = (line for metadata in env.metadata.values() for line in metadata.get(DAMAGES, ()))
    for line in dict.fromkeys(found):
        match = PLACE.fullmatch(line)
        location, text = match["place"] or f"{match['file']}:1", match["text"] or match["rest"]
        logger.warning("%s", text, location=location, type="damage")


def setup_component(app):
    app.connect("env-check-consistency", warn_of_damages)
