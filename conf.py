"""Configuration of Sphinx. The repository's root is the notebook's source folder."""

from pathlib import Path

import atompaint_vae

project = "AtomPaint VAE"
author = "the AtomPaint VAE authors"
copyright = author
release = version = atompaint_vae.__version__

extensions = ["atompaint_vae.notebook"]
root_doc = "docs/index"
include_patterns = ["docs/**", "expts/**/notes.rst", "expts/**/sheet.rst"]
exclude_patterns = [
    "_build", ".*", "atompaint_vae", "benchmarks", "tests", "**/runs", "**/README*",
    "docs/guide/own_notebook",  # a notebook of its own, which the guide shows
]  # fmt: skip

python_maximum_signature_line_length = 88

numfig = True
numfig_format = {"figure": "Figure %s", "table": "Table %s"}

html_theme = "furo"
html_title = project
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}

latex_engine = "xelatex"  # pages contain ≥, Å and β
latex_use_xindy = False  # makeindex comes with LaTeX, xindy doesn't
latex_documents = [(root_doc, "atompaint_vae.tex", project, author, "manual")]
latex_elements = {"papersize": "a4paper", "extraclassoptions": "openany"}

REDIRECT = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=docs/index.html">
<title>{title}</title>
<a href="docs/index.html">{title}</a>
"""


def write_redirect(app, error):
    """Write an index.html that redirects to the notebook's first page."""
    if error is None and app.builder.name == "html":
        Path(app.outdir, "index.html").write_text(REDIRECT.format(title=project), "utf-8")


def setup(app):
    app.connect("build-finished", write_redirect)
