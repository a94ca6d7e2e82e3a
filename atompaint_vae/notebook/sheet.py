"""The directive ``.. runsheet::``: everything that an experiment's folder holds, on one page."""

import csv
import os
import re
import shlex
from collections.abc import Collection, Iterable
from datetime import timedelta
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from ..figures.provenance import FILE_NAME, ProvenanceError, load_provenance
from ..runs.experiment import Experiment
from ..runs.hparams import HparamsError
from ..runs.record import RecordError, RunRecord, load_record
from ..runs.trials import TRIALS
from .sheets import NOTES, SHEET, find_sibling, make_anchor
from .watch import watch_files

logger = logging.getLogger(__name__)

HPARAMS = "hparams.nt"
LISTING = "atompaint_sheet"  # what the folder held when the page was read
FIGURES = (".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp")
TABLES = (".csv", ".tsv", ".xlsx", ".parquet")
SCRIPTS = (".py", ".sh")


class RunSheetDirective(SphinxDirective):
    """The runs, hyperparameters, figures, tables and scripts of the page's folder."""

    def run(self) -> list[nodes.Node]:
        self.folder = Path(self.env.doc2path(self.env.docname)).parent
        self.env.metadata[self.env.docname][LISTING] = list_folder(self.folder)
        watch_files(self.env, list_read(self.folder))
        records = self.load_records()
        lines = [
            *self.make_links(),
            *make_section("Runs", [*make_runs_table(records), *make_test_table(self.folder)]),
            *make_section("Redo", make_redo(self.folder.name, records, self.find_commands())),
            *make_section("Hyperparameters", self.make_listing((HPARAMS, TRIALS), "nestedtext")),
            *make_section("Figures and tables", self.make_outputs()),
            *make_section("Scripts", self.make_listing(SCRIPTS, None)),
        ]
        parsed = self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)
        mark_runs(parsed, records)
        return parsed

    def make_links(self) -> list[str]:
        name = f"``{self.env.docname.rpartition('/')[0]}``"
        if find_sibling(self.env.docname, NOTES) not in self.env.found_docs:
            return [f"All that is in {name}, which has no notes of its own.", ""]
        return [f"All that is in {name}; what came of it: :doc:`{NOTES}`.", ""]

    def load_records(self) -> dict[str, RunRecord | None]:
        """The record of each run, None if it never began or can't be read."""
        expt = Experiment(self.folder)
        try:
            names = list(expt.load_hparams()) if expt.hparams_path.exists() else []
        except HparamsError as error:
            self.warn(error)
            names = []
        self.note(self.folder / TRIALS)
        began = sorted(x.parent.name for x in (self.folder / "runs").glob("*/record.nt"))
        records = {}
        for name in [*names, *(x for x in began if x not in names)]:
            records[name] = None
            paths = expt.get_run_paths(name)
            if name in began:
                try:
                    records[name] = load_record(paths.record)
                except RecordError as error:
                    self.warn(error)
        return records

    def find_commands(self) -> list[str]:
        """The commands that wrote the folder's figures and tables."""
        try:
            return list(load_provenance(self.folder))
        except ProvenanceError:  # whoever shows a figure of this folder says so
            return []

    def make_outputs(self) -> list[str]:
        lines = []
        for path in list_files(self.folder, FIGURES):
            lines += [f".. figure:: {path.name}", "", f"   ``{path.name}``", ""]
        for path in list_files(self.folder, TABLES):
            lines += [f".. datatable:: {path.name}", "", f"   ``{path.name}``", ""]
        return lines

    def make_listing(self, endings: tuple[str, ...], language: str | None) -> list[str]:
        lines = []
        for path in list_files(self.folder, endings):
            lines += [f".. literalinclude:: {path.name}"]
            lines += [f"   :language: {language}"] if language else [f"   :caption: {path.name}"]
            lines += [""]
        return lines

    def warn(self, error: Exception) -> None:
        for line in str(error).splitlines():
            logger.warning("%s", line, type="runsheet")


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
    return [expt.hparams_path, folder / FILE_NAME, *of_runs]


def make_section(title: str, lines: list[str]) -> list[str]:
    return [title, len(title) * "=", "", *lines, ""] if lines else []


def make_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    options = ("header-rows: 1", "widths: auto", "class: sheet-table")
    lines = [".. list-table::", *(f"   :{option}" for option in options), ""]
    for row in (header, *rows):
        first, *others = map(quote, row)
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return [*lines, ""]


