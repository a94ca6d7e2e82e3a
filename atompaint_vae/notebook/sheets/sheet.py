"""The directive ``.. runsheet::``: everything in an experiment's folder, on one page."""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.parsing import nested_parse_to_nodes

from ...config.hparams import HparamsError
from ...config.trials import TRIALS, load_trials
from ...figures.provenance.drawings import FILE_NAME, ProvenanceError, load_provenance
from ...models.kind import get_symbol, list_kinds
from ...records.experiment import Experiment
from ...records.find import UnknownRunError
from ...records.metrics import MetricsError
from ...records.properties import load_numbers
from ...records.record import (
    UNREADABLE,
    RecordError,
    RunRecord,
    describe_damage,
    load_record,
)
from ...text.formats import (
    format_exact_time,
    format_hparam,
    format_size,
    name_size,
    round_number,
)
from ...text.located import LocatedError, read_text
from ..core.problems import NotebookDirective, note_damages
from ..core.watch import watch_files
from ..tables.cells import Table
from ..tables.table_nodes import datatable
from .pages import NOTES, SHEET, backlinks, find_sibling, make_anchor, name_sheet

HPARAMS = "hparams.nt"
LISTING = "atompaint_sheet"  # the content of the folder when the page was read
FIGURES = (".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp")
TABLES = (".csv", ".tsv", ".xlsx", ".ods", ".parquet")
SCRIPTS = (".py", ".sh")
OF = "sheet-of-"  # before a table's name, in a class of it
SHOWS_FILE = re.compile(r"\.\. (?:figure|datatable|literalinclude):: (.+)")


class RunSheetDirective(NotebookDirective):
    """The runs, hyperparameters, figures, tables and scripts of the page's folder."""

    def show(self) -> list[nodes.Node]:
        self.folder = Path(self.env.doc2path(self.env.docname)).parent
        self.path = self.env.docname.rpartition("/")[0]
        sheets = (name_sheet(self.env.srcdir, x) for x in self.env.atompaint_experiments)
        if self.env.docname not in sheets:
            text = "the page isn't in an experiment's folder, such as expts/20241217_train_vae"
            raise UnknownRunError(text)
        self.env.metadata[self.env.docname][LISTING] = list_folder(self.folder)
        watch_files(self.env, list_read(self.folder))
        records, damages = self.load_records()
        lines = [
            *make_section("Runs", [*make_runs_table(records, damages), *self.make_test_table()]),
            *make_section("Redo", make_redo(self.path, records, self.find_commands())),
            *make_section("Hyperparameters", self.make_listing((HPARAMS,), "nestedtext")),
            *make_section("Trials", self.make_trials_table()),
            *make_section("Figures and tables", self.make_outputs()),
            *make_section("Scripts", self.make_listing(SCRIPTS, None)),
        ]
        links = self.parse_text_to_nodes("\n".join(self.make_links()))
        content = nested_parse_to_nodes(self.state, self.locate(lines))
        mark_runs(content, [*records, *damages])
        enhance_tables(content)
        return [*links, backlinks(), *content]

    def locate(self, lines: list[str]) -> StringList:
        """Return the lines with their sources: the file that they show, otherwise the page."""
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
            return [f"Everything in {name}, which has no notes of its own.", ""]
        return [f"Everything in {name}; for the results, see :doc:`{NOTES}`.", ""]

    def load_records(self) -> tuple[dict[str, RunRecord | None], dict[str, str]]:
        """
        Return the record of each run, None if it never started, and the damages by run.

        Damaged runs have no record.
        """
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
        """Return the table of the metrics on the test structures."""
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
        return ["On the test structures, with the weights that did best in validation:", "",
                *make_table("test", ["run", *columns], rows)]  # fmt: skip

    def make_trials_table(self) -> list[str]:
        """Return the table of the values that a search has sampled."""
        try:
            trials = load_trials(self.folder, HparamsError)
        except HparamsError as error:
            note_damages(self.env, str(error))
            return [f"Not shown: {quote(str(error))}", ""]
        rows = {name: flatten_texts(trial.values.plain) for name, trial in trials.items()}
        for name, trial in trials.items():
            rows[name] |= {"infeasible": trial.infeasible} if trial.infeasible else {}
        columns = list(dict.fromkeys(key for row in rows.values() for key in row))
        table = [[name, *(row.get(x, "") for x in columns)] for name, row in rows.items()]
        return make_table("trials", ["run", *columns], table) if table else []

    def find_commands(self) -> list[str]:
        """Return the commands that wrote the folder's figures and tables."""
        try:
            return list(load_provenance(self.folder))
        except ProvenanceError as error:
            note_damages(self.env, str(error))
            return []

    def make_outputs(self) -> list[str]:
        lines = []
        for path in list_files(self.folder, FIGURES):
            # docutils drops spaces from an address, unless they are escaped.
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
    """Return the names of all files and runs that a sheet shows."""
    shown = [x.name for x in list_files(folder, (*FIGURES, *TABLES, *SCRIPTS, ".nt"))]
    return shown + list_runs(folder)


