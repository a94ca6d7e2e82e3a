"""Generate a laboratory's notebook of any size from this one's experiment of 2024-12-17."""

import shutil
from datetime import date, timedelta
from pathlib import Path

from atompaint_vae.config.hparams import dump_hparams, load_resolved
from atompaint_vae.figures.provenance.drawings import (
    Drawing,
    find_code,
    hash_code,
    hash_file,
    load_provenance,
    save_drawing,
)
from atompaint_vae.records.record import (
    RunPaths,
    load_record,
    save_record,
    update_record,
)

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "expts" / "20241217_train_vae"
"""Each experiment is a copy of this one: its runs, scripts, figures and their provenance."""

TABLE_ROWS = (4, 8, 12, 20, 30, 50, 80, 120, 200, 400)
"""The tables get these numbers of rows in turn; the longest ones don't fit on one page."""

NUM_COLUMNS = 8

NOTES = """\
{line}
{title}
{line}

Does the reconstruction get better if the latent is wider?  The last experiment left that open.

Method
======

- Crops of 35 Å, in random orientations; $\\beta = 1$ and a sum-reduced data loss.

- A learning rate of {learning_rate:g}, all else as before.

Results
=======

.. runs::

   Results of the runs.

.. curves::

   $R^2$ of the validation crops.

.. figure:: {figure}

   Thin lines are training batches, thick lines the same validation crops each time.

{tables}
Conclusion
==========

- The wider latent is better: :metric:`{folder}/{run} test.r2 .3f`.
"""

TABLE_CONF = """\
project = "Tables"
extensions = ["{extension}"]
html_theme = "furo"
"""

INDEX = """\
***
Lab
***

.. toctree::

   tables
   compare

.. experiments::
"""


def make_lab(folder: Path, num_experiments: int, num_runs: int, num_tables: int) -> list[Path]:
    """
    Generate a notebook and return the paths of its experiments, ordered by date.

    The notebook uses this repository's conf.py.  Ten of the tables share a separate page.
    """
    docs = folder / "docs"
    docs.mkdir(parents=True)
    shutil.copy(ROOT / "conf.py", folder)
    (docs / "index.rst").write_text(INDEX, "utf-8")
    shutil.copy(ROOT / "docs" / "compare.rst", docs)
    write_tables(docs, range(10))
    (docs / "tables.rst").write_text(f"Tables\n======\n\n{show_tables(range(10))}", "utf-8")
    tables = [range(10 + i, num_tables, num_experiments) for i in range(num_experiments)]
    runs = [range(i, num_runs, num_experiments) for i in range(num_experiments)]
    return [
        make_experiment(folder, i, num_runs=len(runs[i]), tables=tables[i])
        for i in range(num_experiments)
    ]


def make_table_pages(folder: Path, extension: str, num_pages: int) -> None:
    """Generate a notebook whose pages show ten tables each by means of the given extension."""
    folder.mkdir(parents=True)
    (folder / "conf.py").write_text(TABLE_CONF.format(extension=extension), "utf-8")
    pages = [f"page_{i}" for i in range(num_pages)]
    contents = "".join(f"   {page}\n" for page in pages)
    (folder / "index.rst").write_text(f"Tables\n======\n\n.. toctree::\n\n{contents}", "utf-8")
    write_tables(folder, range(10 * num_pages))
    for i, page in enumerate(pages):
        text = f"Page {i}\n========\n\n{show_tables(range(10 * i, 10 * i + 10))}"
        (folder / f"{page}.rst").write_text(text, "utf-8")


def make_experiment(folder: Path, number: int, *, num_runs: int, tables: range) -> Path:
    """Generate an experiment with notes and up-to-date figures, and return its path."""
    day = date(2018, 1, 1) + timedelta(days=7 * number)
    expt_dir = folder / "expts" / f"{day:%Y%m%d}_train_vae"
    expt_dir.mkdir(parents=True)
    learning_rate = 0.01 * (1 + number % 5)
    shared = (MODEL / "hparams.nt").read_text("utf-8")
    hparams = shared.replace("learning_rate: 0.03", f"learning_rate: {learning_rate:g}")
    (expt_dir / "hparams.nt").write_text(hparams, "utf-8")
    for script in MODEL.glob("*.py"):
        shutil.copy(script, expt_dir)
    models = sorted((MODEL / "runs").iterdir())
    names = [make_run(expt_dir, models, i, learning_rate, seed=number) for i in range(num_runs)]
    figure = f"{expt_dir.name}.svg"
    shutil.copy(MODEL / f"{MODEL.name}.svg", expt_dir / figure)
    write_tables(expt_dir, tables)
    outputs = [figure, *(f"table_{i}.csv" for i in tables)]
    note_provenance(expt_dir, outputs, names)
    title = f"Train VAE {number}"
    notes = NOTES.format(
        line=len(title) * "*", title=title, learning_rate=learning_rate, figure=figure,
        tables=show_tables(tables), folder=expt_dir.name, run=names[0],
    )  # fmt: skip
    (expt_dir / "notes.rst").write_text(notes, "utf-8")
    return expt_dir


def make_run(
    expt_dir: Path, models: list[Path], number: int, learning_rate: float, seed: int
) -> str:
    """Generate a run with the metrics of a trained one, and return its name."""
    model = models[number % len(models)]
    paths = RunPaths(expt_dir / "runs" / f"{model.name}-{number}")
    paths.run_dir.mkdir(parents=True)
    hparams = load_resolved(RunPaths(model).hparams)
    optim = hparams.optim.model_copy(update={"learning_rate": learning_rate})
    hparams = hparams.model_copy(update={"seed": seed, "optim": optim})
    paths.hparams.write_text(dump_hparams(hparams), "utf-8")
    record = load_record(RunPaths(model).record)
    names = {"run": paths.name, "experiment": expt_dir.name}
    save_record(paths.record, update_record(record, **names))
    for table in model.glob("*.csv"):
        shutil.copy(table, paths.run_dir)
    return paths.name


def note_provenance(expt_dir: Path, outputs: list[str], runs: list[str]) -> None:
    """Write the provenance.nt that plot_curves.py would have written."""
    command = "plot_curves.py"
    code = load_provenance(MODEL)[command].code
    inputs = [f"runs/{run}/{x}" for run in runs for x in ("hparams.nt", "record.nt", "val.csv")]
    drawing = Drawing(
        outputs={x: hash_file(expt_dir / x) for x in outputs},
        inputs={x: hash_file(expt_dir / x) for x in inputs},
        code={x: hash_code(find_code(expt_dir, x)) for x in code},
    )
    save_drawing(expt_dir, command, drawing)


def write_tables(folder: Path, numbers: range) -> None:
    """Write table_<number>.csv for each of the numbers."""
    header = ["run", *(f"value {i}" for i in range(1, NUM_COLUMNS))]
    for number in numbers:
        rows = [
            [f"{row:03}", *(f"{(7919 * row + 104729 * column) % 9973 / 997:.4f}"
                            for column in range(1, NUM_COLUMNS))]
            for row in range(TABLE_ROWS[number % len(TABLE_ROWS)])
        ]  # fmt: skip
        text = "".join(",".join(row) + "\n" for row in [header, *rows])
        (folder / f"table_{number}.csv").write_text(text, "utf-8")


def show_tables(numbers: range) -> str:
    """Return the directives that show some tables; exmemo's have the same syntax."""
    return "".join(
        f".. datatable:: table_{number}.csv\n\n   Table {number}.\n\n" for number in numbers
    )
