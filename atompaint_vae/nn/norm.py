"""Normalisation of irreps, over the batch and the voxels or over each image's voxels.

Letters: b batch, x y z voxels, c channels, n irrep copies, s scalars among them; g groups of images
with statistics of their own, u voxels of a group.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from .compiled import calc_moments, find_library
from .distributed import count_processes, sum_over_processes
from .fields import list_copies


class _AffineNorm(nn.Module):
    """Normalisation with one mean (l = 0 only), variance, weight and bias for each irrep copy."""

    def __init__(self, irreps: Irreps, *, eps: float):
        super().__init__()
        self.irreps_in = self.irreps_out = Irreps(irreps)
        self.eps = eps

        copies = list_copies(self.irreps_in)
        dims = torch.tensor([irrep.dim for irrep in copies])
        copy_of_channel = torch.arange(len(copies)).repeat_interleave(dims)
        self.register_buffer("_dims", dims, persistent=False)
        self.register_buffer("_copy_of_channel", copy_of_channel, persistent=False)
        scalars = (dims == 1).nonzero()[:, 0]
        self.register_buffer("_scalar_copies", scalars, persistent=False)
        scalar_channels = (dims.cumsum(0) - dims)[scalars]
        self.register_buffer("_scalar_channels", scalar_channels, persistent=False)

        self.weight = nn.Parameter(torch.ones(len(copies)))
        self.bias = nn.Parameter(torch.zeros(len(self._scalar_copies)))

    def calc_affine(self, image: Float[Tensor, "b c x y z"]) -> tuple[Tensor, Tensor]:
        """Return the scale and the shift of each channel, [c], or of each image's, [b, c]."""
        raise NotImplementedError

    def _calc_statistics(
        self, mean: Float[Tensor, "*b c"], mean_square: Float[Tensor, "*b c"]
    ) -> tuple[Float[Tensor, "*b s"], Float[Tensor, "*b n"]]:
        """Calculate the mean of each scalar copy, and the variance of each copy: the mean square of
        its components, about the mean for scalars.

        mean, mean_square: of each channel
        """
        square = mean.new_zeros(*mean.shape[:-1], len(self._dims))
        var = square.index_add(-1, self._copy_of_channel, mean_square) / self._dims
        mean = mean.index_select(-1, self._scalar_channels)
        var = var.index_add(-1, self._scalar_copies, -mean.square())
        return mean, var.clamp(min=0)

    def _make_affine(
        self, mean: Float[Tensor, "*b s"], var: Float[Tensor, "*b n"]
    ) -> tuple[Float[Tensor, "*b c"], Float[Tensor, "*b c"]]:
        scale = self.weight * (var + self.eps).rsqrt()
        shift = torch.zeros_like(scale).index_add(
            -1,
            self._scalar_copies,
            self.bias - mean * scale.index_select(-1, self._scalar_copies),
        )
        return tuple(x.index_select(-1, self._copy_of_channel) for x in (scale, shift))

    def forward(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        scale, shift = self.calc_affine(image)
        return image * scale[..., None, None, None] + shift[..., None, None, None]

    def extra_repr(self):
        return f"{self.irreps_in.simplify()}"


class IrrepsNorm(_AffineNorm):
    """Batch normalisation, with one mean (l = 0 only), variance and weight for each irrep copy.

    If torch.distributed is running, the statistics are those of all processes' batches together.

    The result is affine in each channel, y = scale · x + shift.  `calc_affine` returns scale and
    shift, so that the following nonlinearity can apply them; `forward` applies them itself.

    momentum: weight of each batch in the running statistics
    eps:      added to the variance
    source:   Weiler et al. 2018, 3D Steerable CNNs, sec. 4.3
    """

    def __init__(self, irreps: Irreps, *, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__(irreps, eps=eps)
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(len(self.bias)))
        self.register_buffer("running_var", torch.ones(len(self.weight)))

    def calc_affine(
        self, image: Float[Tensor, "b c x y z"]
    ) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Return the scale and the shift of each channel.

        In training mode they are calculated from this batch, which also updates the running
        statistics.
        """
        if not self.training:
            return self._make_affine(self.running_mean, self.running_var)
        channels = image.movedim(1, -1).flatten(0, -2)
        totals = _Moments.apply(channels[None], self.running_var.dtype)[:, 0]
        # All processes have batches of the same size.
        num_voxels = len(channels) * count_processes()
        mean, var = self._calc_statistics(*sum_over_processes(totals) / num_voxels)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        return self._make_affine(mean, var)


class InstanceNorm(_AffineNorm):
    """Instance normalisation: as `IrrepsNorm`, with the statistics of each image's own voxels, the
    same in training and in evaluation.

    eps:    added to the variance
    source: Ulyanov et al. 2016, Instance Normalization
    """

    def __init__(self, irreps: Irreps, *, eps: float = 1e-5):
        super().__init__(irreps, eps=eps)

    def calc_affine(
        self, image: Float[Tensor, "b c x y z"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
        """Return the scale and the shift of each channel of each image."""
        channels = image.movedim(1, -1).flatten(1, -2)
        totals = _Moments.apply(channels, self.weight.dtype)
        return self._make_affine(*self._calc_statistics(*totals / channels.shape[1]))


class _Moments(torch.autograd.Function):
    """Sums of values and of squares over each group's voxels, [2, g, c]; only x is saved.

    x:         [g, u, c]
    precision: of the sums
    """

    @staticmethod
    def forward(ctx, x, precision):
        ctx.save_for_backward(x)
        library = find_library(x)
        if library is not None and precision == torch.float32:
            return calc_moments(library, x).to(precision)
        values = x.to(precision)
        return torch.stack([values.sum(dim=1), values.square().sum(dim=1)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_totals):
        (x,) = ctx.saved_tensors
        grad_sums, grad_squares = grad_totals[:, :, None]
        grad = torch.addcmul(grad_sums, x.to(grad_totals), grad_squares, value=2)
        return grad.to(x), None


def recompute_statistics(
    model: nn.Module, run_batch: Callable[[Any], object], batches: Iterable[Any]
):
    """Set the running statistics of a model's normalisations to their averages over some batches.

    Averaged weights need it: the statistics that were gathered in training are of other weights.

    run_batch: runs the model on a batch; the modules but for the normalisations keep their mode
    source:    Izmailov et al. 2018, Averaging Weights Leads to Wider Optima, sec. 3.2
    """
    norms = [module for module in model.modules() if isinstance(module, IrrepsNorm)]
    if not norms:
        return
    before = [(norm.training, norm.momentum) for norm in norms]
    try:
        for number, batch in enumerate(batches, start=1):
            for norm in norms:
                norm.train()
                norm.momentum = 1 / number
            run_batch(batch)
    finally:
        for norm, (is_training, momentum) in zip(norms, before, strict=True):
            norm.train(is_training)
            norm.momentum = momentum
