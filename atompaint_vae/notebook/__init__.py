"""The notebook's pages: a Sphinx extension that imports no torch.

Enable it with ``extensions = ["atompaint_vae.notebook"]`` in a ``conf.py``.
"""

import atompaint_vae

ENV_VERSION = 3
"""Of what the modules keep in Sphinx's environment: counted up when a build can't go on from it."""

FEW_PAGES = 20
"""One process reads and writes them sooner than several, which send each other all that Sphinx
knows of the notebook."""


def work_alone(app, env, docnames):
    """Nothing; a build of few pages is left to one process."""
    if len(docnames) <= FEW_PAGES:
        app.parallel = 1


def setup(app):
    """Metadata of the extension, after each component has set itself up."""
    from ..records.properties import VERSION
    from .core import (
        assets,
        experiment_links,
        experiments,
        math,
        navigation,
        numbers,
        pictures,
        problems,
        references,
        updates,
        videos,
        watch,
    )
    from .reconstruction import viewer
    from .reference import api, hparams, markup
    from .runs import compare, curves, run_data, runs
    from .sheets import backlinks, sheet, sheets, stale
    from .tables import datatable

    app.connect("env-before-read-docs", work_alone)
    for component in (
        assets, math, navigation, datatable, experiments, experiment_links, references, updates,
        numbers, pictures, problems, videos, stale, sheets, sheet, backlinks, hparams, run_data,
        runs, curves, compare, viewer, api, markup, watch,
    ):  # fmt: skip
        component.setup_component(app)
    return {
        "version": atompaint_vae.__version__,
        "env_version": 1000 * ENV_VERSION + VERSION,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
