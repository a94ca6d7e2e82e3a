"""
Notices and warnings for what can't be shown or read.

A mistake in a page gives a warning with the page's line. A damaged file, which many pages may show,
gives a single warning with the file's line.
"""

import re
from collections.abc import Callable, Mapping

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ...records.record import UNREADABLE, describe_damage

logger = logging.getLogger(__name__)

MAX_LENGTH = 300
DAMAGES = "atompaint_damages"
PLACE = re.compile(r"(?P<place>.+?:\d+(:\d+)?): (?P<text>.*)|(?P<file>.+?): (?P<rest>.*)")


class WrittenOptions(dict):
    """
    The option_spec of a directive whose options docutils is to leave as they are written.

    Docutils would stop at the first mistake; `convert_options` names all of them.
    """

    def __getitem__(self, name: str) -> Callable[[str | None], str | None]:
        return lambda text: text


class OptionError(ValueError):
    """Unknown options of a directive, or wrong values."""


def convert_options(spec: Mapping[str, Callable], written: Mapping[str, str | None]) -> dict:
    """Return the values of a directive's options; raises: OptionError that names all mistakes."""
    options, mistakes = {}, []
    unknown = [name for name in written if name not in spec]
    if unknown:
        names = f"option{'s' * (len(unknown) > 1)} {' and '.join(map(repr, unknown))}"
        mistakes.append(f"unknown {names}; known: {', '.join(spec)}")
    for name, convert in spec.items():
        if name in written:
            try:
                options[name] = convert(written[name])
            except (ValueError, TypeError) as error:
                mistakes.append(f"option {name!r}: {error}")
    if mistakes:
        raise OptionError("; ".join(mistakes))
    return options


class NotebookDirective(SphinxDirective):
    """A directive that fails with a warning and a notice; the rest of the page is built."""

    def __init_subclass__(cls) -> None:
        if cls.option_spec:
            cls.option_spec = WrittenOptions(cls.option_spec)

    def run(self) -> list[nodes.Node]:
        try:
            self.options = convert_options(self.option_spec or {}, self.options)
            return self.show()
        except (ValueError, OSError, RuntimeError) as error:
            return [report(error, self)]

    def show(self) -> list[nodes.Node]:
        """
        Return what the page shows.

        raises: ValueError or OSError for a mistake in the page or in a file
        """
        raise NotImplementedError

    def parse_path(self) -> str:
        """
        Return the path that is the directive's argument.

        raises: ValueError if text follows without an empty line, which docutils adds to the path
        """
        path, *rest = self.arguments[0].splitlines()
        if rest:
            raise ValueError(f"expected an empty line between {path!r} and {rest[0]!r}")
        return path

    def parse_caption(self) -> tuple[nodes.paragraph | None, list[nodes.Node]]:
        """
        Return the caption, which is the content's first paragraph, and the rest of the content.

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
    Warn of an error, and return the notice that replaces what can't be shown.

    markup: the directive or role that failed
    """
    text = shorten(describe_damage([error], markup.env.srcdir))
    warn(text, markup)
    return make_notice(text)


def warn(text: str, markup: SphinxDirective | SphinxRole) -> None:
    """Warn of what a directive or role shows, at its line."""
    location = markup.get_location()
    if not location or location.startswith("<unknown>"):  # as for text that isn't from a file
        location = markup.env.docname
    logger.warning("%s: %s", markup.name, text, location=location, type=markup.name)


def make_notice(text: str, *, is_in_text: bool = False) -> nodes.Element:
    """Return the notice that replaces what can't be shown."""
    kind = nodes.inline if is_in_text else nodes.paragraph
    node = kind("", f"Not shown: {text}", classes=["not-shown"])
    node["support_smartquotes"] = False  # it quotes code
    return node


def shorten(text: str) -> str:
    """Return a text cut to a readable length: a page may give a file's content as its name."""
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."


def note_damages(env, lines: str) -> None:
    """Store damages, one per line as `file:line:column: text`, for a warning after reading."""
    env.metadata[env.docname].setdefault(DAMAGES, []).extend(lines.splitlines())


def note_unreadable(env, run_dir, properties) -> None:
    """Store the damages of a run's files, if there are any, for a warning after reading."""
    if properties["state"] == UNREADABLE:
        note_damages(env, f"{run_dir}/{properties['error']}")


def warn_of_damages(app, env) -> None:
    """Warn of each damage once, however many pages show it and processes found it."""
    found = (line for metadata in env.metadata.values() for line in metadata.get(DAMAGES, ()))
    for line in dict.fromkeys(found):
        match = PLACE.fullmatch(line)
        location, text = match["place"] or f"{match['file']}:1", match["text"] or match["rest"]
        logger.warning("%s", text, location=location, type="damage")


def setup_component(app):
    app.connect("env-check-consistency", warn_of_damages)
