"""Rotation-equivariant variational autoencoders of macromolecular images."""

__version__ = "0.1.0"
