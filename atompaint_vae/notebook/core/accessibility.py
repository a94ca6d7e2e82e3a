"""
What Sphinx's and furo's pages lack for screen readers, mended in each page that is written.

Templates and writers of theirs would have to be copied to change a single attribute.
"""

import re

from docutils import nodes
from sphinx.jinja2glue import BuiltinTemplateLoader
from sphinx.transforms.post_transforms import SphinxPostTransform

MENDED = (
    # A heading has a level.
    ('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    # The role of an entry is deprecated, and no item of a list.
    ('role="doc-biblioentry"', 'role="listitem"'),
    # Two landmarks of one kind have names.
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="Contents">'),
    ('<aside class="toc-drawer', '<aside aria-label="On this page" class="toc-drawer'),
    # A page has a title.
    ('<div id="search-results">', '<h1>Search</h1>\n<div id="search-results">'),
)
PARAMETERS = re.compile(r'(<span class="sig-paren">.</span>\s*)<dl>(.*?)</dl>', re.DOTALL)
"""The parameters of a signature, a line each: a list of definitions without terms."""


class AccessibleTemplates(BuiltinTemplateLoader):
    """Sphinx's templates, of which the pages are mended."""

    def render(self, template: str, context: dict) -> str:
        return mend(super().render(template, context))


class UniqueIds(SphinxPostTransform):
    """Take from furo's wrappers of tables and equations the ids of what they wrap."""

    default_priority = 510  # after furo's
    formats = ("html",)

    def run(self, **kwargs):
        for wrapper in self.document.findall(nodes.container):
            if {"table-wrapper", "math-wrapper"} & {*wrapper["classes"]}:
                wrapper["ids"] = []


def mend(page: str) -> str:
    """Return a page of HTML with what screen readers need."""
    for before, after in MENDED:
        page = page.replace(before, after)
    return PARAMETERS.sub(_write_parameters, page)


def _write_parameters(match: re.Match) -> str:
    lines = match[2].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f"{match[1]}{lines}"


def use_templates(app, config):
    """Mend all pages, unless the notebook has templates of its own kind."""
    if not config.template_bridge:
        config.template_bridge = f"{__name__}.{AccessibleTemplates.__name__}"


def setup_component(app):
    app.connect("config-inited", use_templates)
    app.add_post_transform(UniqueIds)
    app.add_js_file("keyboard.js", loading_method="defer")
