"""
Tables as docutils' nodes, and how each builder writes them.

Rows are made only when a page is written. For a long table, an HTML page has the first rows, and a
script beside it has all. HTML rows aren't nodes, because making, searching and writing nodes would
take longer than the rest of the page.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from docutils import nodes
from docutils.utils import column_width
from sphinx.util.osutil import relative_uri

from ..core.nodes import add_html_node
from .cells import Cell, Table

LONG_TABLE_ROWS = 30  # longer tables must break across printed pages
CELLS_IN_PAGE = 1_000  # the rows of larger tables go into a script beside the page
ROWS_IN_PAGE = 25  # rows of such a table in the page; the script shows as many at first
ROWS_IN_PRINT = 1_000

Format = Callable[[str], str]
"""A function from a cell to the text that is shown; must be picklable."""


class datatable(nodes.General, nodes.Element):
    """
    The wrapper of one table.

    file:    the name of the file that it shows
    path:    the path of that file, from the notebook's root with a slash before it, if it exists
    columns: the number of columns
    rows:    the cells as in the file, if the table's own rows are still to be made
    formats: the formats of columns, by index; other columns are shown as they are
    script:  the script with all rows, if the page doesn't have all of them
    """


class value(nodes.FixedTextElement):
    """
    A cell's text, in which quotes and dollar signs aren't converted.

    written: the text in the file, if the cell shows a different one
    """


def make_table_node(
    table: Table, formats: Mapping[int, Format] = MappingProxyType({}), with_rows: bool = True
) -> nodes.table:
    """
    Return the table as docutils' nodes; cells in columns of numbers have a class.

    The node's `keys` are what the columns sort by, by index, for the browser.
    """
    group = nodes.tgroup("", cols=len(table.header))
    group += [nodes.colspec("", colwidth=1) for _ in table.header]
    classes = [["num"] if x else [] for x in table.find_number_columns()]
    group += nodes.thead("", _make_row(table.header, table.header, classes))
    group += nodes.tbody("")
    keys = {i: packed for i, column in enumerate(table.columns) if (packed := column.pack())}
    node = nodes.table("", group, classes=["colwidths-auto"], keys=keys)
    if len(table.rows) > LONG_TABLE_ROWS:
        node["classes"].append("longtable")
    if with_rows:
        add_rows(node, table.rows, formats)
    return node


def add_rows(table: nodes.table, rows: list[list[str]], formats: Mapping[int, Format]):
    """Add rows to a table, and widen its columns for them."""
    header = next(iter(table.findall(nodes.thead)))[0]
    body = next(iter(table.findall(nodes.tbody)))
    classes = [entry["classes"] for entry in header]
    for cells in rows:
        body += _make_row(cells, _format_row(cells, formats), classes)
    columns = zip(header, *body, strict=True)
    for colspec, column in zip(table.findall(nodes.colspec), columns, strict=True):
        # The text builder wraps at this width; others ignore it, given the class of the table.
        colspec["colwidth"] = max(1, *(column_width(x.astext()) for x in column))


def add_html_rows(table: nodes.table, rows: list[list[str]], formats: Mapping[int, Format]):
    """
    Add rows to a table as HTML.

    A cell that shows a different text than the file also has that of the file. Cells have no
    class, which would take more bytes than most of them: the header says which columns are numbers.
    """
    lines = []
    for cells in rows:
        lines.append("<tr>")
        for cell, shown in zip(cells, _format_row(cells, formats), strict=True):
            text = escape(shown, quote=False)
            if shown != cell:
                text = f"{_make_data_tag(cell)}{text}</data>"
            lines.append(f"<td>{text}</td>")
        lines.append("</tr>")
    body = next(iter(table.findall(nodes.tbody)))
    body += nodes.raw("", "\n".join(lines), format="html")


def _make_data_tag(written: str) -> str:
    return '<data title="{0}" value="{0}">'.format(escape(written))


def _format_row(cells: Sequence[str], formats: Mapping[int, Format]) -> list[str]:
    return [_format_cell(x, formats.get(i)) for i, x in enumerate(cells)]


def _format_cell(cell: str, show: Format | None) -> str:
    shown = show(cell) if show else cell
    return cell.shown if shown == cell and isinstance(cell, Cell) else shown


def _make_row(cells: list[str], shown: list[str], classes: list[list[str]]) -> nodes.row:
    row = nodes.row()
    for cell, text, kind in zip(cells, shown, classes, strict=True):
        # SmartQuotes skips nodes with this attribute.
        node = value("", text, support_smartquotes=False)
        if text != cell:
            node["written"] = cell
        row += nodes.entry("", node, classes=list(kind))
    return row


def is_long(num_rows: int, num_columns: int) -> bool:
    """Return whether a table has too many rows for a page."""
    return num_rows * num_columns > CELLS_IN_PAGE


def fill_tables(app, doctree, docname):
    """Give each table of a page its rows; of a long table, only the first."""
    is_html = app.builder.format == "html"
    is_page = is_html and app.builder.name != "epub"
    add = add_html_rows if is_html else add_rows
    for number, node in enumerate(doctree.findall(datatable)):
        if "rows" not in node:
            continue
        rows, formats = node.attributes.pop("rows"), node.attributes.pop("formats")
        shown = rows
        if "path" in node and is_long(len(rows), node["columns"]):
            shown = rows[: ROWS_IN_PAGE if is_page else ROWS_IN_PRINT]
            if is_page:
                path = f"_static/datatables/{docname}-{number}.js"
                keys = next(iter(node.findall(nodes.table)))["keys"]
                write_script(Path(app.outdir, path), rows, formats, keys)
                node["script"] = path
        add(next(iter(node.findall(nodes.table))), shown, formats)
        for rest in [x for x in node if "datatable-rest" in x["classes"]]:
            if len(shown) == len(rows):
                node.remove(rest)
            else:
                rest.insert(0, nodes.Text(f"The first {len(shown):,} of {len(rows):,} rows; all: "))


def write_script(
    path: Path, rows: list[list[str]], formats: Mapping[int, Format], keys: Mapping[int, dict]
):
    """Write all rows as a script: from file://, browsers load scripts but no data."""
    shown = {}
    for i, column in enumerate(zip(*rows, strict=True)):
        if i in formats or any(isinstance(x, Cell) for x in column):
            shown[i] = [_format_cell(x, formats.get(i)) for x in column]
    data = dump_json([rows, shown, keys])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"NotebookTable.receive({data});\n", "utf-8")


def dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def visit_datatable_html(self, node):
    data = {"data-file": node["file"]}
    if "script" in node:
        page = self.builder.get_target_uri(self.builder.current_docname)
        data["data-rows"] = relative_uri(page, quote(node["script"]))
    elif keys := next(iter(node.findall(nodes.table))).get("keys"):
        data["data-keys"] = dump_json(keys)
    self.body.append(self.starttag(node, "div", CLASS="datatable", **data))


def depart_datatable_html(self, node):
    self.body.append("</div>\n")


def visit_value_html(self, node):
    # The tag of the cell itself is already written.
    if "written" in node:
        self.body.append(_make_data_tag(node["written"]))


def depart_value_html(self, node):
    if "written" in node:
        self.body.append("</data>")


def visit_value_text(self, node):
    self.new_state(0)


def depart_value_text(self, node):
    self.end_state(wrap=False, end=None)


def add_nodes(app):
    """Register the nodes of tables, and how each builder writes them."""
    add_html_node(app, datatable, visit_datatable_html, depart_datatable_html)
    text = (visit_value_text, depart_value_text)
    add_html_node(app, value, visit_value_html, depart_value_html, text=text)
    app.connect("doctree-resolved", fill_tables)
