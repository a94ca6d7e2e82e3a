"""Compare grids on SO(3): the equivariance error of nonlinearities on them, and their time.

The error for a field of frequency L is |f(D c) − D f(c)| / |f(c)|, root mean square, where the
coefficients c are independent normal numbers, D is a random rotation, and the part of l = 0 of the
result is left out.  The grids are ours, escnn's optimised ones, and the product grids of e3nn with
their quadrature weights; each has the transform whose round trip is exact.

A layer is a strided convolution with its normalisation and ELU, on Gaussian blobs; its error is the
mean of `calc_equivariance_error` over random rotations.
"""

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from e3nn.o3 import Irreps, SO3Grid, angles_to_matrix
from torch import Tensor

from atompaint_vae.models.blocks import ConvBlock
from atompaint_vae.nn import (
    GRIDS,
    FourierNonlinearity,
    calc_equivariance_error,
    load_grid,
    parse_field_type,
)
from atompaint_vae.nn.fields import list_copies
from atompaint_vae.nn.rotations import calc_representation

from .peers.client import PEERS_PYTHON, ROOT, list_libraries, make_row

FUNCTIONS = ("elu", "relu", "hermite")
REFERENCES = {1: "escnn thomson_cube 96", 2: "escnn thomson_cube 96", 3: "escnn thomson_cube 192"}
E3NN_RESOLUTIONS = (2, 3)
ESCNN_MULTIPLES = (4, 8)
"""escnn's grids have 24 times as many points."""

NUM_FIELDS = 500
NUM_ROTATIONS = 20
NUM_TIMED_FIELDS = 20_000

LAYERS = {1: 8, 2: 2}
"""Number of fields for each frequency."""
SIZE_VOXELS = 35
NUM_IMAGE_CHANNELS = 6
NUM_BLOBS = 300
NUM_LAYER_ROTATIONS = 5


def run(quick: bool) -> list[dict]:
    """Return rows for errors and times, compared with the grid that users of escnn would choose."""
    grids = {name: load_grid(name) for name in GRIDS}
    grids |= {f"e3nn SO3Grid {32 * r**3}": _make_e3nn_grid(r) for r in E3NN_RESOLUTIONS}
    if "with_escnn" in list_libraries():
        grids |= _ask_escnn()
    weights = {f"e3nn SO3Grid {32 * r**3}": _calc_e3nn_weights(r) for r in E3NN_RESOLUTIONS}
    rows = []
    for frequency, reference in REFERENCES.items():
        rows += _compare(frequency, grids, weights, reference, num_repeats=3 if quick else 20)
    return rows + _compare_layers()


def _compare(
    frequency: int,
    grids: dict[str, Tensor],
    weights: dict[str, Tensor],
    reference: str,
    *,
    num_repeats: int,
) -> list[dict]:
    term = parse_field_type(f"1xfourier{frequency}").terms[0]
    reference = reference if reference in grids else "octahedral_192"
    modules = {}
    for name, grid in grids.items():
        try:
            modules[name] = {f: FourierNonlinearity(term, grid=grid, function=f) for f in FUNCTIONS}
        except ValueError:  # too few points
            continue
        if name in weights:
            for module in modules[name].values():
                _weigh(module, weights[name])
    times_ms = _time(modules, num_repeats)
    rows = []
    for function in FUNCTIONS:
        errors = {name: 100 * _calc_error(module[function]) for name, module in modules.items()}
        for name, error in errors.items():
            label = f"L = {frequency}, {function}: error on {name}"
            rows.append(
                make_row(label, error, errors[reference], reference, unit="%", n=NUM_ROTATIONS)
            )
    for name, time_ms in times_ms.items():
        label = f"L = {frequency}, elu: time on {name}"
        rows.append(
            make_row(label, time_ms, times_ms[reference], reference, unit="ms", n=num_repeats)
        )
    return rows


