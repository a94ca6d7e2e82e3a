"""Equivariance errors of modules.

Letters: b batch, c channels, x y z voxels.
"""

from collections.abc import Callable

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float, Float64
from torch import Tensor, nn

from .rotations import make_octahedral_group, rotate_channels, rotate_voxels


def calc_equivariance_error(
    module: Callable[[Tensor], Tensor],
    image: Float[Tensor, "b c x y z"],
    *,
    irreps_in: Irreps,
    irreps_out: Irreps,
    rotation: Float64[Tensor, "3 3"],
) -> float:
    """Calculate |f(R x) − R f(x)| / |R f(x)| for one rotation R.

    For the 24 rotations of the cube, which permute the voxels, the error of an exact module is
    rounding error.  For any other, input and output are interpolated, which causes most of the
    error; only voxels within the largest sphere about the centre are compared.
    """

    def rotate(image, irreps):
        return rotate_voxels(rotate_channels(image, irreps, rotation), rotation)

    with torch.no_grad():
        of_rotated = module(rotate(image, irreps_in))
        rotated = rotate(module(image), irreps_out)
    if not _permutes_voxels(rotation):
        mask = make_sphere_mask(rotated)
        of_rotated, rotated = of_rotated * mask, rotated * mask
    return ((of_rotated - rotated).norm() / rotated.norm()).item()


def calc_exact_equivariance_error(
    module: Callable[[Tensor], Tensor],
    image: Float[Tensor, "b c x y z"],
    *,
    irreps_in: Irreps,
    irreps_out: Irreps,
) -> float:
    """Calculate the largest error under the 24 rotations of the cube."""
    return max(
        calc_equivariance_error(
            module, image, irreps_in=irreps_in, irreps_out=irreps_out, rotation=rotation
        )
        for rotation in make_octahedral_group()
    )


def calc_layer_errors(
    model: nn.Module, image: Float[Tensor, "b c x y z"], *, rotation: Float64[Tensor, "3 3"]
) -> dict[str, float]:
    """Calculate the error of each layer, as `calc_equivariance_error`, on its input for this image.

    Layers are modules that have irreps_in and irreps_out, and return an image.

    returns: errors by the layer's name, in the order of evaluation; '' is the model itself
    """
    calls: dict[str, tuple] = {}

    def watch(name: str):
        def remember(module: nn.Module, arguments: tuple, result):
            if isinstance(result, Tensor):
                calls[name] = (module, arguments)

        return remember

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if hasattr(module, "irreps_in") and hasattr(module, "irreps_out")
    ]
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()

    def calc_error(module: nn.Module, image: Tensor, *others) -> float:
        return calc_equivariance_error(
            lambda image: module(image, *others),
            image,
            irreps_in=module.irreps_in,
            irreps_out=module.irreps_out,
            rotation=rotation,
        )

    return {name: calc_error(module, *arguments) for name, (module, arguments) in calls.items()}


def _permutes_voxels(rotation: Float64[Tensor, "3 3"]) -> bool:
    return bool(torch.allclose(rotation, rotation.round(), atol=1e-12))


def make_sphere_mask(image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "x y z"]:
    """Return 1 for voxels whose centres lie within the sphere that touches those of the outermost
    voxels, else 0."""
    axes = [torch.linspace(-1, 1, num_voxels).to(image) for num_voxels in image.shape[2:]]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (x * x + y * y + z * z <= 1).to(image)
