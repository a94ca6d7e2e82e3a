"""Images that runs stored, as slices and in 3D: reconstructions of test crops, and samples."""

COMPONENTS = ("viewer", "samples")
