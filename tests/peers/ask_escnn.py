"""Answers of escnn to what the tests ask; run with its own environment.

Usage:
    ask_escnn.py <questions.json> <answers.npz>

Questions, and the arrays that answer them:

    names      -> sizes: the number of channels of each field type
    rotations  -> wigner_<l>: the matrices [r, m, n] by which each rotation acts on l = 0 to 3
    convs      -> kernels_<i>: every basis kernel [p, o, i, k, k, k] of a layer between two field
                  types, with a radial function for each shell of the lattice
    grids      -> grid_<i>: the points of a grid [g, 3, 3]; synthesis_<i>, analysis_<i>: the two
                  matrices of the Fourier nonlinearity of one field on it
"""

import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from escnn import nn
from escnn.gspaces import rot3dOnR3

MAX_DEGREE = 3
SHELL_WIDTH_VOXELS = 0.005

SPACE = rot3dOnR3(maximum_frequency=MAX_DEGREE)
SO3 = SPACE.fibergroup
SPHERE = (False, -1)
"""escnn's name of the rotations about the z axis, by which SO(3) is divided."""


def make_type(name: str) -> nn.FieldType:
    """escnn's field type of the same name as ours."""
    representations = []
    for term in name.split("+"):
        count, kind = term.split("x")
        number = int(re.search(r"\d", kind)[0])
        if kind.startswith("fourier"):
            representation = SO3.bl_regular_representation(number)
        elif kind.startswith("quotient"):
            representation = SO3.bl_quotient_representation(number, SPHERE)
        else:
            representation = SO3.irrep(number)
        representations += int(count) * [representation]
    return nn.FieldType(SPACE, representations)


def calc_kernels(name_in: str, name_out: str, kernel_size: int) -> np.ndarray:
    axis = range(-(kernel_size // 2), kernel_size // 2 + 1)
    shells = sorted({x * x + y * y + z * z for x, y, z in itertools.product(axis, repeat=3)})
    conv = nn.R3Conv(
        make_type(name_in),
        make_type(name_out),
        kernel_size,
        rings=[float(np.sqrt(shell)) for shell in shells],
        sigma=[SHELL_WIDTH_VOXELS] * len(shells),
        frequencies_cutoff=lambda radius: 2 * MAX_DEGREE,
        bias=False,
        recompute=True,
    )
    kernels = []
    for weights in torch.eye(len(conv.weights)):
        conv.weights.data[:] = weights
        kernels.append(conv.expand_parameters()[0].detach().numpy())
    return np.stack(kernels)


def main():
    questions = json.loads(Path(sys.argv[1]).read_text())
    answers = {"sizes": np.array([make_type(name).size for name in questions["names"]])}
    elements = [
        SO3.element(np.array(rotation), param="MAT") for rotation in questions["rotations"]
    ]
    for l in range(MAX_DEGREE + 1):
        answers[f"wigner_{l}"] = np.stack([SO3.irrep(l)(element) for element in elements])
    for i, conv in enumerate(questions["convs"]):
        answers[f"kernels_{i}"] = calc_kernels(*conv)
    # escnn makes its kernels in single precision, whatever is asked.
    torch.set_default_dtype(torch.float64)
    for i, (frequency, multiple) in enumerate(questions["grids"]):
        grid = SO3.grid("thomson_cube", N=multiple)
        fields = nn.FourierFieldType(SPACE, 1, SO3.bl_irreps(frequency))
        nonlinearity = nn.FourierELU(fields, grid)
        answers[f"grid_{i}"] = np.stack([element.to("MAT") for element in grid])
        answers[f"synthesis_{i}"] = nonlinearity.ift.A.numpy()
        answers[f"analysis_{i}"] = nonlinearity.ft.Ainv.numpy()
    np.savez(sys.argv[2], **answers)


if __name__ == "__main__":
    main()
