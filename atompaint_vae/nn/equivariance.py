"""How nearly a module turns with its input.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Callable

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float, Float64
from torch import Tensor

from .rotations import make_octahedral_group, rotate_channels, rotate_voxels


def calc_equivariance_error(
    module: Callable[[Tensor], Tensor],
    image: Float[Tensor, "b c x y z"],
    *,
    irreps_in: Irreps,
    irreps_out: Irreps,
    rotation: Float64[Tensor, "3 3"],
) -> float:
    """|f(R x) − R f(x)| / |R f(x)| for one rotation R.

    For the 24 rotations of the cube, which permute the voxels, an exact module reaches rounding
    error.  For any other, the image itself is interpolated, twice, and most of the error is that;
    so only voxels within the largest sphere about the centre are compared.
    """

    def rotate(image, irreps):
        return rotate_voxels(rotate_channels(image, irreps, rotation), rotation)

    with torch.no_grad():
        of_rotated = module(rotate(image, irreps_in))
        rotated = rotate(module(image), irreps_out)
    if not _permutes_voxels(rotation):
        mask = _make_sphere_mask(rotated)
        of_rotated, rotated = of_rotated * mask, rotated * mask
    return ((of_rotated - rotated).norm() / rotated.norm()).item()


def calc_exact_equivariance_error(
    module: Callable[[Tensor], Tensor],
    image: Float[Tensor, "b c x y z"],
    *,
    irreps_in: Irreps,
    irreps_out: Irreps,
) -> float:
    """The largest error under the 24 rotations of the cube."""
    return max(
        calc_equivariance_error(
            module, image, irreps_in=irreps_in, irreps_out=irreps_out, rotation=rotation
        )
        for rotation in make_octahedral_group()
    )


def _permutes_voxels(rotation: Float64[Tensor, "3 3"]) -> bool:
    return bool(torch.allclose(rotation, rotation.round(), atol=1e-12))


def _make_sphere_mask(image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "x y z"]:
    axes = [torch.linspace(-1, 1, num_voxels).to(image) for num_voxels in image.shape[2:]]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (x * x + y * y + z * z <= 1).to(image)
