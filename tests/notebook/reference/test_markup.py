import os
import re
import sys

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from atompaint_vae.notebook.core.references import BibliographyError, load_references
from atompaint_vae.notebook.core.updates import parse_date
from atompaint_vae.notebook.reference.api import find_modules
from atompaint_vae.notebook.reference.docstrings import parse_legend, split_blocks
from atompaint_vae.notebook.reference.markup import find_directives, find_roles

BIB = r"""
@article{a, author = {P{\"o}schel, Thorsten and van der Berg, Jan M. and Li, Wei},
  title = {Exact {CNN}s, or not?}, journal = {J. Comp. Phys.}, volume = 311,
  pages = {158--172}, year = 2016, doi = {https://doi.org/10.1016/J.jcp.2016.02.003}}
@misc{b, author = {One, A. and Two, B. and Three, C. and Four, D. and Five, E. and Six, F.},
  title = {Many}, year = 2020, doi = {10.1/b}}
@misc{c, title = {Nobody}, doi = {10.1000/c}}
@misc{d, title = {No DOI}}
"""


def build(notebook, text, builder="html"):
    notebook.write("index.rst", f"Title\n=====\n\n{text}\n")
    warnings, out = notebook.build(builder)
    suffix = {"html": "html", "text": "txt"}[builder]
    return warnings, (out / f"index.{suffix}").read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    ["2024-12-20", "2024/12/20", "20241220", "Dec 20, 2024", "December 20, 2024", "20 Dec 2024"],
)
def test_dates(text):
    assert f"{parse_date(text):%Y%m%d}" == "20241220"


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "2024", "20/12/2024"])
def test_no_dates(text):
    assert parse_date(text) is None


def test_update(notebook):
    warnings, html = build(notebook, ".. update:: 2024-12-20\n\n   It was *wrong*.\n")
    assert warnings == ""
    title = r'<div class="update admonition">\s*<p class="admonition-title">Update, 2024/12/20<'
    assert re.search(title, html)
    assert "<em>wrong</em>" in html


@pytest.mark.parametrize(
    "text, message",
    [
        (".. update:: soon\n\n   X", "WARNING: update: bad date 'soon'; expected one such as 2024"),
        (".. update:: 2024-12-20", 'Content block expected for the "update" directive'),
        (":pdb:`4W4`", "WARNING: pdb: bad PDB id '4W4'; expected one such as 4W4G"),
        (":doi:`nature`", "WARNING: doi: bad DOI 'nature'; expected one such as 10.1038/nature"),
    ],
)
def test_failure_is_a_warning_at_the_line(notebook, text, message):
    warnings, _ = build(notebook, text)
    assert "index.rst:4: " in warnings
    assert message in warnings


def test_pdb(notebook):
    warnings, html = build(notebook, ":pdb:`4w4g` :pdb:`the ribosome <pdb_00004w4g>`")
    assert warnings == ""
    assert 'href="https://www.rcsb.org/structure/4W4G">4W4G</a>' in html
    assert 'href="https://www.rcsb.org/structure/PDB_00004W4G">the ribosome</a>' in html


def test_doi_that_nobody_has_noted(notebook):
    warnings, html = build(notebook, ":doi:`10.1038/nature14539` :doi:`text <doi:10.1000/x>`")
    assert warnings == ""
    assert 'href="https://doi.org/10.1038/nature14539">doi:10.1038/nature14539</a>' in html
    assert 'href="https://doi.org/10.1000/x">text</a>' in html


def test_citations(notebook):
    notebook.write("references.bib", BIB.replace("10.1/b", "10.1000/b"))
    text = ".. [P] :doi:`10.1016/j.jcp.2016.02.003`\n\n[P]_ :doi:`10.1000/b` :doi:`10.1000/c`"
    warnings, html = build(notebook, text)
    assert warnings == ""
    plain = re.sub(r"\s+", " ", re.sub("<.*?>", "", html))
    authors = "Pöschel T, van der Berg JM &amp; Li W. "
    assert authors + "Exact CNNs, or not? J. Comp. Phys. 311:158–172 (2016)." in plain
    assert "One A et al. Many. (2020)." in plain
    assert "Nobody." in plain
    assert 'href="https://doi.org/10.1016/j.jcp.2016.02.003"><em>Exact' in html


