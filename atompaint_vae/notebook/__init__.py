"""The notebook's pages: a Sphinx extension that imports no torch.

Enable it with ``extensions = ["atompaint_vae.notebook"]`` in a ``conf.py``.
"""

import atompaint_vae


def setup(app):
    """Metadata of the extension, after each component has set itself up."""
    from ..runs.properties import VERSION
    from . import (
        api,
        assets,
        compare,
        curves,
        datatable,
        experiments,
        math,
        pictures,
        run_data,
        runs,
    )

    app.setup_extension("sphinx_math_dollar")
    for component in (
        assets, math, datatable, experiments, pictures, api, run_data, runs, curves, compare,
    ):
        component.setup_component(app)
    return {
        "version": atompaint_vae.__version__,
        "env_version": VERSION,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
