"""The directive ``.. datatable:: file``: a plain table that a script then makes sortable.

The table is made of docutils' own nodes, so that each builder can write it; only
:class:`value` and :class:`datatable` are ours.
"""

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.utils import column_width
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .tables import Table, TableError, read_table

logger = logging.getLogger(__name__)

LONG_TABLE_ROWS = 30  # more than this must break across printed pages


class datatable(nodes.General, nodes.Element):
    """The wrapper of one table; ``file`` is the name of what it shows, ``path`` its path
    from the notebook's root, with a slash before it."""


class value(nodes.FixedTextElement):
    """A cell's text, of which neither quotes nor dollars are to be changed."""


class DatatableDirective(SphinxDirective):
    """
    The table in a CSV, TSV, XLSX or Parquet file.

    The file's path is relative to the page's folder, or to the notebook's root if it begins
    with a slash. The content is the caption; paragraphs after its first go below the table.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {  # noqa: RUF012  (docutils' way)
        "sheet": directives.unchanged_required,
        "range": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        relative, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        try:
            table = read_table(Path(absolute), self.options.get("sheet"), self.options.get("range"))
            caption, legend = self.parse_caption()
        except TableError as error:
            logger.warning("datatable: %s", error, location=self.get_location(), type="datatable")
            return [nodes.paragraph("", f"Table not shown: {error}", classes=["datatable-error"])]

        table_node = make_table_node(table)
        self.add_name(table_node)
        if caption:
            self.set_source_info(caption)
            table_node.insert(0, caption)
        wrapper = datatable("", table_node, *legend, file=Path(absolute).name)
        wrapper["path"] = f"/{relative}"
        self.set_source_info(wrapper)
        return [wrapper]

    def parse_caption(self) -> tuple[nodes.title | None, list[nodes.Node]]:
        """
        The caption's first paragraph, and what goes below the table.

        raises: TableError if the caption doesn't begin with a paragraph
        """
        if not self.content:
            return None, []
        first, *rest = self.parse_content_to_nodes()
        if not isinstance(first, nodes.paragraph):
            raise TableError(f"the caption must begin with a paragraph, not with a {first.tagname}")
        caption = nodes.title(first.rawsource, "", *first.children)
        return caption, [nodes.container("", *rest, classes=["datatable-legend"])] if rest else []


def make_table_node(table: Table) -> nodes.table:
    """The table as docutils' nodes; the cells of columns of numbers have a class."""
    classes = [["datatable-number"] if x else [] for x in table.find_number_columns()]

    def make_row(cells):
        # SmartQuotes leaves nodes alone that say so; its transform looks at the parents.
        return nodes.row(
            "",
            *(
                nodes.entry("", value("", text, support_smartquotes=False), classes=list(kind))
                for text, kind in zip(cells, classes, strict=True)
            ),
        )

    group = nodes.tgroup("", cols=len(table.header))
    for cells in zip(table.header, *table.rows, strict=True):
        # The text builder wraps at this width; the others are told to ignore it.
        group += nodes.colspec("", colwidth=max(1, *map(column_width, cells)))
    group += nodes.thead("", make_row(table.header))
    group += nodes.tbody("", *map(make_row, table.rows))
    node = nodes.table("", group, classes=["colwidths-auto"])
    if len(table.rows) > LONG_TABLE_ROWS:
        node["classes"].append("longtable")
    return node


def visit_datatable_html(self, node):
    self.body.append(self.starttag(node, "div", CLASS="datatable", **{"data-file": node["file"]}))


def depart_datatable_html(self, node):
    self.body.append("</div>\n")


def pass_over(self, node):
    """Nothing: the children write themselves."""


def visit_value_text(self, node):
    self.new_state(0)


def depart_value_text(self, node):
    self.end_state(wrap=False, end=None)


def has_datatable(doctree: nodes.document | None) -> bool:
    """Whether a page shows a table, and so needs the scripts."""
    return doctree is not None and next(iter(doctree.findall(datatable)), None) is not None


def add_scripts(app, pagename, templatename, context, doctree):
    """Nothing; a page with a table gets the scripts and the styles that bring it to life."""
    if app.builder.name == "epub" or not has_datatable(doctree):
        return
    app.add_css_file("datatables.css", priority=600)
    app.add_css_file("datatable.css", priority=610)
    app.add_js_file("datatables.js", loading_method="defer", priority=600)
    app.add_js_file("datatable.js", loading_method="defer", priority=610)


def setup_component(app):
    silent = (pass_over, pass_over)
    app.add_node(
        datatable,
        html=(visit_datatable_html, depart_datatable_html),
        latex=silent,
        text=silent,
        man=silent,
        texinfo=silent,
    )
    as_paragraph = (visit_value_text, depart_value_text)
    app.add_node(value, html=silent, latex=silent, text=as_paragraph, man=silent, texinfo=silent)
    app.add_directive("datatable", DatatableDirective)
    app.connect("html-page-context", add_scripts)
