"""Quality of reconstructed images.

Letters: b batch, c channels, x y z voxels.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor


def calc_r2(
    image: Float[Tensor, "b c x y z"], reconstruction: Float[Tensor, "b c x y z"]
) -> Float[Tensor, " b"]:
    """Return the R² of each image, relative to its own mean in each channel."""
    errors = (image - reconstruction).square().flatten(1).sum(1)
    deviations = image - image.mean(dim=(2, 3, 4), keepdim=True)
    return 1 - errors / deviations.square().flatten(1).sum(1)


@dataclass
class ReconstructionMetrics:
    """Running sums in float64, for the R² of all images together.

    channel_names: names of the images' channels
    """

    channel_names: tuple[str, ...]
    num_images: int = 0
    num_voxels: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)

    def update(
        self, image: Float[Tensor, "b c x y z"], reconstruction: Float[Tensor, "b c x y z"]
    ):
        """Add a batch."""
        self.num_images += len(image)
        self.num_voxels += image[:, 0].numel()
        errors = (image - reconstruction).square()
        occupied = (image > 0).any(dim=1, keepdim=True)
        self._add("image", image)
        self._add("image_square", image.square())
        self._add("error_square", errors)
        self._add("error_occupied", errors * occupied)
        self._add("occupied_voxels", occupied.float())

    def _add(self, name: str, values: Float[Tensor, "b c x y z"]):
        self._add_total(name, values.double().sum(dim=(0, 2, 3, 4)))

    def _add_total(self, name: str, total: Tensor):
        self.sums[name] = self.sums[name] + total if name in self.sums else total

    def calc(self) -> dict[str, float]:
        """Return the metrics of all batches.

        r2:           1 − Σ error² / Σ (image − mean of its channel)²
        r2_zero:      1 − Σ error² / Σ image²
        occupied_r2:  r2 of the voxels that atoms touch, against their own mean
        r2_<channel>: r2 of one channel alone; NaN where it is empty
        """
        error = self.sums["error_square"]
        image, square = self.sums["image"], self.sums["image_square"]
        variation = square - image.square() / self.num_voxels
        # Outside the occupied voxels, images are zero.
        occupied_variation = square - image.square() / self.sums["occupied_voxels"]
        occupied_error = self.sums["error_occupied"]
        of_channel = torch.where(variation > 0, 1 - error / variation, torch.nan)
        return {
            "r2": (1 - error.sum() / variation.sum()).item(),
            "r2_zero": (1 - error.sum() / square.sum()).item(),
            "occupied_r2": (1 - occupied_error.sum() / occupied_variation.sum()).item(),
        } | {
            f"r2_{name}": value
            for name, value in zip(self.channel_names, of_channel.tolist(), strict=True)
        }
