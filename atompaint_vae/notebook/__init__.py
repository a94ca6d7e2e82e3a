"""The notebook's pages: a Sphinx extension that imports no torch.

Enable it with ``extensions = ["atompaint_vae.notebook"]`` in a ``conf.py``.
"""

import atompaint_vae


def setup(app):
    """Metadata of the extension, after each component has set itself up."""
    from . import (
        api,
        assets,
        datatable,
        experiment_links,
        experiments,
        markup,
        math,
        numbers,
        pictures,
        references,
        updates,
        videos,
    )

    app.setup_extension("sphinx_math_dollar")
    components = (
        assets,
        math,
        datatable,
        experiments,
        experiment_links,
        references,
        updates,
        numbers,
        pictures,
        videos,
        api,
        markup,
    )
    for component in components:
        component.setup_component(app)
    return {
        "version": atompaint_vae.__version__,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
