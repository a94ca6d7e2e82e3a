"""Figures: enlarged by a click in HTML; in LaTeX, which can't include SVG, converted.

Sphinx passes a figure that is named with its suffix on to LaTeX, without a warning.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)

CONVERTERS = {
    "rsvg-convert": ["--format", "pdf", "--output", "{pdf}", "{svg}"],
    "inkscape": ["--export-type=pdf", "--export-filename={pdf}", "{svg}"],
}


class ConvertSvg(SphinxPostTransform):
    """A PDF in the place of each SVG, or its name if there is no converter."""

    default_priority = 90  # before Sphinx, at 100, looks at pictures
    formats = ("latex",)

    def run(self, **kwargs):
        for node in list(self.document.findall(nodes.image)):
            if not node["uri"].endswith(".svg"):
                continue
            svg = Path(self.env.srcdir) / node["candidates"].get("image/svg+xml", node["uri"])
            if not svg.is_file():
                continue  # Sphinx has warned of it
            pdf = self._convert(svg)
            if pdf is None:
                logger.info("no SVG converter for %s: only its name is printed", svg.name)
                node.replace_self(nodes.literal("", svg.name))
            else:
                node["candidates"] = {"application/pdf": str(pdf)}
                node["uri"] = str(pdf)
                self.env.images.add_file(self.env.docname, str(pdf))

    def _convert(self, svg: Path) -> Path | None:
        digest = hashlib.sha256(svg.read_bytes()).hexdigest()[:16]
        pdf = Path(self.env.doctreedir) / "pdf" / f"{svg.stem}-{digest}.pdf"
        for name, arguments in CONVERTERS.items():
            if program := shutil.which(name):
                pdf.parent.mkdir(parents=True, exist_ok=True)
                filled = [x.format(svg=svg, pdf=pdf) for x in arguments]
                subprocess.run([program, *filled], check=True, capture_output=True)
                return pdf
        return None


def add_script(app, pagename, templatename, context, doctree):
    """Nothing; a page with a figure gets the script that enlarges it."""
    has_figure = doctree is not None and next(iter(doctree.findall(nodes.figure)), None) is not None
    if has_figure and app.builder.name != "epub":
        app.add_js_file("figures.js", loading_method="defer")


def setup_component(app):
    app.add_post_transform(ConvertSvg)
    app.connect("html-page-context", add_script)
