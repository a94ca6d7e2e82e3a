"""Compare training steps of whole VAEs, and the construction of the largest, with escnn and with an
unconstrained network of the same shape.

The models are those of expts/20241217_train_vae: two strided convolutions reduce images of 35³ to
17³ and 9³.  Models with L = 1 have four times as many fields, and so about as many channels.
"""

import dataclasses
import statistics

from atompaint_vae.models.encoder import calc_sizes
from atompaint_vae.nn.conv import choose_padding

from .peers.cases import VAECase
from .peers.client import LABELS, Server, Servers, list_libraries, make_row, make_rows

SIZE_VOXELS = 35
BATCH_SIZE = 4
QUICK_BATCH_SIZE = 2
GRID_POINTS = 96

# L, fields after each layer, fields of the latent.
MODELS = (
    (1, (4, 8), 4),
    (1, (8, 16), 16),
    (2, (1, 2), 1),
    (2, (2, 4), 5),
)
LARGEST_MODEL = (2, (2, 4, 8), 5)
QUICK_MODELS = ((1, (2, 4), 2), (2, (1, 2), 1))

PRECISIONS = ("float32", "bfloat16")


def run(quick: bool) -> list[dict]:
    """Return rows for the time and memory of one step: forward, backward, Adam."""
    libraries = list_libraries()
    rows = []
    with Servers(libraries) as servers:
        for model in QUICK_MODELS if quick else MODELS:
            for precision in PRECISIONS[:1] if quick else PRECISIONS:
                case = _make_case(*model, batch_size=QUICK_BATCH_SIZE if quick else BATCH_SIZE)
                case = dataclasses.replace(case, precision=precision)
                measurements = servers.measure(case, num_repeats=3 if quick else 10)
                rows += make_rows(_describe(case), measurements)
        if not quick:
            for model in MODELS:
                rows += _compare_defaults(servers, _make_case(*model, batch_size=BATCH_SIZE))
    return rows + _compare_construction(libraries, num_repeats=1 if quick else 3)


def _make_case(
    frequency: int, layers: tuple[int, ...], latent: int, *, batch_size: int
) -> VAECase:
    sizes = calc_sizes(SIZE_VOXELS, len(layers))
    return VAECase(
        frequency=frequency,
        grid_points=GRID_POINTS,
        precision="float32",
        batch_size=batch_size,
        size_voxels=SIZE_VOXELS,
        layers=layers,
        paddings=tuple(choose_padding(size) for size in sizes[:-1]),
        latent=latent,
    )


def _describe(case: VAECase, how: str | None = None) -> str:
    layers = ", ".join(map(str, case.layers))
    how = how or f"{case.grid_points} points, {case.precision}"
    return (
        f"VAE L = {case.frequency}, fields {layers}, latent {case.latent}, "
        f"batch {case.batch_size}: {how}"
    )


def _compare_defaults(servers: Servers, case: VAECase) -> list[dict]:
    """Return rows for ours with its default grid under autocast, and the others in float32."""
    ours = dataclasses.replace(case, grid_points=None, precision="bfloat16")
    measurements = servers.measure(case, num_repeats=10, cases={"ours": ours})
    return make_rows(_describe(case, "our defaults in bfloat16, others float32"), measurements)


def _compare_construction(libraries: list[str], num_repeats: int) -> list[dict]:
    """Return rows for construction, in fresh processes because the libraries cache bases."""
    case = _make_case(*LARGEST_MODEL, batch_size=1)
    times_s: dict[str, list[float]] = {library: [] for library in libraries}
    for _ in range(num_repeats):
        for library in libraries:
            server = Server(library)
            server.read_answer()
            times_s[library].append(server.build(case)["construct_s"])
            server.close()
    medians_s = {library: statistics.median(times) for library, times in times_s.items()}
    return [
        make_row(
            f"constructing {_describe(case, 'in a fresh process')}",
            medians_s["ours"],
            medians_s[library],
            label,
            unit="s",
            n=num_repeats,
        )
        for library, label in LABELS.items()
        if library in medians_s
    ]
