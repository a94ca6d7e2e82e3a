"""The directive ``.. update:: date``: an addition or correction."""

from datetime import datetime

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .problems import report

FORMATS = ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y"]


class UpdateDirective(SphinxDirective):
    """
    A dated addition or correction. The text before it stays unchanged.

    date: ``2024-12-20``, ``2024/12/20``, ``20241220``, ``Dec 20, 2024`` or ``20 December 2024``
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        self.assert_has_content()
        date = parse_date(self.arguments[0])
        if date is None:
            text = f"bad date {self.arguments[0]!r}; expected one such as 2024-12-20"
            report(ValueError(text), self)
        text = f"{date:%Y/%m/%d}" if date else self.arguments[0]
        title = nodes.title("", f"Update, {text}")
        self.set_source_info(title)
        admonition = nodes.admonition(
            "", title, *self.parse_content_to_nodes(), classes=["update"]
        )
        self.set_source_info(admonition)
        return [admonition]


def parse_date(text: str) -> datetime | None:
    """Return the date, None if the text isn't one."""
    for form in FORMATS:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None


def setup_component(app):
    app.add_directive("update", UpdateDirective)
