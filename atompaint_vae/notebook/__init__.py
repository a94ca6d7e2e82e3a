"""The notebook's pages: a Sphinx extension that imports no torch.

Enable it with ``extensions = ["atompaint_vae.notebook"]`` in a ``conf.py``.
"""

import atompaint_vae

FEW_PAGES = 20
"""One process reads and writes them sooner than several, which send each other all that Sphinx
knows of the notebook."""


def work_alone(app, env, docnames):
    """Nothing; a build of few pages is left to one process."""
    if len(docnames) <= FEW_PAGES:
        app.parallel = 1


def setup(app):
    """Metadata of the extension, after each component has set itself up."""
    from ..runs.properties import VERSION
    from . import (
        api,
        assets,
        backlinks,
        compare,
        curves,
        datatable,
        experiment_links,
        experiments,
        hparams,
        markup,
        math,
        navigation,
        numbers,
        pictures,
        references,
        run_data,
        runs,
        sheet,
        sheets,
        stale,
        updates,
        videos,
        viewer,
    )

    app.connect("env-before-read-docs", work_alone)
    app.setup_extension("sphinx_math_dollar")
    for component in (
        assets, math, navigation, datatable, experiments, experiment_links, references, updates,
        numbers, pictures, videos, stale, sheets, sheet, backlinks, hparams, run_data, runs, curves,
        compare, viewer, api, markup,
    ):  # fmt: skip
        component.setup_component(app)
    return {
        "version": atompaint_vae.__version__,
        "env_version": VERSION,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
