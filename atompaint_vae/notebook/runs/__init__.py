"""Runs among the pages: tables, numbers, curves and comparisons."""

COMPONENTS = ("run_data", "runs", "curves", "compare", "overview", "search")
