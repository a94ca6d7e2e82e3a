"""The blocks that encoders and decoders consist of.

Letters: b batch, i o channels in and out, x y z voxels, d conditions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ..nn.conv import SteerableConv
from ..nn.fields import FieldType, Term
from ..nn.modulation import Modulation
from ..nn.nonlinearities.mixed import FieldNonlinearity
from ..nn.norm import InstanceNorm, IrrepsNorm
from ..nn.unconstrained import UnconstrainedConv
from .hparams import NetworkHparams

SYMMETRIES = {"rotation": SteerableConv, "none": UnconstrainedConv}
NORMS = {"batch": IrrepsNorm, "instance": InstanceNorm}


def make_options(hparams: NetworkHparams) -> dict[str, Any]:
    """Return the arguments of encoders and decoders that hyperparameters stand for."""
    return {
        "convs_per_layer": hparams.convs_per_layer,
        "blocks": hparams.blocks,
        "kernel_size": hparams.kernel_size,
        "conv": SYMMETRIES[hparams.symmetry],
        "norm": NORMS[hparams.normalisation],
        "grid": None if hparams.grid == "auto" else hparams.grid,
        "function": hparams.nonlinearity,
        "irreps": hparams.irreps_nonlinearity,
    }


class ConvBlock(nn.Module):
    """A convolution, a normalisation and a nonlinearity.

    conv:                   makes the convolution from the irreps before and after it
    norm:                   `IrrepsNorm` or `InstanceNorm`
    grid, function, irreps: see `FieldNonlinearity`
    num_conditions:         numbers that modulate the normalised fields; none by default
    convolution:            further arguments of conv
    """

    def __init__(
        self,
        irreps_in: Irreps,
        field_type: FieldType,
        *,
        conv: Callable[..., nn.Module] = SteerableConv,
        norm: type[nn.Module] = IrrepsNorm,
        grid: str | None = None,
        function: str = "elu",
        irreps: str = "gate",
        num_conditions: int = 0,
        **convolution,
    ):
        super().__init__()
        nonlinearity = FieldNonlinearity(field_type, grid=grid, function=function, irreps=irreps)
        # Defined in the order of the data flow, which the repr shows.
        self.conv = conv(irreps_in, nonlinearity.irreps_in, **convolution)
        self.norm = norm(self.conv.irreps_out)
        if num_conditions:
            self.modulation = Modulation(self.conv.irreps_out, num_conditions)
        self.nonlinearity = nonlinearity
        self.field_type = nonlinearity.field_type
        self.irreps_in = self.conv.irreps_in
        self.irreps_out = self.nonlinearity.irreps_out

    def forward(
        self, image: Float[Tensor, "b i x y z"], conditions: Float[Tensor, "b d"] | None = None
    ) -> Float[Tensor, "b o x2 y2 z2"]:
        image = self.conv(image)
        scale, shift = self.norm.calc_affine(image)
        if conditions is not None:
            factor, offset = self.modulation(conditions)
            scale, shift = scale * factor, shift * factor + offset
        return self.nonlinearity(image, scale, shift)

    def extra_repr(self):
        return f"{self.irreps_in.simplify()} -> {self.field_type}"


class ResidualBlock(nn.Module):
    """Two blocks of convolutions, added to their input.

    options: as for `ConvBlock`
    source:  He et al. 2016, Deep Residual Learning for Image Recognition
    """

    def __init__(self, field_type: FieldType, **options):
        super().__init__()
        self.field_type = field_type
        self.irreps_in = self.irreps_out = field_type.irreps
        self.blocks = nn.ModuleList(
            ConvBlock(self.irreps_in, field_type, **options) for _ in range(2)
        )

    def forward(
        self, image: Float[Tensor, "b i x y z"], conditions: Float[Tensor, "b d"] | None = None
    ) -> Float[Tensor, "b i x y z"]:
        first, second = self.blocks
        return image + second(first(image, conditions), conditions)


class ResampledConv(nn.Sequential):
    """A convolution, and before or after it a change of the image's side."""

    def __init__(self, *modules: nn.Module):
        super().__init__(*modules)
        self.irreps_in, self.irreps_out = modules[0].irreps_in, modules[-1].irreps_out


def make_layer(
    irreps_in: Irreps,
    field_type: FieldType,
    *,
    first: Callable[..., nn.Module],
    convs_per_layer: int,
    blocks: str,
    kernel_size: int,
    conv: type[nn.Module],
    **options,
) -> list[nn.Module]:
    """Return the blocks of one resolution.

    first:           makes the first convolution
    convs_per_layer: blocks
    blocks:          "plain", or "residual" for those after the first
    kernel_size, conv: of all but the first convolution; without symmetry, fields are scalars
    options:         of all blocks, as for `ConvBlock`
    """
    if conv is UnconstrainedConv:
        field_type = FieldType((Term(field_type.size, "irrep", 0),))
    others = {**options, "conv": partial(conv, kernel_size=kernel_size, padding=kernel_size // 2)}
    layer: list[nn.Module] = [ConvBlock(irreps_in, field_type, conv=first, **options)]
    for _ in range(convs_per_layer - 1):
        if blocks == "residual":
            layer.append(ResidualBlock(field_type, **others))
        else:
            layer.append(ConvBlock(field_type.irreps, field_type, **others))
    return layer