def list_runs(folder: Path) -> list[str]:
    runs = folder / "runs"
    return sorted(x.name for x in os.scandir(runs)) if runs.is_dir() else []


def list_read(folder: Path) -> list[Path]:
    """Return the files that a sheet depends on, including those that don't exist yet."""
    expt = Experiment(folder)
    runs = map(expt.get_run_paths, list_runs(folder))
    of_runs = (path for run in runs for path in (run.record, run.test_metrics))
    return [expt.hparams_path, folder / TRIALS, folder / FILE_NAME, *of_runs]


def mark_runs(content: list[nodes.Node], names: Sequence[str]) -> None:
    """Make the row of each run a target for links."""
    tables = (table for node in content for table in node.findall(nodes.table))
    body = next(next(tables).findall(nodes.tbody)) if names else ()
    for row, name in zip(body, names, strict=True):
        row[0][0].insert(0, nodes.target("", "", ids=[make_anchor(name)]))


def enhance_tables(content: list[nodes.Node]) -> None:
    """Make the sheet's own tables sortable, with numbers at the right; links lead to all rows."""
    tables = [table for node in content for table in node.findall(nodes.table)]
    for table in (x for x in tables if "sheet-table" in x["classes"]):
        name = next(x.removeprefix(OF) for x in table["classes"] if x.startswith(OF))
        header, *rows = ([x.astext() for x in row] for row in table.findall(nodes.row))
        are_numbers = Table(header, rows).find_number_columns()
        for row in table.findall(nodes.row):
            for entry, is_number in zip(row, are_numbers, strict=True):
                entry["classes"] += ["num"] * is_number
        wrapper = datatable("", file=f"{name}.csv", classes=["datatable-whole"])
        table.replace_self(wrapper)
        wrapper += table


def flatten_texts(values: object, key: str = "") -> dict[str, str]:
    """Return the texts of nested mappings by their dotted keys; items of lists are joined."""
    if not isinstance(values, dict):
        return {key: format_hparam(tuple(values) if isinstance(values, list) else values)}
    flat = {}
    for name, value in values.items():
        flat |= flatten_texts(value, f"{key}.{name}".lstrip("."))
    return flat


def make_section(title: str, lines: list[str]) -> list[str]:
    return [title, len(title) * "=", "", *lines, ""] if lines else []


