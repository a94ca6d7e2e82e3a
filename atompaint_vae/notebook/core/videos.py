"""The directive ``.. video:: file``: a player, or a link in formats that can't play."""

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes

from .nodes import add_html_node, pass_over
from .problems import NotebookDirective
from .watch import check_content


class video(nodes.General, nodes.Element):
    """A player; its child is a link to the file, for browsers that can't play it."""


class VideoDirective(NotebookDirective):
    """
    A video with controls; in print and in text, a link to the file.

    The content is the caption. Browsers play MP4 (H.264) and WebM.

    file: path, relative to the page's folder, or to the notebook's root if it begins with a slash
    name: a target for ``:ref:`` and ``:numref:``
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {"name": directives.unchanged}  # noqa: RUF012

    def show(self) -> list[nodes.Node]:
        target = self.parse_path()
        relative, absolute = self.env.relfn2path(target)
        self.env.note_dependency(relative)
        check_content(self.env, target)
        if not Path(absolute).is_file():
            raise ValueError(f"no such file: {target}")
        link = addnodes.download_reference(
            "", "", nodes.literal("", Path(target).name), reftarget=target
        )
        self.set_source_info(link)
        figure = nodes.figure("", video("", link))
        self.set_source_info(figure)
        first, rest = self.parse_caption()
        if first:
            figure += nodes.caption(first.rawsource, "", *first.children)
            if rest:
                figure += nodes.legend("", *rest)
        self.add_name(figure)
        return [figure]


def visit_video_html(self, node):
    link = node[0]
    if "filename" not in link:
        return  # Sphinx has warned that the file isn't there
    uri = f"{self.builder.dlpath}/{link['filename']}"
    self.body.append(
        self.starttag(node, "video", "", controls="", preload="metadata", src=uri, playsinline="")
    )


def depart_video_html(self, node):
    if "filename" in node[0]:
        self.body.append("</video>\n")


def visit_video_text(self, node):
    self.new_state(0)


def depart_video_text(self, node):
    self.end_state()


def visit_video_latex(self, node):
    self.body.append("\n\nVideo: ")


def setup_component(app):
    latex, text = (visit_video_latex, pass_over), (visit_video_text, depart_video_text)
    add_html_node(app, video, visit_video_html, depart_video_html, latex=latex, text=text)
    app.add_directive("video", VideoDirective)
