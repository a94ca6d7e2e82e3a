"""Figures and tables: curves, slices, structures, and where each came from."""