def _compare_layers() -> list[dict]:
    """Return rows for the errors of whole layers on our grids, compared with the finest grid."""
    generator = torch.Generator().manual_seed(0)
    rotations = [_draw_rotation(generator) for _ in range(NUM_LAYER_ROTATIONS)]
    axis = torch.arange(SIZE_VOXELS) - (SIZE_VOXELS - 1) / 2
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    image = torch.zeros(1, NUM_IMAGE_CHANNELS, *[SIZE_VOXELS] * 3)
    for i, centre in enumerate(torch.randn(NUM_BLOBS, 3, generator=generator) * SIZE_VOXELS / 6):
        squared_radius = (points - centre).square().sum(dim=-1)
        image[0, i % NUM_IMAGE_CHANNELS] += torch.exp(-squared_radius / 2)

    rows = []
    for frequency, num_fields in LAYERS.items():
        field_type = parse_field_type(f"{num_fields}xfourier{frequency}")
        errors = {}
        for grid in GRIDS:
            torch.manual_seed(0)
            try:
                layer = ConvBlock(
                    Irreps([(NUM_IMAGE_CHANNELS, (0, 1))]), field_type,
                    grid=grid, function="elu", stride=2,
                )  # fmt: skip
            except ValueError:  # too few points
                continue
            layer(image / image.std())
            layer.eval()
            irreps = {"irreps_in": layer.irreps_in, "irreps_out": layer.irreps_out}
            errors[grid] = 100 * statistics.mean(
                calc_equivariance_error(layer, image / image.std(), rotation=rotation, **irreps)
                for rotation in rotations
            )
        for grid, error in errors.items():
            label = f"L = {frequency}, {num_fields} fields: error of a layer on {grid}"
            finest = errors[GRIDS[-1]]
            rows.append(
                make_row(label, error, finest, GRIDS[-1], unit="%", n=NUM_LAYER_ROTATIONS)
            )
    return rows


def _draw_rotation(generator: torch.Generator) -> Tensor:
    # The signs make the distribution uniform; the determinant turns reflections into rotations.
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


def _calc_error(module: FourierNonlinearity) -> float:
    generator = torch.Generator().manual_seed(0)
    module = module.double()
    irreps = module.irreps_in
    degrees = [irrep.l for irrep in list_copies(irreps) for _ in range(irrep.dim)]
    is_scalar = torch.tensor(degrees) == 0

    def apply(fields: Tensor) -> Tensor:
        return module(fields[:, :, None, None, None]).flatten(1)

    squares = []
    for _ in range(NUM_ROTATIONS):
        fields = torch.randn(NUM_FIELDS, irreps.dim, generator=generator, dtype=torch.float64)
        matrix = calc_representation(irreps, _draw_rotation(generator))
        expected = apply(fields) @ matrix.T
        difference = (apply(fields @ matrix.T) - expected)[:, ~is_scalar]
        squares.append(difference.square().sum() / expected[:, ~is_scalar].square().sum())
    return torch.stack(squares).mean().sqrt().item()


def _time(modules: dict[str, dict[str, FourierNonlinearity]], num_repeats: int) -> dict[str, float]:
    """Return median times of a forward and backward pass with ELU, in ms; the grids take turns."""
    times_ms = {name: [] for name in modules}
    for repeat in range(num_repeats + 1):
        for name, module in modules.items():
            elu = module["elu"].float()
            size = elu.irreps_in.dim
            fields = torch.randn(NUM_TIMED_FIELDS, size, 1, 1, 1, requires_grad=True)
            start_s = time.perf_counter()
            elu(fields).sum().backward()
            if repeat > 0:
                times_ms[name].append(1e3 * (time.perf_counter() - start_s))
    return {name: statistics.median(times) for name, times in times_ms.items()}


def _make_e3nn_grid(resolution: int) -> Tensor:
    grid = SO3Grid(1, resolution)
    angles = torch.meshgrid(grid.alpha, grid.beta, grid.gamma, indexing="ij")
    return angles_to_matrix(*(angle.flatten().double() for angle in angles))


def _calc_e3nn_weights(resolution: int) -> Tensor:
    grid = SO3Grid(1, resolution)
    shape = (grid.res_alpha, grid.res_beta, grid.res_gamma)
    return grid.qw[None, :, None].expand(shape).flatten().double()


def _weigh(module: FourierNonlinearity, weights: Tensor):
    """Make the analysis a least-squares fit that weights the points."""
    synthesis = module.synthesis.double()
    weighted = synthesis * weights
    module.analysis = torch.linalg.solve(weighted @ synthesis.T, weighted).T.float()


def _ask_escnn() -> dict[str, Tensor]:
    """Return escnn's grids, from the script that the tests use, run in escnn's environment."""
    questions = {
        "names": [],
        "rotations": [np.eye(3).tolist()],
        "convs": [],
        "grids": [[1, multiple] for multiple in ESCNN_MULTIPLES],
    }
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "questions.json"), Path(folder, "answers.npz")
        asked.write_text(json.dumps(questions))
        script = ROOT / "tests" / "peers" / "ask_escnn.py"
        subprocess.run(
            [PEERS_PYTHON, "-W", "ignore", script, asked, answered], check=True, capture_output=True
        )
        with np.load(answered) as answers:
            return {
                f"escnn thomson_cube {24 * multiple}": torch.from_numpy(answers[f"grid_{i}"])
                for i, multiple in enumerate(ESCNN_MULTIPLES)
            }
