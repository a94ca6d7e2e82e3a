"""Provenance: what each figure and table was drawn from, and whether it is still up to date."""
