"""
The notebook's pages: a Sphinx extension that imports no torch.

Enable it with ``extensions = ["atompaint_vae.notebook"]`` in a ``conf.py``. A module of a package
here that has a `setup_component(app)` is named in that package's COMPONENTS.
"""

import gc
from importlib import import_module

import atompaint_vae

PACKAGES = ("core", "tables", "sheets", "runs", "reconstruction", "reference", "builds")
"""Each imports only from those before it. Setup follows this order, and within a package that of
COMPONENTS: Sphinx calls transforms and handlers of one priority in the order of their setup."""

ENV_VERSION = 7
"""Version of what the modules keep in Sphinx's environment and doctrees. Increase it with each
change that makes those on disk useless, such as the move of a node's class."""

FEW_PAGES = 20
"""Up to this number of pages, one process is faster than several, which exchange all that Sphinx
knows of the notebook."""


def work_alone(app, env, docnames):
    """Leave a build of few pages to one process, which needs no garbage collection."""
    if len(docnames) <= FEW_PAGES:
        app.parallel = 1
    else:
        gc.enable()


def setup(app):
    """Set up all components, and return the metadata of the extension."""
    from ..records.properties import VERSION

    app.connect("env-before-read-docs", work_alone)
    for package in PACKAGES:
        for component in import_module(f"{__name__}.{package}").COMPONENTS:
            import_module(f"{__name__}.{package}.{component}").setup_component(app)
    return {
        "version": atompaint_vae.__version__,
        "env_version": 1000 * ENV_VERSION + VERSION,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