def test_a_changed_bibliography_rebuilds_the_page(notebook):
    path = notebook.write("references.bib", "@misc{c, title = {Before}, doi = {10.1000/c}}")
    assert "Before" in build(notebook, ":doi:`10.1000/c`")[1]
    path.write_text("@misc{c, title = {Afterwards}, doi = {10.1000/c}}")
    notebook.build()
    assert "Afterwards" in (notebook.source / "_build/html/index.html").read_text("utf-8")


def test_broken_bibliography(notebook):
    path = notebook.write("references.bib", "@article{a, title = {x}")
    with pytest.raises(BibliographyError, match=r"references.bib:\d: not a readable BibTeX file: "):
        load_references(path, 0)
    warnings, html = build(notebook, ":doi:`10.1000/c` and :doi:`10.1000/d`")
    assert "references.bib:1: WARNING: not a readable BibTeX file" in warnings
    assert warnings.count("WARNING") == 1
    assert "doi:10.1000/c" in html


def test_video(notebook):
    notebook.write("clips/film.mp4", "")
    text = ".. video:: clips/film.mp4\n   :name: film\n\n   A *film*.\n\n   More.\n\n:ref:`film`"
    warnings, html = build(notebook, text)
    assert warnings == ""
    source = re.search('<video controls="" playsinline="" preload="metadata" src="(.*?)">', html)[1]
    assert (notebook.source / "_build/html" / source).is_file()
    assert re.search(r"<figcaption>.*A <em>film</em>", html, re.DOTALL)
    assert ">film.mp4</span>" in html  # for whoever can't play it
    warnings, plain = build(notebook, text, "text")
    assert warnings == ""
    assert "film.mp4" in plain
    warnings, out = notebook.build("latex")
    (tex,) = out.glob("*.tex")
    assert warnings == ""
    assert "film.mp4" in tex.read_text("utf-8")


def test_missing_video(notebook):
    warnings, html = build(notebook, ".. video:: film.mp4")
    assert "index.rst:4: WARNING: video: no such file: film.mp4" in warnings
    assert "<video" not in html


def test_the_reference_is_complete(notebook):
    warnings, html = build(notebook, ".. markup::")
    assert warnings == ""
    with docutils_namespace():
        folders = [notebook.source, notebook.source, notebook.source / "a", notebook.source / "b"]
        Sphinx(*folders, "html", status=None)
        directives, roles = find_directives(), find_roles()
    assert {"datatable", "update", "video", "experiments"} <= set(directives)
    assert {"expt", "pdb", "doi"} <= set(roles)
    for name, directive in directives.items():
        assert f'id="directive-{name}"' in html
        blocks = split_blocks([x.strip() for x in directive.__doc__.splitlines()])
        described = {key for block in blocks for key, _ in parse_legend(block)}
        assert set(directive.option_spec or {}) <= described, f"{name}: an option without a word"
        for option in directive.option_spec or {}:
            assert f":{option}:" in html
    for name in roles:
        assert f'id="role-{name}"' in html
    assert re.search(r'datatable::</span></span><span class="sig-prename descclass.*?file', html)


MODULES = {
    "small_house/__init__.py": '"""The house."""\n',
    "small_house/door.py": '"""A door."""\n\n\ndef open_door():\n    """Open it."""\n',
    "small_house/_lock.py": '"""Private."""\n',
    "small_house/attic/__init__.py": '"""What the attic is for."""\n',
    "small_house/attic/box.py": '"""A box."""\n',
    "small_house/attic/trunk/__init__.py": "",
    "small_house/attic/trunk/hat.py": '"""A hat."""\n',
    "small_house/no_package/loose.py": '"""Not importable as a part of the package."""\n',
}


@pytest.fixture
def small_house(notebook, monkeypatch):
    for name, text in MODULES.items():
        notebook.write(name, text)
    monkeypatch.syspath_prepend(notebook.source)
    yield notebook
    for name in [x for x in sys.modules if x.partition(".")[0] == "small_house"]:
        del sys.modules[name]


