"""The atoms in the reconstructions of a test's crops, and what they look like.

Letters: b batch, c channels, x y z voxels.
"""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...analysis.blocks import find_solid_blocks
from ...analysis.geometry import (
    Geometry,
    calc_bonded_interval,
    calc_geometry,
    find_geometry,
    find_interior,
    pool_geometries,
)
from ...data.crops.dataset import CropDataset
from ...nn.distributed import gather_from_processes

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

        bonded:       share of the atoms found in reconstructions whose nearest neighbour is as far
                      away as a bond is long, 1.15 to 1.75 Å; atoms near the border don't count
        bonded_low, bonded_high: its 95 % interval over structures
        bonded_true:  the same share of the crops' own atoms
        clashing, isolated: shares of those whose nearest neighbour is nearer, or farther away
        nearest_A:    median distance to the nearest neighbour
        found_atoms:  atoms found, relative to the crops' own
        solid_blocks: see `find_solid_blocks`; average number in a crop
        """
        geometries = gather_from_processes(self.geometries)
        num_blocks = gather_from_processes(self.num_blocks)
        crops = {i: self.test[i][1] for i in sorted(geometries)}
        true = pool_geometries(
            calc_geometry(x.coords_A, x.channels, find_interior(x.coords_A, self.side_A))
            for x in crops.values()
        )
        found = [geometries[i] for i in crops]
        pooled = pool_geometries(found)
        low, high = calc_bonded_interval(found, [x.structure for x in crops.values()])
        return {
            "bonded": pooled.bonded,
            "bonded_low": low,
            "bonded_high": high,
            "bonded_true": true.bonded,
            "clashing": pooled.clashing,
            "isolated": pooled.isolated,
            "nearest_A": pooled.median_nearest_A,
            "found_atoms": pooled.num_atoms / true.num_atoms if true.num_atoms else np.nan,
            "solid_blocks": float(np.mean(list(num_blocks.values()))),
        }
