"""Equivariant nonlinearities, which act on each voxel by itself."""
