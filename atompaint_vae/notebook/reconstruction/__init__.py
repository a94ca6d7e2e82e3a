"""Reconstructions of a run's test crops, as slices and in 3D."""

COMPONENTS = ("viewer",)
