"""
The contents beside each page, made once in a build.

Sphinx and furo make them anew for each page, which is most of the time that it takes to write a
notebook of hundreds of experiments.  Pages differ only in where links start from, and in what is
marked as current.
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
    """The contents as furo shows them, of a page that isn't in them, at the notebook's root."""
    from furo.navigation import get_navigation_tree

    options = {"collapse": False, "titles_only": True, "maxdepth": -1, "includehidden": True}
    return get_navigation_tree(builder._get_local_toctree("", **options))


def mark_current(tree: str, target: str, *, is_page: bool) -> str:
    """The contents with an item marked: the page itself, or one that it lies below."""

    def mark(match: re.Match) -> str:
        classes, rest, box = match.groups()
        link = 'class="current reference internal" href="#"' if is_page else (
            f'class="reference internal" href="{target}"'
        )  # fmt: skip
        page = " current-page" if is_page else ""
        checked = '<input checked="" ' if box else ""
        return f'<li class="{classes} current{page}"><a {link}>{rest}{checked}'

    # A page that lists itself has a second item, below which nothing lies.
    return re.sub(ITEM.format(re.escape(target)), mark, tree, count=0 if is_page else 1)


def find_ancestors(includes: dict[str, list[str]], page: str) -> list[str]:
    """The pages in whose contents a page is, directly or not; the last is the notebook's first."""
    parents = {}
    for parent, children in includes.items():
        for child in children:
            parents.setdefault(child, parent)
    ancestors = []
    while (page := parents.get(page)) and page not in ancestors:
        ancestors.append(page)
    return ancestors


def leave_out(app, pagename, templatename, context, doctree):
    """Nothing; furo finds no contents to make."""
    if "toctree" in context:
        context["atompaint_toctree"] = context["toctree"]
        context["toctree"] = lambda **options: ""


def add_tree(app, pagename, templatename, context, doctree):
    """Nothing; the page has the contents, and its place in them is marked."""
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
