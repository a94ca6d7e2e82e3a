"""The contents beside each page are those that Sphinx and furo make, page by page."""

import posixpath
import re
from html.parser import HTMLParser

import pytest

CONF = 'extensions = ["atompaint_vae.notebook"]\nhtml_theme = "furo"\n'
PAGES = {
    "index.rst": "Lab\n===\n\n.. toctree::\n   :caption: Notes & more\n\n   one\n   self\n"
    "   Elsewhere <https://example.org/a?b&c>\n\n.. toctree::\n   :hidden:\n\n   deep/two\n",
    "one.rst": "``One`` < *1*\n=============\n\nSection\n-------\n",
    "deep/two.rst": "Two\n===\n\n.. toctree::\n\n   er/three\n   four\n",
    "deep/er/three.rst": "Three\n=====\n",
    "deep/four.rst": "Four\n====\n\n.. toctree::\n\n   five\n",
    "deep/five.rst": "Five\n====\n",
    "alone.rst": ":orphan:\n\nAlone\n=====\n",
}


class Tree(HTMLParser):
    """Tags and text, with classes sorted and links as seen from the notebook's root."""

    def __init__(self, page):
        super().__init__()
        self.page, self.items = page, []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        href = values.get("href") or ""
        if tag == "a" and not re.match(r"#|https:", href):
            values["href"] = posixpath.normpath(posixpath.join(posixpath.dirname(self.page), href))
        if tag != "ul":  # the classes of lists, furo doesn't use
            values["class"] = sorted((values.get("class") or "").split())
            self.items.append((tag, values))

    def handle_data(self, data):
        if data.strip():
            self.items.append(data.strip())


def read_trees(html):
    trees = {}
    for path in html.rglob("*.html"):
        page = path.relative_to(html).as_posix()
        match = re.search(r'<div class="sidebar-tree">(.*?)\n</div>', path.read_text(), re.DOTALL)
        trees[page] = Tree(page)
        trees[page].feed(match[1])
    return {page: tree.items for page, tree in trees.items()}


@pytest.mark.parametrize("current", ["deep/five", "one", "alone", "index"])
def test_contents_are_as_furo_makes_them(notebook, monkeypatch, current):
    notebook.write("conf.py", CONF)
    for name, text in PAGES.items():
        notebook.write(name, text)
    warnings, html = notebook.build()
    assert warnings == ""
    ours = read_trees(html)
    monkeypatch.setattr("atompaint_vae.notebook.core.navigation.connect", lambda app, config: None)
    notebook.build(fresh=True)
    furos = read_trees(html)
    assert ours[f"{current}.html"] == furos[f"{current}.html"]
    assert ours.keys() == furos.keys()
