import re

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from atompaint_vae.notebook.sheets.summaries import QUESTION, SENTENCE, cut


@pytest.mark.parametrize(
    "text, question",
    [
        ("Is it so?  We trained *ten* models.", "Is it so?"),
        ("Is *this* so?\nOr ``that``?  Read on.", "Is this so?\nOr that?"),
        ("Eight settings, see below.  No question.", "Eight settings, see below.  No question."),
    ],
)
def test_the_question_ends_with_its_last_mark(text, question):
    (paragraph,) = publish_doctree(text).findall(nodes.paragraph)
    assert cut(paragraph, QUESTION).astext() == question


@pytest.mark.parametrize(
    "text, answer",
    [
        ("It is.  More of it.", "It is."),
        ("**Symmetry helps, up to 25×.**  With latents", "Symmetry helps, up to 25×."),
        ("**The resolution**, above all: 0.75.  Then ``x``.", "The resolution, above all: 0.75."),
        ("Means of ``a`` are 0.5", "Means of a are 0.5"),
    ],
)
def test_the_answer_is_one_sentence(text, answer):
    (paragraph,) = publish_doctree(text).findall(nodes.paragraph)
    assert cut(paragraph, SENTENCE).astext() == answer


PAGE = "Title\n=====\n\nWhy?  Because.\n"


@pytest.mark.parametrize(
    "name, text, date",
    [
        ("expts/20241217_x/notes", PAGE, "2024/12/17"),
        ("page", PAGE, None),
        ("page", ":date: 2025-01-02\n\n" + PAGE, "2025/01/02"),
        ("expts/07_x/notes", f"{PAGE}\nResults\n-------\n\n2025/02/03\n~~~~~~~~~~\nYes.\n\n"
         "March 5, 2024\n~~~~~~~~~~~~~\nNo.\n", "2024/03/05 – 2025/02/03"),
    ],
)  # fmt: skip
def test_a_page_shows_its_date(notebook, name, text, date):
    notebook.write("index.rst", "Index\n=====\n\n.. toctree::\n\n   page\n")
    notebook.write("page.rst", PAGE)
    notebook.write(f"{name}.rst", text)
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / f"{name}.html").read_text("utf-8")
    assert re.findall(r'<h1>(?:#7: )?Title.*</h1>\s*<p class="page-date">(.*?)</p>', html) == (
        [date] if date else []
    )
