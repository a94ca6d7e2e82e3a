"""The atoms in the reconstructions of a test's crops, and what they look like.

Letters: b batch, c channels, x y z voxels.
"""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...analysis.blocks import find_solid_blocks
from ...analysis.geometry import Geometry, find_geometry
from ...data.crops.dataset import CropDataset
from ...nn.distributed import gather_from_processes
from ..artifacts import describe_geometry, pool_crops

NUM_CROPS = 24
"""Crops whose atoms are found, which takes about half a second for one of 35 Å."""


class AtomMetrics:
    """Geometry of the atoms found in reconstructions, and solid blocks.

    test: the crops of the test
    """

    def __init__(self, test: CropDataset):
        self.test = test
        self.side_A = test.size_voxels * test.resolution_A
        self.geometries: dict[int, Geometry] = {}
        self.num_blocks: dict[int, int] = {}

    def update(
        self,
        sample_index: Int[Tensor, " b"] | list[int],
        images: Float[Tensor, "b c x y z"],
        reconstructions: Float[Tensor, "b c x y z"],
    ):
        """Add a batch."""
        resolution_A, radius_A = self.test.resolution_A, self.test.radius_A
        for index, *pair in zip(
            sample_index, images.float().cpu(), reconstructions.float().cpu(), strict=True
        ):
            blocks = find_solid_blocks(*(x.numpy() for x in pair), resolution_A)
            self.num_blocks[index] = len(blocks)
            if index < NUM_CROPS:
                self.geometries[index] = find_geometry(
                    pair[1], resolution_A=resolution_A, radius_A=radius_A
                )

    def calc(self) -> dict[str, float]:
        """Return the metrics of all processes' crops.

        found_atoms:  atoms found, relative to the crops' own
        solid_blocks: see `find_solid_blocks`; average number in a crop
        others:       see `describe_geometry`, with intervals over structures
        """
        geometries = gather_from_processes(self.geometries)
        num_blocks = gather_from_processes(self.num_blocks)
        crops = {i: self.test[i][1] for i in sorted(geometries)}
        true = pool_crops(crops.values(), self.side_A)
        found = [geometries[i] for i in crops]
        num_found = sum(x.num_atoms for x in found)
        return {
            **describe_geometry(found, [x.structure for x in crops.values()], true),
            "found_atoms": num_found / true.num_atoms if true.num_atoms else np.nan,
            "solid_blocks": float(np.mean(list(num_blocks.values()))),
        }
