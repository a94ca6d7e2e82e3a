"""The directive ``.. runsheet::``: everything that an experiment's folder holds, on one page."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.parsing import nested_parse_to_nodes

from ...config.hparams import HparamsError
from ...config.trials import TRIALS
from ...figures.provenance.drawings import FILE_NAME, ProvenanceError, load_provenance
from ...records.experiment import Experiment
from ...records.find import UnknownRunError
from ...records.metrics import MetricsError
from ...records.properties import load_numbers
from ...records.record import RecordError, RunRecord, describe_damage, load_record
from ...text.located import LocatedError, read_text
from ..core.problems import NotebookDirective, note_damages
from ..core.watch import watch_files
from ..tables.cells import Table
from .backlinks import backlinks
from .sheet_text import (
    make_redo,
    make_runs_table,
    make_section,
    make_table,
    quote,
    round_number,
    write_name,
)
from .sheets import NOTES, SHEET, find_sibling, make_anchor

HPARAMS = "hparams.nt"
LISTING = "atompaint_sheet"  # what the folder held when the page was read
FIGURES = (".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp")
TABLES = (".csv", ".tsv", ".xlsx", ".ods", ".parquet")
SCRIPTS = (".py", ".sh")
SHOWS_FILE = re.compile(r"\.\. (?:figure|datatable|literalinclude):: (.+)")


class RunSheetDirective(NotebookDirective):
    """The runs, hyperparameters, figures, tables and scripts of the page's folder."""

    def show(self) -> list[nodes.Node]:
        self.folder = Path(self.env.doc2path(self.env.docname)).parent
        self.path = self.env.docname.rpartition("/")[0]
        if self.path not in (f"expts/{x}" for x in self.env.atompaint_experiments):
            text = "the page isn't in an experiment's folder, such as expts/20241217_train_vae"
            raise UnknownRunError(text)
        self.env.metadata[self.env.docname][LISTING] = list_folder(self.folder)
        watch_files(self.env, list_read(self.folder))
        records, damages = self.load_records()
        lines = [
            *make_section("Runs", [*make_runs_table(records, damages), *self.make_test_table()]),
            *make_section("Redo", make_redo(self.path, records, self.find_commands())),
            *make_section("Hyperparameters", self.make_listing((HPARAMS, TRIALS), "nestedtext")),
            *make_section("Figures and tables", self.make_outputs()),
            *make_section("Scripts", self.make_listing(SCRIPTS, None)),
        ]
        links = self.parse_text_to_nodes("\n".join(self.make_links()))
        content = nested_parse_to_nodes(self.state, self.locate(lines))
        mark_runs(content, [*records, *damages])
        align_numbers(content)
        return [*links, backlinks(), *content]

    def locate(self, lines: list[str]) -> StringList:
        """The same lines; to be warned of at the file that they show, if they show one."""
        page, _ = self.get_source_info()
        source, places = page, []
        for line in "\n".join(lines).split("\n"):
            if line and line[0] != " ":
                match = SHOWS_FILE.match(line)
                source = str(self.folder / match[1].replace("\\", "")) if match else page
            places.append((line, source))
        return StringList([line for line, _ in places], items=[(x, 0) for _, x in places])

    def make_links(self) -> list[str]:
        name = f"``{self.path}``"
        if find_sibling(self.env.docname, NOTES) not in self.env.found_docs:
            return [f"All that is in {name}, which has no notes of its own.", ""]
        return [f"All that is in {name}; what came of it: :doc:`{NOTES}`.", ""]

    def load_records(self) -> tuple[dict[str, RunRecord | None], dict[str, str]]:
        """The record of each run, None if it never began; what is wrong with those that can't be
        read."""
        expt = Experiment(self.folder)
        try:
            names = list(expt.load_hparams()) if expt.hparams_path.exists() else []
        except HparamsError as error:
            note_damages(self.env, str(error))
            names = []
        began = sorted(x.parent.name for x in (self.folder / "runs").glob("*/record.nt"))
        records, damages = {}, {}
        for name in [*names, *(x for x in began if x not in names)]:
            records[name] = None
            paths = expt.get_run_paths(name)
            if name in began:
                try:
                    records[name] = load_record(paths.record)
                except RecordError as error:
                    del records[name]
                    damages[name] = describe_damage([error], paths.run_dir)
                    note_damages(self.env, f"{paths.run_dir}/{damages[name]}")
        return records, damages

    def make_test_table(self) -> list[str]:
        """The metrics of the test structures."""
        tables = {}
        for path in sorted((self.folder / "runs").glob("*/test.csv")):
            try:
                columns = load_numbers(path)
            except MetricsError as error:
                note_damages(self.env, str(error))
                continue
            tables[path.parent.name] = {
                name: round_number(values[-1])
                for name, values in columns.items()
                if name != "step" and values and values[-1] is not None
            }
        columns = list(dict.fromkeys(key for row in tables.values() for key in row))
        if not columns:
            return []
        rows = [[name, *(row.get(x, "") for x in columns)] for name, row in tables.items()]
        return ["On the test structures, with the weights of the best validation:", "",
                *make_table(["run", *columns], rows)]  # fmt: skip

    def find_commands(self) -> list[str]:
        """The commands that wrote the folder's figures and tables."""
        try:
            return list(load_provenance(self.folder))
        except ProvenanceError as error:
            note_damages(self.env, str(error))
            return []

    def make_outputs(self) -> list[str]:
        lines = []
        for path in list_files(self.folder, FIGURES):
            # docutils drops the blanks of an address, unless they are escaped.
            address = re.sub(r"(\s)", r"\\\1", path.name)
            lines += [f".. figure:: {address}", "", f"   {write_name(path.name)}", ""]
        for path in list_files(self.folder, TABLES):
            lines += [f".. datatable:: {path.name}", "", f"   {write_name(path.name)}", ""]
        return lines

    def make_listing(self, endings: tuple[str, ...], language: str | None) -> list[str]:
        lines = []
        for path in list_files(self.folder, endings):
            try:
                read_text(path)
            except LocatedError as error:
                watch_files(self.env, [path])
                note_damages(self.env, str(error))
                lines += [f"Not shown: {quote(str(error))}", ""]
                continue
            caption = quote(path.name)
            lines += [f".. literalinclude:: {path.name}"]
            lines += [f"   :language: {language}"] if language else [f"   :caption: {caption}"]
            lines += [""]
        return lines


