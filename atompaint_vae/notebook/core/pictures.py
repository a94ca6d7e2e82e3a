"""
Pictures: a click enlarges them in HTML, LaTeX gets PDF for SVG, and missing ones are named.

LaTeX can't include SVG, but Sphinx passes on an SVG that a page names, without a warning.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from .problems import make_notice
from .watch import check_content

logger = logging.getLogger(__name__)

CONVERTERS = {
    "rsvg-convert": ["--format", "pdf", "--output", "{pdf}", "{svg}"],
    "inkscape": ["--export-type=pdf", "--export-filename={pdf}", "{svg}"],
}


class NameMissing(SphinxPostTransform):
    """Put a notice in the place of each missing picture: its name, and why it is missing."""

    default_priority = 80  # before all other transforms of pictures

    def run(self, **kwargs):
        for node in list(self.document.findall(nodes.image)):
            reason = self._explain(node)
            if reason and not isinstance(node.parent, nodes.substitution_definition):
                spot = node.parent if isinstance(node.parent, nodes.reference) else node
                is_in_text = isinstance(spot.parent, nodes.TextElement)
                spot.replace_self(make_notice(reason, is_in_text=is_in_text))

    def _explain(self, node: nodes.image) -> str | None:
        candidates = node.get("candidates", {"?": node["uri"]})
        if "?" in candidates:  # not a file, or made by the build
            return None
        is_known = any(x in self.env.images for x in candidates.values())
        target = node.get("original_uri") or f"/{node['uri']}"
        try:
            check_content(self.env, target)
        except (ValueError, OSError) as error:
            if is_known:  # otherwise Sphinx has warned of it
                logger.warning("image: %s", error, location=node, type="image")
            return str(error)
        return None if is_known else f"no such file: {PurePosixPath(target).name}"


class ConvertSvg(SphinxPostTransform):
    """Replace each SVG by a PDF, or by its name if no converter is installed."""

    default_priority = 90  # before Sphinx collects pictures, at 100
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
    """Add the script that enlarges figures to pages that have any."""
    has_figure = doctree is not None and next(iter(doctree.findall(nodes.figure)), None) is not None
    if has_figure and app.builder.name != "epub":
        app.add_js_file("figures.js", loading_method="defer")


def setup_component(app):
    app.add_post_transform(NameMissing)
    app.add_post_transform(ConvertSvg)
    app.connect("html-page-context", add_script)