def quote(text: str) -> str:
    """Text that reStructuredText shows as it is."""
    return re.sub(r"([^\w\s]|_)", r"\\\1", re.sub(r"\s+", " ", text))


def make_runs_table(records: dict[str, RunRecord | None]) -> list[str]:
    if not records:
        return []
    header = ["run", "state", "best validation R²", "compression", "latent", "parameters", "began",
              "duration", "commit", "machine"]  # fmt: skip
    rows = [
        [name, *(describe_record(record) if record else ["planned", *8 * [""]])]
        for name, record in records.items()
    ]
    lines = make_table(header, rows)
    if any(record and record.sessions and record.sessions[-1].git_dirty
           for record in records.values()):  # fmt: skip
        lines += ["A commit with a \\+ had changes that were not committed.", ""]
    return lines


def mark_runs(parsed: list[nodes.Node], records: Collection[str]) -> None:
    """Nothing; links lead to the row of each run."""
    tables = (table for node in parsed for table in node.findall(nodes.table))
    body = next(next(tables).findall(nodes.tbody)) if records else ()
    for row, name in zip(body, records, strict=True):
        row[0][0].insert(0, nodes.target("", "", ids=[make_anchor(name)]))


def describe_record(record: RunRecord) -> list[str]:
    first, last = (record.sessions[0], record.sessions[-1]) if record.sessions else (None, None)
    times = [s.ended - s.started for s in record.sessions if s.ended]
    return [
        record.state + (f": {last.error}" if last and last.error else ""),
        "" if record.best_val_r2 is None else f"{record.best_val_r2:.3f}",
        "" if record.compression_ratio is None else f"{record.compression_ratio:.1f}",
        "×".join(map(str, record.latent_shape or ())),
        "" if record.num_parameters is None else f"{record.num_parameters:,}",
        f"{first.started:%Y-%m-%d}" if first else "",
        describe_duration(sum(times, timedelta())) if times else "",
        describe_commit(last) if last else "",
        f"{last.device}; torch {last.versions.get('torch', '?')}" if last else "",
    ]


def describe_duration(time: timedelta) -> str:
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def describe_commit(session) -> str:
    commit = session.git_commit[:7] if session.git_commit else "none"
    return commit + ("+" if session.git_dirty else "")


def make_test_table(folder: Path) -> list[str]:
    """The metrics of the test structures."""
    tables = {}
    for path in sorted((folder / "runs").glob("*/test.csv")):
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            row = next(csv.DictReader(file), {})
        tables[path.parent.name] = {k: v for k, v in row.items() if k and k != "step" and v}
    columns = list(dict.fromkeys(key for row in tables.values() for key in row))
    if not columns:
        return []
    rows = [
        [name, *(round_number(row.get(x, "")) for x in columns)] for name, row in tables.items()
    ]
    return ["On the test structures, with the weights of the best validation:", "",
            *make_table(["run", *columns], rows)]  # fmt: skip


def round_number(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e12 else f"{number:.4g}"


def make_redo(name: str, records: dict[str, RunRecord | None], commands: list[str]) -> list[str]:
    """The commands that train each run again, at its commit, and draw."""
    runs = {}
    for run, record in records.items():
        session = record.sessions[-1] if record and record.sessions else None
        runs.setdefault(session.git_commit if session else None, []).append(run)
    lines = []
    for commit, names in runs.items():
        block = [shlex.join(["./train.py", *names])]
        if commit is None:
            cd = shlex.join(["cd", f"expts/{name}"])
            lines += ["Train what isn't finished:", "", *make_block([cd, *block])]
            continue
        copy = f"../{name}_{commit[:7]}"
        block = [
            shlex.join(["git", "worktree", "add", copy, commit]),
            shlex.join(["cd", f"{copy}/expts/{name}"]),
            shlex.join(["rm", "-rf", *(f"runs/{x}" for x in names)]),
            *block,
        ]
        runs_text = ", ".join(map(quote, names))
        lines += [f"Train {runs_text} again, in a copy of the notebook as it was:", ""]
        lines += make_block(block)
    if commands:
        block = [shlex.join(["cd", f"expts/{name}"]), *(f"./{command}" for command in commands)]
        lines += ["Draw again, from the records:", "", *make_block(block)]
    return lines


def make_block(lines: list[str]) -> list[str]:
    return [".. code-block:: sh", "", *(f"   {line}" for line in lines), ""]


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
