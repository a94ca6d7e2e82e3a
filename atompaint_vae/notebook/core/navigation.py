"""
The table of contents beside each page, made once per build.

Sphinx and furo make it again for each page, which takes most of the time to write a notebook of
hundreds of experiments. Pages differ only in where links start from, and in which item is current.
"""

import re
from functools import lru_cache

from sphinx.util.osutil import relative_uri

KEY = "furo_navigation_tree"
LINK = re.compile(r'(<a class="reference internal" href=")([^"#][^"]*)"')
ITEM = (
    r'<li class="(toctree-l\d+[^"]*)"><a class="reference internal" href="{}">(.*?</a>)(<input )?'
)


@lru_cache(maxsize=1)
def make_tree(builder) -> str:
    """Return furo's contents, as seen from a page at the root that isn't in them."""
    from furo.navigation import get_navigation_tree

    options = {"collapse": False, "titles_only": True, "maxdepth": -1, "includehidden": True}
    return get_navigation_tree(builder._get_local_toctree("", **options))


def mark_current(tree: str, target: str, *, is_page: bool) -> str:
    """Return the contents with an item marked as current: the page itself, or one above it."""

    def mark(match: re.Match) -> str:
        classes, rest, box = match.groups()
        link = 'class="current reference internal" href="#"' if is_page else (
            f'class="reference internal" href="{target}"'
        )  # fmt: skip
        page = " current-page" if is_page else ""
        checked = '<input checked="" ' if box else ""
        return f'<li class="{classes} current{page}"><a {link}>{rest}{checked}'

    # A page that lists itself has a second item, which has no children.
    return re.sub(ITEM.format(re.escape(target)), mark, tree, count=0 if is_page else 1)


def find_ancestors(includes: dict[str, list[str]], page: str) -> list[str]:
    """Return the pages that list a page, directly or not, from its parent up to the first page."""
    parents = {}
    for parent, children in includes.items():
        for child in children:
            parents.setdefault(child, parent)
    ancestors = []
    while (page := parents.get(page)) and page not in ancestors:
        ancestors.append(page)
    return ancestors


def leave_out(app, pagename, templatename, context, doctree):
    """Hide the contents from furo, which would make them again."""
    if "toctree" in context:
        context["atompaint_toctree"] = context["toctree"]
        context["toctree"] = lambda **options: ""


def add_tree(app, pagename, templatename, context, doctree):
    """Give the page its contents, with its place marked."""
    if "atompaint_toctree" not in context:
        return
    context["toctree"] = context.pop("atompaint_toctree")
    get_uri = app.builder.get_target_uri
    tree = mark_current(make_tree(app.builder), get_uri(pagename), is_page=True)
    for ancestor in find_ancestors(app.env.toctree_includes, pagename)[:-1]:
        tree = mark_current(tree, get_uri(ancestor), is_page=False)
    own = get_uri(pagename)
    context[KEY] = LINK.sub(lambda x: f'{x[1]}{relative_uri(own, x[2])}"', tree)


def connect(app, config):
    if config.html_theme == "furo":
        app.connect("html-page-context", leave_out, priority=400)
        app.connect("html-page-context", add_tree, priority=600)


def setup_component(app):
    app.connect("config-inited", connect)
