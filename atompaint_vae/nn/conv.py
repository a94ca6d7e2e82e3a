"""Steerable 3D convolution, strided or transposed.

Letters: b batch, x y z voxels, i o channels in and out, p basis kernels (paths), m n components of
an irrep, k voxels along a kernel's side.
"""

import warnings
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from e3nn.o3 import Irreps, spherical_harmonics, wigner_3j
from jaxtyping import Float, Float64
from torch import Tensor, nn

from .fields import list_copies
from .precision import has_slow_bfloat16

DEPENDENT = 1e-6
"""Basis kernels are left out if their part that is independent of the others is shorter than this,
relative to the whole."""


@cache
def make_kernel_basis(l_in: int, l_out: int, kernel_size: int) -> Float64[Tensor, "p m n k k k"]:
    """Make an orthonormal basis of the steerable kernels between two irreps on the voxel lattice.

    A kernel K(x): irrep l_in → irrep l_out is steerable if K(Rx) = D_out(R) K(x) D_in(R)^T.  Its
    angular part is a sum over spherical harmonics.  Its radial part is unconstrained: on the
    lattice, one number for each shell of voxels equally far from the centre.  Harmonics that are
    linearly dependent on the voxels of a shell are counted once.

    source: Weiler et al. 2018, 3D Steerable CNNs, eq. 11 to 17
    """
    half = kernel_size // 2
    axis = torch.arange(-half, half + 1, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis, axis)
    squared_radii = points.square().sum(dim=1).long()

    basis = []
    for squared_radius in squared_radii.unique():
        shell = squared_radii == squared_radius
        shell_basis: list[Tensor] = []
        for l in range(abs(l_in - l_out), l_in + l_out + 1):
            if squared_radius == 0 and l > 0:
                continue
            angular = spherical_harmonics(l, points[shell], normalize=True)
            coupling = wigner_3j(l_out, l_in, l, dtype=torch.float64)
            kernel = points.new_zeros(2 * l_out + 1, 2 * l_in + 1, len(points))
            kernel[..., shell] = torch.einsum("mnj,vj->mnv", coupling, angular)
            # Gram-Schmidt in a fixed order, twice for accuracy.  The signs of a QR or an SVD could
            # differ between machines, and saved weights would then give other kernels.
            size = kernel.norm()
            for _ in range(2):
                for other in shell_basis:
                    kernel = kernel - (kernel * other).sum() * other
            if kernel.norm() > DEPENDENT * size:
                shell_basis.append(kernel / kernel.norm())
        basis += shell_basis

    shape = (len(basis), 2 * l_out + 1, 2 * l_in + 1, *[kernel_size] * 3)
    return torch.cat([torch.zeros(0, dtype=torch.float64), *map(torch.flatten, basis)]).view(shape)


class EquivarianceWarning(UserWarning):
    """A choice of sizes that breaks equivariance to the rotations of the cube."""


def check_size(size_voxels: int, *, kernel_size: int, stride: int, padding: int):
    """Check that a convolution's positions are symmetric about the centre of the image.

    warns: EquivarianceWarning if they aren't, with the nearest sizes for which they are
    """
    remainder = (size_voxels + 2 * padding - kernel_size) % stride
    if remainder:
        nearest = f"{size_voxels - remainder} and {size_voxels + stride - remainder}"
        warnings.warn(
            f"an image of {size_voxels} voxels a side loses the symmetry of the cube in a "
            f"convolution of kernel {kernel_size}, stride {stride} and padding {padding}; "
            f"the nearest sizes that keep it: {nearest}",
            EquivarianceWarning,
            stacklevel=3,
        )


