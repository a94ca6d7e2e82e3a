"""The directive ``.. datatable:: file``: a plain table that a script makes interactive."""

from functools import partial
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes

from ..core.problems import NotebookDirective, warn
from ..core.watch import check_content
from .cells import Table, TableError, format_number
from .readers import read_table
from .table_nodes import add_nodes, datatable, is_long, make_table_node


class DatatableDirective(NotebookDirective):
    """
    The table in a CSV, TSV, XLSX, ODS, Parquet or NestedText file.

    The first paragraph of the content is the caption; further ones go below the table. A
    NestedText file is a list of dictionaries, or a list of lists of which the first names the
    columns. Cells are shown as written: ``001``, ``1e5`` and ``NaN`` aren't converted.

    Cells of a spreadsheet are shown as the sheet shows them: percent, currencies, dates and
    durations, too. Sorting, filters, copies and downloads have the value itself, with all digits,
    and so has the tip of a cell. Hidden rows, columns and sheets stay hidden. The value of merged
    cells is in the first of them, and the others are empty. Errors such as ``#DIV/0!`` are shown. A
    formula without a stored value is shown itself, with a warning: save the file from a spreadsheet
    program.

    Click on a column's name to sort by it, and twice more to restore the order. A column of numbers
    may have units, uncertainties, bounds such as ``<0.001``, durations, thousands separators,
    decimal commas, and words for missing values such as ``N/A``. It is sorted by value, missing
    ones last. Units may be of several sizes: 900 MB is less than 1.5 GB. Text is sorted without
    case, its numbers by value: ``run 9`` before ``run 10``. Digits after a point are decimals:
    ``r=0.25`` comes before ``r=0.3``, and so ``v1.10`` before ``v1.9``.

    Filter columns of numbers by a condition such as ``> 0.5``, ``1..3`` or ``>= 90 min``. A number
    without a unit is in the column's first unit.

    file:      path, relative to the page's folder, or to the notebook's root if it begins with a
               slash
    sheet:     name of a spreadsheet's sheet; the first visible one by default
    range:     the cells to show, in a spreadsheet's notation: ``B2:D10``, ``B:D``, ``2:10``. The
               first row of the range has the names of the columns; the header of a CSV file is
               row 1.
    delimiter: of a CSV file: a character, or ``comma``, ``semicolon``, ``tab``, ``bar`` or
               ``space``. By default what a first line ``sep=;`` says, or else the only one of
               comma, semicolon and tab that makes several columns. Between semicolons, ``1,234``
               has a decimal comma.
    encoding:  of a CSV file; by default UTF-8, or what the file's byte-order mark says
    where:     a filter expression as of ``.. runs::``, with names of columns; other rows are left
               out. Names and values with spaces are in quotes: ``"wall time" < "90 min"``. Missing
               values fail every comparison.
    columns:   names of the columns to show, in this order, separated by commas. Quote a name that
               contains a comma.
    sort:      names of the columns to sort by, the primary key first; ``desc`` after a name sorts
               in descending order. The order is that of a click.
    format:    a Python format for all columns of numbers, such as ``.3f``; or a line ``name:
               format`` for each column. Copies and downloads have the text of the file.
    name:      a target for ``:ref:`` and ``:numref:``
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {  # noqa: RUF012  (docutils' way)
        "sheet": directives.unchanged_required,
        "range": directives.unchanged_required,
        "delimiter": directives.unchanged_required,
        "encoding": directives.unchanged_required,
        "columns": directives.unchanged_required,
        "where": directives.unchanged_required,
        "sort": directives.unchanged_required,
        "format": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def show(self) -> list[nodes.Node]:
        target = self.parse_path()
        relative, absolute = self.env.relfn2path(target)
        self.env.note_dependency(relative)
        check_content(self.env, target)
        file = Path(absolute)
        table, formats = self.read_table(file)
        first, rest = self.parse_caption()
        legend = [nodes.container("", *rest, classes=["datatable-legend"])] if rest else []
        table_node = make_table_node(table, with_rows=False)
        self.set_source_info(table_node)
        self.add_name(table_node)
        if first:
            caption = nodes.title(first.rawsource, "", *first.children)
            self.set_source_info(caption)
            table_node.insert(0, caption)
        wrapper = datatable(
            "",
            table_node,
            *legend,
            file=file.name,
            columns=len(table.header),
            rows=table.rows,
            formats={i: partial(format_number, spec=spec) for i, spec in formats.items()},
            path=f"/{relative}",
        )
        if is_long(len(table.rows), len(table.header)):
            link = nodes.literal("", file.name)
            rest = addnodes.download_reference("", "", link, reftarget=f"/{relative}")
            wrapper.insert(1, nodes.paragraph("", "", rest, classes=["datatable-rest"]))
        self.set_source_info(wrapper)
        return [wrapper]

    def read_table(self, file: Path) -> tuple[Table, dict[int, str]]:
        """
        Return the table with all options applied, and the formats of its columns.

        raises: TableError if the file can't be read, or an option doesn't fit it
        """
        options = (self.options.get(x) for x in ("sheet", "range", "delimiter", "encoding"))
        table = read_table(file, *options)
        for doubt in table.doubts:
            warn(f"{file.name}: {doubt}", self)
        try:
            if "where" in self.options:
                table = table.filter_rows(self.options["where"])
            if "sort" in self.options:
                table = table.sort_rows(self.options["sort"])
            if "columns" in self.options:
                table = table.select_columns(self.options["columns"])
            return table, table.read_formats(self.options.get("format", ""))
        except TableError as error:
            raise TableError(f"{file.name}: {error}") from None


def has_datatable(doctree: nodes.document | None) -> bool:
    """Return whether a page shows a table, and so needs the scripts."""
    return doctree is not None and next(iter(doctree.findall(datatable)), None) is not None


def add_scripts(app, pagename, templatename, context, doctree):
    """Add the scripts and styles of tables to pages that have any."""
    if app.builder.name == "epub" or not has_datatable(doctree):
        return
    app.add_css_file("datatables.css", priority=600)
    app.add_css_file("datatable.css", priority=610)
    for i, name in enumerate(["datatables", "table_rows", "table_files", "datatable"]):
        app.add_js_file(f"{name}.js", loading_method="defer", priority=600 + i)


def setup_component(app):
    add_nodes(app)
    app.add_directive("datatable", DatatableDirective)
    app.connect("html-page-context", add_scripts)
