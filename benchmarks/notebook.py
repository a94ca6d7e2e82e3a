"""Time to build a notebook's pages and to open them, and what pages weigh; tables against exmemo's.

The laboratory is a generated notebook, built as `make html` builds.  Sphinx alone builds the same
pages without what directives of the notebook show.  The pages that are compared
with exmemo's hold ten tables each, the same CSV files in the same theme; they are built by one
process, because exmemo doesn't let Sphinx use several.  `make bench-peers` installs exmemo; without
it, only our pages are measured.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atompaint_vae.records.record import load_record, save_record, update_record

from ._browser import Browser, Opened, start_browser
from ._lab import ROOT, make_lab, make_table_pages
from .peers.client import check_peer

PLAIN = "Sphinx alone"
EXMEMO_PYTHON = ROOT / ".venv-peers-notebook" / "bin" / "python"

TABLES_READY = "!document.querySelector('.datatable:not(.datatable-ready, [data-rows])')"
"""Tables whose rows are in a file of their own load only when the reader scrolls to them."""

LAB_PAGES = {
    "contents": ("index", "document.querySelector('.experiments a')"),
    "page of 10 tables": ("tables", TABLES_READY),
    "page of all runs": ("compare", "document.querySelector('.run-compare tbody button')"),
}
"""Each page with its file, and a JavaScript condition that is true once it can be used."""

PLAIN_CONF = """
extensions = ["benchmarks.peers.plain_notebook"]
suppress_warnings = ["toc.not_included"]
"""
"""What switches the notebook's extension off; without it, nothing lists the experiments."""

LIVE_TIMEOUT_S = 60

TALL_PX = 20_000
"""A window this high shows all ten tables."""


@dataclass(frozen=True)
class Site:
    """
    Pages of ten tables that one extension shows.

    drawn:  a CSS selector that matches each table that can be used
    """

    source: Path
    extension: str
    python: Path | str
    drawn: str

    def build(self) -> float:
        return build(self.source, python=self.python, jobs="1")

    def forget(self) -> None:
        shutil.rmtree(self.source / "_build", ignore_errors=True)

    def change_table(self) -> None:
        change_table(self.source / "table_0.csv")

    def open(self, browser: Browser, page: int) -> Opened:
        """Open one of the pages in a window that shows all its tables."""
        path = self.source / "_build" / "html" / f"page_{page}.html"
        ready = f"document.querySelectorAll('{self.drawn}').length == 10"
        return browser.open(path, ready, height_px=TALL_PX)


