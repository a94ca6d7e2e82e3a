"""The mathematics of the layers against escnn's, an independent implementation.

escnn's real irreps have another basis than e3nn's; the change between them follows from how both
turn.  Its images count their axes z, y, x, with y and z upside down.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atompaint_vae.nn import SteerableConv, parse_field_type
from atompaint_vae.nn.fields import Term, list_copies
from atompaint_vae.nn.grids import calc_analysis, calc_synthesis
from atompaint_vae.nn.rotations import calc_wigner

pytestmark = pytest.mark.peers

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"

NAMES = [
    *(f"1xfourier{L}" for L in range(4)),
    *(f"3xquotient{L}" for L in range(4)),
    *(f"2x{l}e" for l in range(4)),
    "8x0e+4x1e+2x2e",
    "2xfourier1+3xquotient2+5x0e",
]

RANDOM_ROTATIONS = Rotation.random(6, random_state=0).as_matrix()

AXES_OF_ESCNN = np.array([[0.0, 0, 1], [0, -1, 0], [-1, 0, 0]])
"""Takes a voxel's place as we count it to escnn's coordinates.  It holds an inversion, of which
irreps of SO(3) know nothing; the rest is a rotation."""


def _draw_types() -> list[tuple[str, str, int]]:
    """Random pairs of field types, each of one or two terms, with a kernel's size."""
    rng = np.random.default_rng(0)

    def draw() -> str:
        kinds = ["fourier0", "fourier1", "quotient1", "quotient2", "quotient3"]
        kinds += ["0e", "1e", "2e", "3e"]
        chosen = rng.choice(kinds, size=rng.integers(1, 3), replace=False)
        return "+".join(f"{rng.integers(1, 3)}x{kind}" for kind in chosen)

    return [(draw(), draw(), size) for size in (1, 3, 3, 3, 3, 3, 3, 5)]


# Every pair of degrees, and then mixtures.
CONVS = [(f"1x{l_in}e", f"1x{l_out}e", 3) for l_in in range(4) for l_out in range(4)]
CONVS += [("1x1e", "1x2e", 5), ("1x3e", "1x3e", 5), *_draw_types()]

# Frequency, and the number of cosets of 24 points.
GRIDS = [(1, 2), (1, 4), (2, 4), (2, 8)]


@pytest.fixture(scope="module")
def escnn(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("escnn is not set up; `make bench-peers` does that")
    folder = tmp_path_factory.mktemp("escnn")
    questions = {
        "names": NAMES,
        "rotations": [*RANDOM_ROTATIONS.tolist(), (-AXES_OF_ESCNN).tolist()],
        "convs": CONVS,
        "grids": GRIDS,
    }
    (folder / "questions.json").write_text(json.dumps(questions))
    script = Path(__file__).parent / "ask_escnn.py"
    command = [PYTHON, "-W", "ignore", script, folder / "questions.json", folder / "answers.npz"]
    subprocess.run(command, check=True, cwd=folder)
    return np.load(folder / "answers.npz")


@pytest.fixture(autouse=True)
def _use_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _find_change_of_basis(escnn, l: int) -> np.ndarray:
    """The orthogonal Q for which D_escnn(R) Q = Q D(R) for every R."""
    theirs = escnn[f"wigner_{l}"][: len(RANDOM_ROTATIONS)]
    ours = calc_wigner(l, torch.tensor(RANDOM_ROTATIONS)).numpy()
    eye = np.eye(2 * l + 1)
    equations = [np.kron(a, eye) - np.kron(eye, b.T) for a, b in zip(theirs, ours, strict=True)]
    _, lengths, vectors = np.linalg.svd(np.concatenate(equations))
    assert lengths[-1] < 1e-9
    # Schur's lemma: up to its length there is but one.
    assert l == 0 or lengths[-2] > 1e-3
    change = vectors[-1].reshape(2 * l + 1, 2 * l + 1)
    return change * np.sqrt((2 * l + 1) / (change**2).sum())


def _make_block_diagonal(escnn, name: str) -> np.ndarray:
    """Takes our components of each copy to escnn's in its own frame."""
    change = {l: escnn[f"wigner_{l}"][-1] @ _find_change_of_basis(escnn, l) for l in range(4)}
    copies = list_copies(parse_field_type(name).irreps)
    return torch.block_diag(*[torch.tensor(change[irrep.l]) for irrep in copies]).numpy()


def _list_our_kernels(name_in: str, name_out: str, kernel_size: int) -> np.ndarray:
    """The kernel [p, o · i · voxels] that each weight of a layer makes alone."""
    irreps_in, irreps_out = parse_field_type(name_in).irreps, parse_field_type(name_out).irreps
    conv = SteerableConv(irreps_in, irreps_out, kernel_size=kernel_size)
    for weight in conv.weights.values():
        weight.data.zero_()
    kernels = []
    for weight in conv.weights.values():
        for i in range(weight.numel()):
            weight.data.view(-1)[i] = 1
            kernels.append(conv.calc_kernel().detach().flatten())
            weight.data.view(-1)[i] = 0
    return torch.stack(kernels).numpy()


def test_field_sizes_are_those_of_escnn(escnn):
    assert [parse_field_type(name).size for name in NAMES] == escnn["sizes"].tolist()


@pytest.mark.parametrize(
    ("number", "name_in", "name_out", "kernel_size"),
    [(i, *conv) for i, conv in enumerate(CONVS)],
    ids=[f"{name_in}->{name_out},{size}" for name_in, name_out, size in CONVS],
)
def test_kernels_span_the_same_space(escnn, number, name_in, name_out, kernel_size):
    kernels = escnn[f"kernels_{number}"]
    basis_in = _make_block_diagonal(escnn, name_in)
    basis_out = _make_block_diagonal(escnn, name_out)
    theirs = np.einsum("om,poixyz,in->pmnxyz", basis_out, kernels, basis_in, optimize=True)
    theirs = theirs.reshape(len(theirs), -1)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)

    # Ours are orthonormal; theirs lie in the space that ours span, and span as many dimensions.
    ours = _list_our_kernels(name_in, name_out, kernel_size)
    np.testing.assert_allclose(ours @ ours.T, np.eye(len(ours)), atol=1e-12)
    # escnn makes its kernels in single precision.
    assert np.linalg.norm(theirs - theirs @ ours.T @ ours, axis=1).max() < 1e-5
    squared_lengths = np.linalg.eigvalsh(theirs @ theirs.T)
    assert (squared_lengths > 1e-6 * squared_lengths[-1]).sum() == len(ours)


@pytest.mark.parametrize(("number", "frequency"), [(i, L) for i, (L, _) in enumerate(GRIDS)])
def test_fourier_transform_is_that_of_escnn(escnn, number, frequency):
    """On escnn's grid: the same values of a field, and the same field of values."""
    term = Term(1, "fourier", frequency)
    synthesis = calc_synthesis(term, torch.tensor(escnn[f"grid_{number}"]))
    # Copies of one l are mixed as their components are: both indices of D^l change.
    change = torch.block_diag(
        *[
            torch.kron(*2 * [torch.tensor(_find_change_of_basis(escnn, l))])
            for l in range(frequency + 1)
        ]
    ).numpy()
    # escnn adds 1e-8 to what it inverts.
    np.testing.assert_allclose(escnn[f"synthesis_{number}"] @ change, synthesis.T, atol=1e-10)
    analysis = calc_analysis(synthesis).numpy()
    np.testing.assert_allclose(change.T @ escnn[f"analysis_{number}"], analysis.T, atol=1e-8)
