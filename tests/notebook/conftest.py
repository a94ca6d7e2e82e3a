import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).parents[2]
SEED = Path(__file__).parent / "seed" / "000_7267473fda50c120.txt"
CONF = 'extensions = ["atompaint_vae.notebook"]\nhtml_theme = "basic"\n'
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="120">'
    '<path d="M 10 110 L 290 10" stroke="black"/></svg>'
)
RATIOS = "run,latent,compression ratio\n2-layer,35x5x5x5,2.0\n3-layer,001,49.0\n"


@dataclass
class Notebook:
    """A small Sphinx project in a folder of its own."""

    source: Path
    root_doc: str = "index"

    def write(self, name, text):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def write_seed(self, folder="."):
        """The seed page, verbatim, and files of the names that it uses."""
        (self.source / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(SEED, self.source / folder / "seed.rst")
        self.write(f"{folder}/20241029_train_vae.svg", SVG)
        self.write(f"{folder}/20241217_train_vae.svg", SVG)
        self.write(f"{folder}/20241217_compression_ratios.csv", RATIOS)

    def build(self, builder="html", fresh=False):
        """The warnings of a build, and the folder of what it made."""
        out = self.source / "_build" / builder
        warning = io.StringIO()
        status = io.StringIO()
        with patch_docutils(str(self.source)), docutils_namespace():
            app = Sphinx(
                self.source, self.source, out, self.source / "_build" / "doctrees", builder,
                status=status, warning=warning, freshenv=fresh,
            )
            app.build()
        self.status = status.getvalue()
        return warning.getvalue(), out


@pytest.fixture
def notebook(tmp_path):
    source = tmp_path / "notebook"
    source.mkdir()
    (source / "conf.py").write_text(CONF, "utf-8")
    return Notebook(source)


@pytest.fixture
def real_notebook(tmp_path):
    """The repository's own configuration and index, with stubs of the pages that it lists."""
    notebook = Notebook(tmp_path / "notebook")
    notebook.write("docs/index.rst", (ROOT / "docs/index.rst").read_text("utf-8"))
    notebook.write("docs/compare.rst", (ROOT / "docs/compare.rst").read_text("utf-8"))
    notebook.write("docs/guide/index.rst", "Guide\n=====\n")
    notebook.write("docs/glossary.rst", "Glossary\n========\n")
    notebook.write("docs/api/index.rst", "Reference\n=========\n")
    notebook.write("conf.py", (ROOT / "conf.py").read_text("utf-8"))
    return notebook