def run(quick: bool) -> list[dict]:
    """Return rows for builds and pages, and for tables compared with exmemo."""
    sizes = (30, 100, 50) if quick else (300, 1000, 500)
    num_repeats = 1 if quick else 3
    with tempfile.TemporaryDirectory() as folder, start_browser() as browser:
        return [
            *([] if quick else measure_own_pages(Path(folder, "own"), num_repeats)),
            *measure_lab(Path(folder, "lab"), browser, sizes, num_repeats),
            *compare_tables(Path(folder), browser, sizes[2] // 10, num_repeats),
        ]


def measure_lab(
    folder: Path, browser: Browser | None, sizes: tuple[int, int, int], num_repeats: int
) -> list[dict]:
    """Return rows for a generated notebook; sizes: number of experiments, runs and tables."""
    plain = folder.with_name("plain")
    expts = make_lab(folder, *sizes)
    make_lab(plain, *sizes)
    with (plain / "conf.py").open("a", encoding="utf-8") as file:
        file.write(PLAIN_CONF)
    expt = expts[len(expts) // 2]
    page = f"expts/{expt.name}/notes"
    label = "{} experiments, {} runs, {} tables".format(*sizes)

    def time_both(what: str, change: Callable[[Path], None], num_repeats: int) -> dict:
        times_s = [[], []]
        for _ in range(num_repeats):
            for source, times in zip([folder, plain], times_s, strict=True):
                change(source)
                times.append(build(source, is_plain=source == plain))
        return make_row(f"{label}: {what}", *times_s, unit="s", reference_name=PLAIN)

    rows = [
        time_both("cold build", lambda source: None, 1),
        time_both("no-op build", lambda source: None, num_repeats),
        time_both("a page touched, not changed", lambda source: os.utime(source / f"{page}.rst"),
                  num_repeats),
        time_both("one page's text changed", lambda source: change_page(source / f"{page}.rst"),
                  num_repeats),
    ]  # fmt: skip
    for what, change in (
        ("one CSV changed", lambda: change_table(min(expt.glob("table_*.csv")))),
        ("one run's record changed", lambda: change_record(min(expt.glob("runs/*/record.nt")))),
    ):
        times_s = []
        for _ in range(num_repeats):
            change()
            times_s.append(build(folder))
        rows.append(make_row(f"{label}: {what}", times_s, unit="s"))
    with serve(folder) as address:
        times_s = [time_live_change(folder, page, address) for _ in range(num_repeats)]
    rows.append(make_row(f"{label}: from saving a page to reading it, live", times_s, unit="s"))
    for what, (page, ready) in LAB_PAGES.items() if browser else ():
        path = folder / "_build" / "html" / "docs" / f"{page}.html"
        times_ms = [browser.open(path, ready).ready_ms for _ in range(num_repeats)]
        rows.append(make_row(f"{label}: {what}, time to interactive", times_ms, unit="ms"))
    return rows


def measure_own_pages(out: Path, num_repeats: int) -> list[dict]:
    """Return rows for this repository's own notebook."""
    cold_s = build(ROOT, out)
    times_s = [build(ROOT, out) for _ in range(num_repeats)]
    return [
        make_row("this notebook: cold build", [cold_s], unit="s"),
        make_row("this notebook: no-op build", times_s, unit="s"),
    ]


def compare_tables(
    folder: Path, browser: Browser | None, num_pages: int, num_repeats: int
) -> list[dict]:
    """Return rows for pages of ten tables; ours and exmemo's take turns."""
    sites = [
        Site(folder / "ours", "atompaint_vae.notebook", sys.executable, ".datatable-ready"),
        Site(folder / "exmemo", "exmemo.sphinx.general", EXMEMO_PYTHON, ".ht_master tbody"),
    ]
    if not check_peer("exmemo", EXMEMO_PYTHON):
        sites.pop()
    for site in sites:
        make_table_pages(site.source, site.extension, num_pages)

    def time_builds(prepare: Callable[[Site], None]) -> list[list[float]]:
        times_s = [[] for _ in sites]
        for _ in range(num_repeats):
            for site, times in zip(sites, times_s, strict=True):
                prepare(site)
                times.append(site.build())
        return times_s

    label = f"{num_pages} pages of 10 tables"
    rows = [
        make_row(f"{label}: cold build", *time_builds(Site.forget), unit="s"),
        make_row(f"{label}: no-op build", *time_builds(lambda site: None), unit="s"),
        make_row(f"{label}: one CSV changed", *time_builds(Site.change_table), unit="s"),
    ]
    return rows + (compare_pages(sites, browser, num_repeats) if browser else [])


def compare_pages(sites: Sequence[Site], browser: Browser, num_repeats: int) -> list[dict]:
    """Return rows for one page of ten tables: when it can be used, and how much it loads."""
    times_ms = [[] for _ in sites]
    for _ in range(num_repeats):
        for site, times in zip(sites, times_ms, strict=True):
            times.append(site.open(browser, 0).ready_ms)
    own_kB, shared_kB = [], []
    for site in sites:
        one, other = site.open(browser, 0).files, site.open(browser, 1).files
        own_kB.append([sum(x.stat().st_size for x in one - other) / 1e3])
        shared_kB.append([sum(x.stat().st_size for x in one & other) / 1e3])
    return [
        make_row("page of 10 tables, all in sight: time to interactive", *times_ms, unit="ms"),
        make_row("page of 10 tables: what only it loads", *own_kB, unit="kB"),
        make_row("page of 10 tables: what others load too", *shared_kB, unit="kB"),
    ]


def make_row(
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float] | None = None,
    *,
    unit: str,
    reference_name: str = "exmemo",
) -> dict:
    own = statistics.median(ours)
    reference = statistics.median(theirs) if theirs else None
    return {
        "name": name,
        "ours": own,
        "reference": reference,
        "reference_name": reference_name if theirs else None,
        "ratio": reference / own if theirs else None,
        "unit": unit,
        "n": len(ours),
    }


def build(
    source: Path,
    out: Path | None = None,
    *,
    python: Path | str = sys.executable,
    jobs: str = "auto",
    is_plain: bool = False,
) -> float:
    """
    Return how many seconds `make html` takes, without make itself.

    is_plain: whether Sphinx builds instead
    raises: RuntimeError with Sphinx's messages if a page has a warning
    """
    is_ours = python == sys.executable and not is_plain
    program = ["atompaint_vae.notebook"] if is_ours else ["sphinx", "-M", "html"]
    command = [python, "-m", *program, source, out or source / "_build"]
    command += ["--quiet", "--jobs", jobs, "--fail-on-warning", "--keep-going"]
    start_s = time.perf_counter()
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    elapsed_s = time.perf_counter() - start_s
    if result.returncode:
        raise RuntimeError(f"{source}: the build failed:\n{result.stderr}")
    return elapsed_s


@contextmanager
def serve(source: Path) -> Iterator[str]:
    """Yield the address at which `make livehtml` serves the pages, once they are built."""
    command = [sys.executable, "-m", "atompaint_vae.notebook", "--live=0", source]
    command += [source / "_build", "--quiet", "--jobs", "auto"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield next(x[0] for line in process.stdout if (x := re.search(r"http://[\d.:]+", line)))
    finally:
        process.kill()
        process.wait()


def time_live_change(source: Path, page: str, address: str) -> float:
    """Return how many seconds a change of a page takes until the server has it."""
    path = source / f"{page}.rst"
    time.sleep(2)  # a person doesn't save while the next build is being prepared
    start_s = time.perf_counter()
    text = f"Saved at {start_s}."
    path.write_text(f"{path.read_text('utf-8')}\n{text}\n", "utf-8")
    while True:
        with urllib.request.urlopen(f"{address}/{page}.html", timeout=LIVE_TIMEOUT_S) as answer:
            if text in answer.read().decode():
                return time.perf_counter() - start_s
        time.sleep(0.02)


def change_table(path: Path) -> None:
    """Append a digit to the last cell."""
    path.write_text(path.read_text("utf-8").rstrip("\n") + "1\n", "utf-8")


def change_record(path: Path) -> None:
    record = load_record(path)
    best = record.best.model_copy(update={"value": 0.99 * record.best.value})
    save_record(path, update_record(record, best=best))


def change_page(path: Path) -> None:
    path.write_text(path.read_text("utf-8") + "\nOne more line.\n", "utf-8")
