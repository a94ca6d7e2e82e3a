"""
The directive ``.. reconstruction:: run``, and what all directives of stored images share: a
picture of slices, and a 3D view that a button opens.

Every builder shows the picture of slices. On HTML pages, a small script adds a button below it,
which loads the viewer and the images' densities. These are classic scripts, because browsers load
neither modules nor data from ``file://``.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives

from ...figures.colours import RESIDUAL_COLOURS, pick_colours
from ...figures.stored_crops import (
    StoredCrop,
    StoredImageError,
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


class StoredImagesDirective(NotebookDirective):
    """
    A figure of images that a run stored.

    A view is what ``viewer.js`` reads: title, panels (their titles), choice (what one chooses),
    colours of the channels, crops (as `write_script` returns them), and residualColours if the
    second panel is to equal the first.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def find_run(self, list_inputs: Callable[[Path], list[Path]]) -> Path:
        """Return the folder of the run, and note down the files that the page depends on."""
        relative, absolute = self.env.relfn2path(self.arguments[0])
        for path in list_inputs(Path(absolute)):
            self.env.note_dependency(str(Path(relative) / path.name))
        return Path(absolute)

    def find_folder(self) -> tuple[Path, str]:
        """Return the run's folder among the doctrees, and its key, which is its name there."""
        relative, _ = self.env.relfn2path(self.arguments[0])
        key = "/".join("_" if x == ".." else x for x in Path(relative).parts)
        folder = Path(self.env.doctreedir) / FOLDER / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder, key

    def make_nodes(
        self, picture: Path, description: str, channel_names: Sequence[str], view: dict
    ) -> list[nodes.Node]:
        """
        Return the picture with its caption, and the view.

        description: of the picture, for builders and readers that can't show it
        """
        # Relative to the root: Sphinx doesn't accept absolute paths.
        uri = "/" + Path(os.path.relpath(picture, self.env.srcdir)).as_posix()
        image = nodes.image(uri=uri, alt=description)
        figure = nodes.figure("", image)
        self.set_source_info(image)
        self.set_source_info(figure)
        first, rest = self.parse_caption()
        if first:
            figure += nodes.caption(first.rawsource, "", *first.children)
            figure += nodes.legend("", *rest) if rest else []
        self.add_name(figure)
        colours = dict(zip(channel_names, pick_colours(channel_names), strict=True))
        wrapper = reconstruction("", figure, view={**view, "colours": colours})
        self.set_source_info(wrapper)
        return [wrapper]


class ReconstructionDirective(StoredImagesDirective):
    """
    The test crops that a run stored, each beside its reconstruction.

    The first paragraph of the content is the caption; further ones go below the picture.

    run:   the run's folder, relative to the page's folder, or to the notebook's root if it begins
           with a slash
    crops: which crops to show, in this order, separated by commas, such as ``worst, best``
    name:  a target for ``:ref:`` and ``:numref:``
    """

    option_spec = {  # noqa: RUF012  (docutils' way)
        "crops": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def show(self) -> list[nodes.Node]:
        run = self.find_run(list_inputs)
        crops = choose_crops(read_crops(run), self.options.get("crops"))
        folder, key = self.find_folder()
        picture = folder / f"{name_picture(run, [x.rank for x in crops])}.png"
        picture.write_bytes(render_picture(crops))
        scripts = []
        for crop in crops:
            label = f"{crop.rank}: {crop.structure}, R² = {crop.r2:.2f}"
            packed = pack_crop(crop)
            scripts.append(write_script(packed, folder, f"{key}/{crop.sample_index}.js", label))
        view = {
            "title": f"Reconstructions of {run.name}",
            "panels": ["Input", "Reconstruction"],
            "choice": "Crop",
            "residualColours": RESIDUAL_COLOURS,
            "crops": scripts,
        }
        description = "; ".join(
            f"{x.rank}: {x.structure}, R² = {x.r2:.2f}, {describe_blocks(x.blocks)}" for x in crops
        )
        description = f"Slices of inputs and reconstructions. {description}."
        return self.make_nodes(picture, description, crops[0].channel_names, view)


def name_picture(run: Path, parts: Sequence[str]) -> str:
    """Return the name of a picture's file: its experiment, its run and what it shows."""
    return "-".join([run.parent.parent.name, run.name, *parts])


def render_picture(crops: list[StoredCrop]) -> bytes:
    """Return the slices of some crops as a PNG."""
    # matplotlib is slow to import, and most builds draw nothing.
    from ...figures.slices import draw_crops
    from ...figures.style import render_figure

    return render_figure(draw_crops(crops, show_blocks=True), "png", dpi=DOTS_PER_INCH)


def choose_crops(crops: list[StoredCrop], ranks: str | None) -> list[StoredCrop]:
    """
    Return the crops of some ranks, such as "worst, best", in that order; all by default.

    raises: StoredImageError for an unknown rank
    """
    if ranks is None:
        return crops
    by_rank = {crop.rank: crop for crop in crops}
    chosen = [x.strip() for x in ranks.split(",")]
    for rank in chosen:
        if rank not in by_rank:
            hint = "; separate crops by commas" if " " in rank else ""
            known = ", ".join(by_rank)
            raise StoredImageError(f"no crop {rank!r}; known: {known}{hint}")
    return [by_rank[rank] for rank in chosen]


def write_script(packed: tuple[str, float], folder: Path, key: str, label: str) -> dict:
    """
    Write packed images as a script, and return what the page needs to load it.

    packed: as `pack_images` returns them
    folder: of the run, among the doctrees
    key:    the script's place among those of all runs
    label:  what readers choose it by
    """
    text, step = packed
    script = f"AtompaintCrops[{json.dumps(key)}]={text};\n"
    (folder / Path(key).name).write_text(script, "utf-8")
    # The address changes with the content, so that caches don't serve an old script.
    digest = hashlib.sha256(script.encode()).hexdigest()[:8]
    return {
        "key": key,
        "version": digest,
        "bytes": len(script),
        "label": label,
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
    """Add the script that opens the 3D view to pages with stored images."""
    if app.builder.name == "epub" or doctree is None:
        return
    if next(iter(doctree.findall(reconstruction)), None) is not None:
        app.add_css_file("reconstruction.css", priority=610)
        app.add_js_file("reconstruction.js", loading_method="defer", priority=610)


def setup_component(app):
    add_html_node(app, reconstruction, visit_reconstruction_html, depart_reconstruction_html)
    app.add_directive("reconstruction", ReconstructionDirective)
    app.connect("html-page-context", add_scripts)
