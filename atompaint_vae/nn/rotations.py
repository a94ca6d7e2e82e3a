"""Rotations: of irreps, of fields, of images.

Everything is in float64.  e3nn's own Wigner matrices are derived from single precision, which is
too little to tell an exactly equivariant layer from an approximate one.

Letters: r rotations, m n components of an irrep, b batch, c channels, x y z voxels.
"""

from collections.abc import Sequence
from functools import cache
from itertools import permutations, product

import torch
from e3nn.o3 import Irreps, spherical_harmonics
from jaxtyping import Float, Float64
from torch import Tensor


@cache
def make_octahedral_group() -> Float64[Tensor, "24 3 3"]:
    """Return the 24 rotations of the cube."""
    signed_permutations = torch.stack(
        [
            torch.diag(torch.tensor(signs, dtype=torch.float64))[list(order)]
            for order in permutations(range(3))
            for signs in product((1.0, -1.0), repeat=3)
        ]
    )
    return signed_permutations[torch.linalg.det(signed_permutations) > 0]


def calc_wigner(l: int, rotations: Float64[Tensor, "r 3 3"]) -> Float64[Tensor, "r m n"]:
    """Calculate the Wigner D matrices of real irreps, in e3nn's basis.

    They solve Y(R p) = D(R) Y(p) at enough points p of the sphere.
    """
    generator = torch.Generator().manual_seed(l)
    points = torch.randn(8 * (2 * l + 1), 3, generator=generator, dtype=torch.float64)
    before = spherical_harmonics(l, points, normalize=True)
    after = spherical_harmonics(l, points @ rotations.mT, normalize=True)
    return (torch.linalg.pinv(before) @ after).mT


def calc_representation(irreps: Irreps, rotation: Float64[Tensor, "3 3"]) -> Float64[Tensor, "c c"]:
    """Return the matrix by which a rotation acts on the channels of a feature vector."""
    wigner = {l: calc_wigner(l, rotation[None])[0] for l in {irrep.l for _, irrep in irreps}}
    copies = [wigner[irrep.l] for multiplicity, irrep in irreps for _ in range(multiplicity)]
    return torch.block_diag(*copies)


@cache
def calc_octahedral_representations(irreps: Irreps) -> Float64[Tensor, "24 c c"]:
    """Return the matrices by which the rotations of the cube act on the channels of a vector."""
    return torch.stack([calc_representation(irreps, x) for x in make_octahedral_group()])


def rotate_channels(
    image: Float[Tensor, "b c x y z"], irreps: Irreps, rotation: Float64[Tensor, "3 3"]
) -> Float[Tensor, "b c x y z"]:
    """Rotate the feature vector at each voxel, without moving the voxels."""
    matrix = calc_representation(irreps, rotation).to(image)
    return torch.einsum("ij,bjxyz->bixyz", matrix, image)


def rotate_voxels(
    image: Float[Tensor, "b c x y z"], rotation: Float64[Tensor, "3 3"]
) -> Float[Tensor, "b c x y z"]:
    """Rotate an image about its centre, without changing the feature vectors.

    Exact for the 24 rotations of the cube, which permute the voxels; others are interpolated
    trilinearly, with zeros outside the image.
    """
    if torch.allclose(rotation, rotation.round(), atol=1e-12):
        # out[p] = in[R⁻¹ p]: axis i of the output is axis order[i] of the input, flipped or not.
        order = rotation.abs().argmax(dim=1).tolist()
        flipped = [2 + i for i in range(3) if rotation[i, order[i]] < 0]
        return image.permute(0, 1, *(2 + i for i in order)).flip(flipped)

    # grid_sample takes the axes in reverse order.
    inverse = rotation.T.flip(0, 1).to(image)
    affine = torch.cat([inverse, inverse.new_zeros(3, 1)], dim=1).expand(len(image), 3, 4)
    grid = torch.nn.functional.affine_grid(affine, list(image.shape), align_corners=False)
    return torch.nn.functional.grid_sample(image, grid, align_corners=False)


def rotate_each(
    images: Float[Tensor, "b c x y z"], irreps: Irreps, numbers: Sequence[int]
) -> Float[Tensor, "b c x y z"]:
    """Rotate each image by its own rotation of the cube, whose number in the group is given."""
    rotations = make_octahedral_group()
    matrices = calc_octahedral_representations(irreps)[numbers].to(images, non_blocking=True)
    turned = torch.einsum("bij,bjxyz->bixyz", matrices, images)
    pairs = zip(turned.split(1), numbers, strict=True)
    return torch.cat([rotate_voxels(image, rotations[number]) for image, number in pairs])
