"""Make a grid on SO(3): a union of left cosets of the octahedral group, spread by gradient descent.

Usage:
    python -m atompaint_vae.nn.optimise_grid <num_cosets> <npz> [--seed N] [--steps N]

Arguments:
    <num_cosets>  The grid will have 24 times as many points.
    <npz>         File to write, with the rotation matrices under "octahedral_<points>".

Options:
    --seed N      Seed of the initial points. [default: 0]
    --steps N     Number of steps. [default: 3000]

The mean over the points R_i should approximate the integral over SO(3), as that over a design: the
energy is Σ_l (2l+1)/l² Σ_ij χ_l(R_i^T R_j) / N² over 1 <= l <= 8, χ_l being the character.  A
pointwise function of a field of frequency L has harmonics above L, and less of them is aliased on a
grid of low energy.

source: the t-design potential of Delsarte, Goethals and Seidel 1977, on SO(3)
"""

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from .rotations import make_octahedral_group

MAX_DEGREE = 8


def optimise_grid(num_cosets: int, *, seed: int, steps: int) -> Float64[Tensor, "g 3 3"]:
    """Optimise the rotation matrices of a grid, 24 for each coset, coset by coset."""
    generator = torch.Generator().manual_seed(seed)
    quaternions = torch.randn(num_cosets, 4, generator=generator, dtype=torch.float64)
    quaternions.requires_grad_()
    optimiser = torch.optim.Adam([quaternions], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        calc_energy(_expand_cosets(quaternions)).backward()
        optimiser.step()
        schedule.step()
    return _expand_cosets(quaternions.detach())


def calc_energy(grid: Float64[Tensor, "g 3 3"]) -> Float64[Tensor, ""]:
    """Calculate how far the grid's mean is from the integral; 0 for a design of degree 8."""
    # The grid is invariant from the left, so one representative of each coset is enough.
    representatives = grid[::24]
    trace = torch.einsum("aij,gij->ag", representatives, grid)
    cos_angle = ((trace - 1) / 2).clamp(-1, 1)
    # χ_l = 1 + 2 Σ_k cos(kα), cos(kα) by Chebyshev's recurrence, which is regular at α = 0.
    cosines = [torch.ones_like(cos_angle), cos_angle]
    energy = cos_angle.new_zeros(())
    character = 1 + 2 * cos_angle
    for l in range(1, MAX_DEGREE + 1):
        if l > 1:
            cosines.append(2 * cos_angle * cosines[-1] - cosines[-2])
            character = character + 2 * cosines[-1]
        energy = energy + (2 * l + 1) / l**2 * character.mean()
    return energy


def _expand_cosets(quaternions: Float64[Tensor, "n 4"]) -> Float64[Tensor, "g 3 3"]:
    w, x, y, z = (quaternions / quaternions.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    representatives = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return torch.einsum("oij,njk->noik", make_octahedral_group(), representatives).flatten(0, 1)


def main():
    import docopt

    arguments = docopt.docopt(__doc__)
    num_cosets = int(arguments["<num_cosets>"])
    grid = optimise_grid(num_cosets, seed=int(arguments["--seed"]), steps=int(arguments["--steps"]))
    np.savez_compressed(arguments["<npz>"], **{f"octahedral_{24 * num_cosets}": grid.numpy()})
    print(f"{arguments['<npz>']}: {len(grid)} points, energy {calc_energy(grid):.3g}")


if __name__ == "__main__":
    main()
