"""
The directive ``.. reconstruction:: run``: slices, and a 3D view that a button opens.

Every builder shows the picture of slices. On HTML pages, a small script adds a button below it,
which loads the viewer and the crops' densities. These are classic scripts, because browsers load
neither modules nor data from ``file://``.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives

from ...figures.colours import RESIDUAL_COLOURS, pick_colours
from ...figures.stored_crops import (
    ReconstructionError,
    StoredCrop,
    describe_blocks,
    list_inputs,
    read_crops,
)
from ..core.nodes import add_html_node
from ..core.problems import NotebookDirective
from .packing import pack_crop

DOTS_PER_INCH = 144
FOLDER = "reconstructions"
"""The folder of pictures and scripts, among the doctrees and in the pages' ``_static``."""


class reconstruction(nodes.General, nodes.Element):
    """A figure of slices; ``view`` is the data for the script."""


class ReconstructionDirective(NotebookDirective):
    """
    The test crops that a run stored, each beside its reconstruction.

    The first paragraph of the content is the caption; further ones go below the picture.

    run:   the run's folder, relative to the page's folder, or to the notebook's root if it begins
           with a slash
    crops: which crops to show, in this order, separated by commas, such as ``worst, best``
    name:  a target for ``:ref:`` and ``:numref:``
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {  # noqa: RUF012  (docutils' way)
        "crops": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def show(self) -> list[nodes.Node]:
        relative, absolute = self.env.relfn2path(self.arguments[0])
        run = Path(absolute)
        for path in list_inputs(run):
            self.env.note_dependency(str(Path(relative) / path.name))
        crops = choose_crops(read_crops(run), self.options.get("crops"))
        key = "/".join("_" if x == ".." else x for x in Path(relative).parts)
        folder = Path(self.env.doctreedir) / FOLDER / key
        folder.mkdir(parents=True, exist_ok=True)
        name = "-".join([run.parent.parent.name, run.name, *(crop.rank for crop in crops)])
        picture = folder / f"{name}.png"
        picture.write_bytes(render_picture(crops))
        view = {
            "title": run.name,
            "colours": dict(
                zip(crops[0].channel_names, pick_colours(crops[0].channel_names), strict=True)
            ),
            "residualColours": RESIDUAL_COLOURS,
            "crops": [write_script(crop, folder, key) for crop in crops],
        }
        figure = self.make_figure(picture, crops)
        wrapper = reconstruction("", figure, view=view)
        self.set_source_info(wrapper)
        return [wrapper]

    def make_figure(self, picture: Path, crops: list[StoredCrop]) -> nodes.figure:
        """Return the picture with its caption."""
        # Relative to the root: Sphinx doesn't accept absolute paths.
        uri = "/" + Path(os.path.relpath(picture, self.env.srcdir)).as_posix()
        description = "; ".join(
            f"{x.rank}: {x.structure}, R² = {x.r2:.2f}, {describe_blocks(x.blocks)}" for x in crops
        )
        image = nodes.image(uri=uri, alt=f"Slices of inputs and reconstructions. {description}.")
        figure = nodes.figure("", image)
        self.set_source_info(image)
        self.set_source_info(figure)
        first, rest = self.parse_caption()
        if first:
            figure += nodes.caption(first.rawsource, "", *first.children)
            figure += nodes.legend("", *rest) if rest else []
        self.add_name(figure)
        return figure


def render_picture(crops: list[StoredCrop]) -> bytes:
    """Return the slices of some crops as a PNG."""
    # matplotlib is slow to import, and most builds draw nothing.
    from ...figures.slices import draw_crops
    from ...figures.style import render_figure

    return render_figure(draw_crops(crops, show_blocks=True), "png", dpi=DOTS_PER_INCH)


def choose_crops(crops: list[StoredCrop], ranks: str | None) -> list[StoredCrop]:
    """
    Return the crops of some ranks, such as "worst, best", in that order; all by default.

    raises: ReconstructionError for an unknown rank
    """
    if ranks is None:
        return crops
    by_rank = {crop.rank: crop for crop in crops}
    chosen = [x.strip() for x in ranks.split(",")]
    for rank in chosen:
        if rank not in by_rank:
            hint = "; separate crops by commas" if " " in rank else ""
            known = ", ".join(by_rank)
            raise ReconstructionError(f"no crop {rank!r}; known: {known}{hint}")
    return [by_rank[rank] for rank in chosen]


def write_script(crop: StoredCrop, folder: Path, run: str) -> dict:
    """Write the script of a crop to the folder, and return what the page needs to load it."""
    packed, step = pack_crop(crop)
    name = f"{crop.sample_index}.js"
    key = f"{run}/{name}"
    script = f"AtompaintCrops[{json.dumps(key)}]={packed};\n"
    (folder / name).write_text(script, "utf-8")
    # The address changes with the content, so that caches don't serve an old script.
    digest = hashlib.sha256(script.encode()).hexdigest()[:8]
    return {
        "key": key,
        "version": digest,
        "bytes": len(script),
        "label": f"{crop.rank}: {crop.structure}, R² = {crop.r2:.2f}",
        "precision": f"1/{round(1 / step)}",
    }


def visit_reconstruction_html(self, node):
    attributes = {"data-view": json.dumps(node["view"], separators=(",", ":"))}
    if self.builder.name != "epub":
        target = Path(self.builder.outdir) / "_static" / FOLDER
        for crop in node["view"]["crops"]:
            path = target / crop["key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(self.builder.env.doctreedir) / FOLDER / crop["key"], path)
    self.body.append(self.starttag(node, "div", CLASS="reconstruction", **attributes))


def depart_reconstruction_html(self, node):
    self.body.append("</div>\n")


def add_scripts(app, pagename, templatename, context, doctree):
    """Add the script that opens the 3D view to pages with reconstructions."""
    if app.builder.name == "epub" or doctree is None:
        return
    if next(iter(doctree.findall(reconstruction)), None) is not None:
        app.add_css_file("reconstruction.css", priority=610)
        app.add_js_file("reconstruction.js", loading_method="defer", priority=610)


def setup_component(app):
    add_html_node(app, reconstruction, visit_reconstruction_html, depart_reconstruction_html)
    app.add_directive("reconstruction", ReconstructionDirective)
    app.connect("html-page-context", add_scripts)