def list_files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    names = (x.name for x in os.scandir(folder))
    return [folder / x for x in sorted(names) if x.endswith(endings) and x[0] not in "._"]


def list_folder(folder: Path) -> list[str]:
    """The names of all that a sheet shows, and of its runs."""
    shown = [x.name for x in list_files(folder, (*FIGURES, *TABLES, *SCRIPTS, ".nt"))]
    return shown + list_runs(folder)


def list_runs(folder: Path) -> list[str]:
    runs = folder / "runs"
    return sorted(x.name for x in os.scandir(runs)) if runs.is_dir() else []


def list_read(folder: Path) -> list[Path]:
    """The files that a sheet says something about, those that may come, too."""
    expt = Experiment(folder)
    runs = map(expt.get_run_paths, list_runs(folder))
    of_runs = (path for run in runs for path in (run.record, run.test_metrics))
    return [expt.hparams_path, folder / TRIALS, folder / FILE_NAME, *of_runs]


def mark_runs(content: list[nodes.Node], names: Sequence[str]) -> None:
    """Nothing; links lead to the row of each run."""
    tables = (table for node in content for table in node.findall(nodes.table))
    body = next(next(tables).findall(nodes.tbody)) if names else ()
    for row, name in zip(body, names, strict=True):
        row[0][0].insert(0, nodes.target("", "", ids=[make_anchor(name)]))


def align_numbers(content: list[nodes.Node]) -> None:
    """Nothing; cells in columns of numbers have a class."""
    for table in (x for node in content for x in node.findall(nodes.table)):
        if "sheet-table" in table["classes"]:
            header, *rows = ([x.astext() for x in row] for row in table.findall(nodes.row))
            are_numbers = Table(header, rows).find_number_columns()
            for row in table.findall(nodes.row):
                for entry, is_number in zip(row, are_numbers, strict=True):
                    entry["classes"] += ["num"] * is_number


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """The sheets whose folder has gained or lost something."""
    return [
        page
        for page, metadata in env.metadata.items()
        if LISTING in metadata and page.endswith(f"/{SHEET}") and page in env.found_docs
        and list_folder(Path(env.doc2path(page)).parent) != metadata[LISTING]
    ]  # fmt: skip


def setup_component(app):
    app.add_directive("runsheet", RunSheetDirective)
    app.connect("env-get-outdated", find_outdated)