def make_table(name: str, header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    options = ("header-rows: 1", "widths: auto", f"class: sheet-table {OF}{name}")
    lines = [".. list-table::", *(f"   :{option}" for option in options), ""]
    for row in (header, *rows):
        first, *others = map(quote, row)
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return [*lines, ""]


def quote(text: str) -> str:
    """Return text escaped for reStructuredText."""
    return re.sub(r"([^\w\s]|_)", r"\\\1", re.sub(r"\s+", " ", text))


def write_name(name: str) -> str:
    """Return a file's name as code, or escaped if reStructuredText can't show it as code."""
    return quote(name) if "`" in name else f"``{name}``"


def make_runs_table(records: dict[str, RunRecord | None], damages: dict[str, str]) -> list[str]:
    if not records and not damages:
        return []
    known = [record for record in records.values() if record]
    metrics = dict.fromkeys(x.best.metric for x in known if x.best)
    metrics = list(metrics) or [list_kinds()[0].best.name]
    sizes = sorted({key for record in known for key in record.sizes} or list_kinds()[0].sizes)
    header = ["run", "state", f"best validation {' or '.join(map(get_symbol, metrics))}",
              *map(name_size, sizes), "parameters", "began", "duration", "commit",
              "machine"]  # fmt: skip
    blank = (len(header) - 2) * [""]
    rows = [
        [name, *(describe_record(record, sizes) if record else ["planned", *blank])]
        for name, record in records.items()
    ]
    rows += [[name, f"{UNREADABLE}: {x}", *blank] for name, x in damages.items()]
    lines = make_table("runs", header, rows)
    if any(record and record.sessions and record.sessions[-1].git_dirty
           for record in records.values()):  # fmt: skip
        lines += ["A commit with a \\+ had changes that were not committed.", ""]
    return lines


def describe_record(record: RunRecord, sizes: list[str]) -> list[str]:
    """Return the cells of a run, of which `sizes` have columns."""
    first, last = (record.sessions[0], record.sessions[-1]) if record.sessions else (None, None)
    times = [s.ended - s.started for s in record.sessions if s.ended]
    alarms = "".join(f", {name} since step {step}" for name, step in record.alarms.items())
    return [
        record.state + alarms + (f": {last.error}" if last and last.error else ""),
        "" if record.best is None else f"{record.best.value:.3f}",
        *(format_size(key, record.sizes[key]).rstrip("×!") if key in record.sizes else ""
          for key in sizes),
        "" if record.num_parameters is None else f"{record.num_parameters:,}",
        f"{first.started:%Y-%m-%d}" if first else "",
        format_exact_time(sum(times, timedelta())) if times else "",
        describe_commit(last) if last else "",
        f"{last.device}; torch {last.versions.get('torch', '?')}" if last else "",
    ]


def describe_commit(session) -> str:
    commit = session.git_commit[:7] if session.git_commit else "none"
    return commit + ("+" if session.git_dirty else "")


def make_redo(path: str, records: dict[str, RunRecord | None], commands: list[str]) -> list[str]:
    """Return the commands that train each run again, at its commit, and draw again."""
    runs = {}
    for run, record in records.items():
        session = record.sessions[-1] if record and record.sessions else None
        runs.setdefault(session.git_commit if session else None, []).append(run)
    lines = []
    for commit, names in runs.items():
        are_all = len(names) == len(records) > 1
        block = ["./train.py" if are_all else shlex.join(["./train.py", *names])]
        if commit is None:
            cd = shlex.join(["cd", path])
            lines += ["Train the runs that aren't finished:", "", *make_block([cd, *block])]
            continue
        copy = f"../{path.rpartition('/')[2]}_{commit[:7]}"
        block = [
            shlex.join(["git", "worktree", "add", copy, commit]),
            shlex.join(["cd", f"{copy}/{path}"]),
            "rm -rf runs" if are_all else shlex.join(["rm", "-rf", *(f"runs/{x}" for x in names)]),
            *block,
        ]
        runs_text = "all runs" if are_all else ", ".join(map(quote, names))
        lines += [f"Train {runs_text} again, in a copy of the notebook at the same commit:", ""]
        lines += make_block(block)
    if commands:
        block = [shlex.join(["cd", path]), *(f"./{command}" for command in commands)]
        lines += ["Draw again, from the records:", "", *make_block(block)]
    return lines


def make_block(lines: list[str]) -> list[str]:
    return [".. code-block:: sh", "", *(f"   {line}" for line in lines), ""]


def find_outdated(app, env, added, changed, removed) -> list[str]:
    """Return the sheets whose folder has gained or lost something."""
    return [
        page
        for page, metadata in env.metadata.items()
        if LISTING in metadata and page.endswith(f"/{SHEET}") and page in env.found_docs
        and list_folder(Path(env.doc2path(page)).parent) != metadata[LISTING]
    ]  # fmt: skip


def setup_component(app):
    app.add_directive("runsheet", RunSheetDirective)
    app.connect("env-get-outdated", find_outdated)
