"""Elementwise functions of nonlinearities, and their derivatives."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POINTWISE_FUNCTIONS = ("elu", "relu", "hermite", "learned_hermite")


class PointwiseFunction(nn.Module):
    """An elementwise function of real numbers.

    Its arguments are several times as large as the images, so it works in place, and calculates its
    own gradients.

    name: elu; relu; hermite, the Hermite function of degree 1, scaled to have its extremes ±1 at
          ±1; or learned_hermite, a learned sum of the first four, with the same scale, which is
          initialised as hermite
    """

    def __init__(self, name: str):
        super().__init__()
        if name not in POINTWISE_FUNCTIONS:
            raise ValueError(
                f"nonlinearity {name!r} is unknown; "
                f"expected one of {', '.join(POINTWISE_FUNCTIONS)}"
            )
        self.name = name
        if name == "learned_hermite":
            self.weights = nn.Parameter(torch.tensor([0.0, 1.0, 0.0, 0.0]))

    def apply_(self, x: Tensor) -> Tensor:
        """Replace x by the function's values."""
        match self.name:
            case "elu":
                return F.elu_(x)
            case "relu":
                return F.relu_(x)
            case "hermite":
                return x.mul_(_calc_bell(x))
            case "learned_hermite":
                bell = _calc_bell(x)
                return x.copy_(_evaluate(self._list_coefficients(), x)).mul_(bell)

    def backpropagate_(self, x: Tensor, grad: Tensor) -> list[Tensor]:
        """Return the gradient of each parameter; replace grad, that of the values, by that of x.

        x is overwritten.
        """
        match self.name:
            case "elu":
                grad.mul_(x.clamp_(max=0).exp_())
            case "relu":
                grad.masked_fill_(x <= 0, 0)
            case "hermite":
                bell = _calc_bell(x)
                grad.mul_(x.square_().neg_().add_(1)).mul_(bell)
            case "learned_hermite":
                grad.mul_(_calc_bell(x))
                moments = [grad.sum()]
                power = grad
                for _ in range(3):
                    power = power * x
                    moments.append(power.sum())
                m0, m1, m2, m3 = moments
                # (p · bell)' = (p' − x · p) · bell
                a0, a1, a2, a3 = self._list_coefficients()
                grad.mul_(_evaluate([a1, 2 * a2 - a0, 3 * a3 - a1, -a2, -a3], x))
                return [torch.stack([m0, m1, m2 - m0, m3 - 3 * m1])]
        return []

    def _list_coefficients(self) -> list[Tensor]:
        """Return coefficients of 1, x, x² and x³; the weights are of the probabilists' Hermite
        polynomials, 1, x, x² − 1 and x³ − 3x."""
        w0, w1, w2, w3 = self.weights
        return [w0 - w2, w1 - 3 * w3, w2, w3]

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_(x.clone())

    def extra_repr(self):
        return self.name


def _calc_bell(x: Tensor) -> Tensor:
    """Calculate exp((1 − x²) / 2)."""
    return (x * x).neg_().add_(1).div_(2).exp_()


def _evaluate(coefficients: list[Tensor], x: Tensor) -> Tensor:
    """Evaluate a polynomial; the constant coefficient is the first."""
    *rest, value = coefficients
    for coefficient in reversed(rest):
        value = value * x + coefficient
    return value
