"""Builds of the pages: none if nothing has changed, and one that waits for each change."""

COMPONENTS = ("state", "waiting")