class SteerableConv(nn.Module):
    """An equivariant convolution: one weight for each pair of irrep copies, shell of the kernel and
    spherical harmonic.

    kernel_size: voxels along a side, odd
    padding:     zeros on each side (cropped from the output, if transposed); "auto" for those of
                 `choose_padding`, which depend on the image's side
    transposed:  the transposed convolution, which reverses a strided convolution's change of size
    bias:        a constant added to each l = 0 channel
    size_voxels: the side of the input images, if known

    Takes and returns [b, c, x, y, z]; fastest in the channels-last memory format.  In eval mode
    without gradients, the kernel is cached until weights are loaded, moved or trained.

    warns: EquivarianceWarning if images of size_voxels lose the cube's symmetry
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | Literal["auto"] = 0,
        transposed: bool = False,
        bias: bool = False,
        size_voxels: int | None = None,
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: expected an odd number, got {kernel_size}")
        self.irreps_in = Irreps(irreps_in)
        self.irreps_out = Irreps(irreps_out)
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.transposed = transposed
        self._cached_kernel: Tensor | None = None
        self._cached_versions: list[int] = []
        if size_voxels is not None and not transposed:
            check_size(size_voxels, kernel_size=kernel_size, stride=stride, padding=padding)

        copies_in, copies_out = list_copies(self.irreps_in), list_copies(self.irreps_out)
        self._degrees_in = sorted({irrep.l for irrep in copies_in})
        self._degrees_out = sorted({irrep.l for irrep in copies_out})
        self._num_in = {l: sum(irrep.l == l for irrep in copies_in) for l in self._degrees_in}
        self._num_out = {l: sum(irrep.l == l for irrep in copies_out) for l in self._degrees_out}

        weights = nn.ParameterDict()
        for l_out in self._degrees_out:
            num_paths = {l: len(self._get_basis(l, l_out)) for l in self._degrees_in}
            # The basis is orthonormal, so inputs of unit variance give outputs of unit variance.
            # A voxel of a transposed layer gets only 1 in stride³ voxels of the kernel.
            fan_in = sum(num_paths[l] * self._num_in[l] for l in self._degrees_in)
            std = ((2 * l_out + 1) / max(fan_in, 1)) ** 0.5
            if transposed:
                std *= stride**1.5
            for l_in in self._degrees_in:
                shape = (self._num_out[l_out], self._num_in[l_in], num_paths[l_in])
                weights[f"{l_in}to{l_out}"] = nn.Parameter(std * torch.randn(shape))
                self.register_buffer(
                    f"basis_{l_in}to{l_out}",
                    self._get_basis(l_in, l_out).to(torch.get_default_dtype()).flatten(1),
                    persistent=False,
                )
        self.weights = weights

        num_scalars = self._num_out.get(0, 0)
        self.bias = nn.Parameter(torch.zeros(num_scalars)) if bias and num_scalars else None

        # Kernels are made with copies sorted by l, and then permuted to the order of the channels.
        for name, copies in (("in", copies_in), ("out", copies_out)):
            order = _find_sorted_positions(copies)
            is_sorted = bool((order == torch.arange(len(order))).all())
            self.register_buffer(f"_order_{name}", None if is_sorted else order, persistent=False)
        is_scalar = [irrep.l == 0 for irrep in copies_out for _ in range(irrep.dim)]
        self.register_buffer("_scalars", torch.tensor(is_scalar).nonzero()[:, 0], persistent=False)

    def _get_basis(self, l_in: int, l_out: int) -> Float64[Tensor, "p m n k k k"]:
        return make_kernel_basis(l_in, l_out, self.kernel_size)

    def calc_kernel(self) -> Float[Tensor, "o i k k k"]:
        """Calculate the kernel from the current weights."""
        rows = []
        for l_out in self._degrees_out:
            blocks = []
            for l_in in self._degrees_in:
                weight = self.weights[f"{l_in}to{l_out}"]
                num_out, num_in, _ = weight.shape
                basis = getattr(self, f"basis_{l_in}to{l_out}")
                block = (weight.flatten(0, 1) @ basis).view(
                    num_out, num_in, 2 * l_out + 1, 2 * l_in + 1, self.kernel_size**3
                )
                blocks.append(block.permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1))
            rows.append(torch.cat(blocks, dim=1))
        kernel = torch.cat(rows)
        if self._order_out is not None:
            kernel = kernel.index_select(0, self._order_out)
        if self._order_in is not None:
            kernel = kernel.index_select(1, self._order_in)
        return kernel.unflatten(2, [self.kernel_size] * 3)

    def _get_kernel(self) -> Float[Tensor, "o i k k k"]:
        if self.training or torch.is_grad_enabled():
            return self.calc_kernel()
        versions = [weight._version for weight in self.weights.values()]
        if self._cached_kernel is None or self._cached_versions != versions:
            # Otherwise a kernel made under autocast would be used for images outside it.
            with torch.autocast(self._scalars.device.type, enabled=False):
                self._cached_kernel = self.calc_kernel()
            self._cached_versions = versions
        return self._cached_kernel

    def train(self, mode: bool = True):
        self._cached_kernel = None
        return super().train(mode)

    def _load_from_state_dict(self, *args):
        self._cached_kernel = None
        super()._load_from_state_dict(*args)

    def _apply(self, *args, **kwargs):
        self._cached_kernel = None
        super()._apply(*args, **kwargs)
        # From the exact bases, since rounding to float32 can't be undone in float64.
        for l_out in self._degrees_out:
            for l_in in self._degrees_in:
                name = f"basis_{l_in}to{l_out}"
                exact = self._get_basis(l_in, l_out).flatten(1)
                setattr(self, name, exact.to(getattr(self, name)))
        return self

    def forward(self, image: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x2 y2 z2"]:
        kernel = self._get_kernel()
        bias = None
        if self.bias is not None:
            bias = self.bias.new_zeros(self.irreps_out.dim).index_add(0, self._scalars, self.bias)
        return convolve(
            image,
            kernel.transpose(0, 1) if self.transposed else kernel,
            bias,
            stride=self.stride,
            padding=self.padding,
            transposed=self.transposed,
        )

    def __repr__(self):
        # nn.Module's would list the weights, whose shapes follow from the irreps.
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self):
        irreps = [str(irreps.simplify()) for irreps in (self.irreps_in, self.irreps_out)]
        parts = [" -> ".join(irreps), f"kernel={self.kernel_size}"]
        if self.stride != 1:
            parts.append(f"stride={self.stride}")
        if self.padding:
            parts.append(f"padding={self.padding}")
        if self.transposed:
            parts.append("transposed")
        return ", ".join(parts)


def convolve(
    image: Float[Tensor, "b i x y z"],
    kernel: Float[Tensor, "..."],
    bias: Float[Tensor, " o"] | None,
    *,
    stride: int,
    padding: int | Literal["auto"],
    transposed: bool,
    groups: int = 1,
) -> Float[Tensor, "b o x2 y2 z2"]:
    """Convolve as torch does, in the way that is fastest on this processor.

    kernel:  [o, i / groups, k, k, k], or [i, o / groups, k, k, k] if transposed
    padding: "auto" for that of `choose_padding`
    """
    if padding == "auto":
        padding = choose_padding(image.shape[-1], kernel.shape[-1])
    device = image.device.type
    if (
        has_slow_bfloat16(image.device)
        and torch.is_autocast_enabled(device)
        and torch.get_autocast_dtype(device) == torch.bfloat16
    ):
        rounded = [t if t is None else t.bfloat16().float() for t in (image, kernel, bias)]
        with torch.autocast(device, enabled=False):
            result = convolve(
                *rounded, stride=stride, padding=padding, transposed=transposed, groups=groups
            )
        return result.bfloat16()

    # On CPUs, the bias of a transposed convolution takes longer than the convolution itself.
    is_added = transposed and bias is not None
    result = (F.conv_transpose3d if transposed else F.conv3d)(
        image,
        kernel.to(memory_format=torch.channels_last_3d),
        None if is_added else bias,
        stride=stride,
        padding=padding,
        groups=groups,
    )
    return result + bias.view(-1, 1, 1, 1).to(result) if is_added else result


def _find_sorted_positions(copies) -> Tensor:
    """Return each channel's position if the copies were sorted by l (stably)."""
    starts = torch.tensor([0, *(irrep.dim for irrep in copies)]).cumsum(0)
    by_degree = sorted(range(len(copies)), key=lambda i: copies[i].l)
    channels = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in by_degree])
    return channels.argsort()


def choose_padding(size: int, kernel_size: int = 3) -> int:
    """Choose the padding with which a convolution of stride 2 maps an odd side to an odd side.

    35 → 17 → 9 → 5 → 3, for kernels of any odd side.  The convolution is exactly equivariant to the
    24 rotations of the cube only if its positions are symmetric about the image's centre,
    (size + 2·padding − kernel_size) mod 2 = 0.  For an odd side, any padding satisfies this; for an
    even side, none does.  So the side is kept odd.

    raises: ValueError if the side is even or below 3
    """
    if size % 2 == 0 or size < 3:
        raise ValueError(f"can't halve an image of {size} voxels a side: expected odd, >= 3")
    return kernel_size // 2 - (size - 1) // 2 % 2


def calc_halved_size(size: int) -> int:
    """Return the side of the output with the padding of `choose_padding`."""
    return (size + 2 * choose_padding(size) - 3) // 2 + 1
