"""
What the search finds by name, before all text: experiments, their runs, and metrics.

An experiment leads to its page or section, a run to its row on the run sheet, a metric to the page
that compares runs by it. Hyperparameters are found where ``.. hyperparameters::`` describes them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from sphinx.domains import Domain, ObjType

from ...records.find import get_expts_dir, list_runs
from ..sheets.experiments import find_pages
from ..sheets.pages import make_anchor, name_sheet
from ..sheets.summaries import find_summary
from .compare import METRICS

FIRST = 0
"""Sphinx's priority of objects that are shown before others."""


class NotebookDomain(Domain):
    """The objects of a notebook, for Sphinx's search and its inventory."""

    name = "notebook"
    label = "Notebook"
    object_types: ClassVar = {x: ObjType(x) for x in ("experiment", "run", "metric")}

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        """Yield name, shown name, type, page, anchor and priority of each object."""
        labels = self.env.domains.standard_domain.labels
        pages = find_pages(frozenset(self.env.found_docs))
        for folder, page in pages.items():
            name = folder.rpartition("/")[2]
            _, place, label, _ = find_summary(self.env, page)
            anchor = labels[label][1] if label else "top"
            yield name, name, "experiment", place, anchor, FIRST
        expts_dir = get_expts_dir(Path(self.env.srcdir))
        for experiment in self.env.atompaint_experiments:
            if runs := list_runs(expts_dir, experiment):
                sheet = name_sheet(self.env.srcdir, experiment)
            for id, paths in runs.items():
                yield id, id, "run", sheet, make_anchor(paths.name), FIRST
        for page, metadata in self.env.metadata.items():
            for metric in metadata.get(METRICS, ()):
                yield metric, metric, "metric", page, f"metric={metric}", FIRST

    def merge_domaindata(self, docnames, otherdata) -> None:
        """Merge nothing: all is in the environment."""


def setup_component(app):
    app.add_domain(NotebookDomain)
