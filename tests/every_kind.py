"""A notebook with a page of each kind that this extension writes."""

import shutil
from pathlib import Path

from small_notebook import build_html

ROOT = Path(__file__).parents[1]
NAME = "20250101_wide"
VIEWED = "images/runs/a"
HPARAMS = """\
shared:
  model:
    layers:
      - 2x0e
    latent: 2x0e
  train:
    epochs: 20
    steps_per_epoch: 10
runs:
  wide:
  planned:
"""
NOTES = rf"""
Does a wider model learn more?
==============================

Mathematics: $35^3 = 42,875$, and an equation.

.. math:: a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r + s + t + u + v = w
   :label: long

.. figure:: picture.svg

   A *figure* of :ref:`a section <more>`.

.. curves:: {NAME}

   Curves of the runs.

.. runs:: {NAME}

   The runs.

.. update:: 2025-01-03

   The model still collapses [Lucas2019]_, as :pdb:`4w4g` shows.

.. _more:

More
----

.. warning:: Take care.

::

   a line of code that is rather long, longer than a telephone is wide, and longer than that still,
   and, because a screen may be wide as well, one that runs on and on and on and on and on and on

.. [Lucas2019] Lucas J, Tucker G, Grosse R & Norouzi M. *Don't blame the ELBO!* NeurIPS (2019).
"""
GUIDE = """
Guide
=====

How to write a page, with examples.

.. list-table::
   :widths: auto

   * - ``make notebook``
     - sets up, trains, draws and builds

A figure needs a caption:

.. code-block:: rst

   .. figure:: picture.svg

      The *caption*.

.. code-block:: sh

   cd expts/20250101_wide && ./train.py --slurm  # a comment

.. code-block:: nestedtext

   runs:
     wide:

.. code-block:: python

   from atompaint_vae.data import load_split  # a comment

   atoms = load_split("starter", "test").query("structure == '1BHL'")

Term
    An explanation.
"""
VIEWS = f"""
Views
=====

.. reconstruction:: /{VIEWED}

   Crops and their reconstructions.

.. samples:: /{VIEWED}

   Samples.
"""
TABLES = """
Tables
======

.. datatable:: short.csv

   The *caption* of a short table.

.. datatable:: wide.csv

   The caption of a wide and long table, which says more than one line of a telephone holds.
"""
WIDE = [["row", *(f"a long name {i}" for i in range(30))]]
WIDE += [[f"row {k}", *(f"{i}.{k:05d}" for i in range(30))] for k in range(60)]
HYPERPARAMETERS = """
:orphan:

Hyperparameters
===============

.. hyperparameters::
"""
MARKUP = """
:orphan:

Directives and roles
====================

.. markup::
"""
FILES = {
    f"expts/{NAME}/notes.rst": NOTES,
    f"expts/{NAME}/hparams.nt": HPARAMS,
    f"expts/{NAME}/table.csv": "run,ratio\nwide,10.5\n",
    f"expts/{NAME}/train.py": "#!/usr/bin/env python3\nprint('a very long line', 1, 2, 3)\n",
    "docs/notebook/tables.rst": TABLES,
    "docs/notebook/views.rst": VIEWS,
    "docs/notebook/short.csv": "id,number\n001,10\n002,9\n",
    "docs/notebook/wide.csv": "\n".join(map(",".join, WIDE)),
    "docs/guide/index.rst": GUIDE,
    "docs/guide/hyperparameters.rst": HYPERPARAMETERS,
    "docs/guide/markup.rst": MARKUP,
    "docs/glossary.rst": "Glossary\n========\n\n.. glossary::\n\n   word\n     Its meaning.\n",
    "docs/compare.rst": "Compare\n=======\n\n.. compare::\n",
    "docs/api/index.rst": "Reference\n=========\n\n.. modules:: atompaint_vae.text\n",
}
KINDS = {
    "front": "docs/index",
    "notes": f"expts/{NAME}/notes",
    "tables": "docs/notebook/tables",
    "sheet": f"expts/{NAME}/sheet",
    "compare": "docs/compare",
    "guide": "docs/guide/index",
    "reference": "docs/api/index",
    "hyperparameters": "docs/guide/hyperparameters",
    "markup": "docs/guide/markup",
    "glossary": "docs/glossary",
    "views": "docs/notebook/views",
    "search": "search",
    "index of names": "genindex",
    "index of modules": "py-modindex",
}
"""The pages, by what they are."""


def build_every_kind(source: Path, write_run, write_samples, write_reconstructions) -> None:
    """Build the notebook in a folder."""
    expt_dir = source / "expts" / NAME
    long = "a reason that goes on and on, so that the row of the run is a wide one, without end"
    write_reconstructions(source / VIEWED, size=9)
    write_samples(source / VIEWED)
    write_run(expt_dir, "wide", tau=2)
    for seed in range(8):
        hparams = {"seed": seed, "loss.beta": 2}
        error = long if seed == 0 else None
        write_run(expt_dir, f"deep_seed{seed}", hparams, tau=3 + seed, error=error)
    for name, text in FILES.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    shutil.copy(ROOT / "conf.py", source)
    shutil.copy(ROOT / "docs/index.rst", source / "docs")
    shutil.copy(ROOT / "docs/guide/dataflow.svg", expt_dir / "picture.svg")
    build_html(source)
