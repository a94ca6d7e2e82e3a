"""Experiments among the pages: their contents, links to them, and a sheet of each."""

COMPONENTS = ("experiments", "experiment_links", "stale", "pages", "sheet", "summaries")