def test_modules_of_packages_within_packages(small_house):
    assert list(find_modules("small_house")) == [
        "small_house.attic.box", "small_house.attic.trunk.hat", "small_house.door"
    ]  # fmt: skip
    warnings, text = build(small_house, ".. modules:: small_house", "text")
    assert warnings == ""
    lines = [x for x in text.splitlines() if x.strip()]
    assert lines == [
        "Title", "*****",
        "door", "====", "A door.", "small_house.door.open_door()", "   Open it.",
        "attic", "=====", "What the attic is for.",
        "box", "---", "A box.",
        "trunk", "-----",
        "hat", "~~~", "A hat.",
    ]  # fmt: skip
    # A module that comes makes the page anew.
    small_house.write("small_house/attic/lamp.py", '"""A lamp."""\n')
    _, out = small_house.build("text")
    assert "A lamp." in (out / "index.txt").read_text("utf-8")


HOUSE = '''
"""A house."""

import functools
import no_such_package as nsp
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple
from .attic.box import Box

HEIGHT_M: float = 9.5
"""Of the roof, with [brackets_] and *stars."""

WIDTH_M = 8


class Leak(ValueError):
    """Water inside."""


@dataclass(frozen=True)
class Room:
    """A room."""

    size: int
    boxes: list[Box] = field(default_factory=list)
    KNOWN: ClassVar = ()

    doors = 2
    """Doors."""

    @functools.cached_property
    def area(self) -> nsp.Area:
        """Its area."""

    @classmethod
    def build(cls, walls: "tuple", /, *, tall: bool = True) -> "Room":
        """Build it."""

    def no_docstring(self):
        pass

    def _private(self):
        """Private."""


class Stairs(Room):
    """Stairs."""

    def __init__(self, steps=(1, 2), *args, **kwargs):
        self.steps = steps

if True:
    async def burn(*, degrees: int | None = None) -> Box: "Burn."
'''


def test_a_module_is_described_from_its_text(small_house):
    """What can't be imported is described, too; classes are links, whatever module names them."""
    small_house.write("small_house/house.py", HOUSE)
    box = '"""A box."""\n\nclass Box:\n    """A box."""\n'
    small_house.write("small_house/attic/box.py", box)
    warnings, text = build(small_house, ".. modules:: small_house", "text")
    assert warnings == "" and "small_house" not in sys.modules
    lines = [x.strip() for x in text.partition("A house.")[2].partition("attic\n")[0].splitlines()]
    assert [x for x in lines if x] == [
        "small_house.house.HEIGHT_M: float = 9.5",
        "Of the roof, with [brackets_] and *stars.",
        "exception small_house.house.Leak", "Water inside.",
        "class small_house.house.Room(size: int, boxes: list[Box] = ...)", "A room.",
        "doors = 2", "Doors.",
        "property area: Area", "Its area.",
        "classmethod build(walls: tuple, /, *, tall: bool = True) -> Room", "Build it.",
        "class small_house.house.Stairs(steps=(1, 2), *args, **kwargs)", "Stairs.",
        "async small_house.house.burn(*, degrees: int | None = None) -> Box", "Burn.",
    ]  # fmt: skip
    html = (small_house.build()[1] / "index.html").read_text("utf-8")
    assert 'href="#small_house.attic.box.Box" title="small_house.attic.box.Box"' in html


def test_a_mistake_in_a_docstring_is_named_in_its_file(small_house):
    small_house.write("small_house/door.py", '"""A door."""\n\ndef f():\n    """:no_role:`x`"""\n')
    warnings, _ = build(small_house, ".. modules:: small_house")
    assert 'small_house/door.py:3: ERROR: Unknown interpreted text role "no_role"' in warnings


def test_only_a_changed_module_makes_the_page_again(small_house):
    build(small_house, ".. modules:: small_house")
    door = small_house.source / "small_house/door.py"
    os.utime(door)
    small_house.build()
    assert "no targets are out of date" in small_house.status
    door.write_text('"""A red door."""\n')
    _, out = small_house.build()
    assert "A red door." in (out / "index.html").read_text("utf-8")


def test_no_modules(notebook):
    warnings, _ = build(notebook, ".. modules:: no_such_house")
    assert "index.rst:4: WARNING: modules: no modules found in package 'no_such_house'" in warnings
