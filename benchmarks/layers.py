"""Compare single layers, forward and backward, with escnn's and with torch's own; and import times.

The layers are those of the VAEs in `training.py`.
"""

import statistics
import subprocess
from dataclasses import replace

from .peers.cases import BlockCase
from .peers.client import PYTHONS, ROOT, Servers, list_libraries, make_row, make_rows

GRID_POINTS = 96
BATCH_SIZE = 4
QUICK_BATCH_SIZE = 2
NUM_QUICK_CASES = 3
"""For each frequency; the last ones in the list."""

# L, fields after the first layer and after the second.
WIDTHS = ((1, 8, 16), (2, 2, 4))

IMPORTS = {"ours": "atompaint_vae.nn", "with_escnn": "escnn.nn"}


def run(quick: bool) -> list[dict]:
    """Return rows for the time and memory of one layer."""
    libraries = list_libraries()
    rows = []
    num_repeats = 3 if quick else 20
    with Servers(libraries) as servers:
        for frequency, *fields in WIDTHS:
            batch_size = QUICK_BATCH_SIZE if quick else BATCH_SIZE
            cases = _make_cases(frequency, *fields, batch_size=batch_size)
            for name, case in list(cases.items())[-NUM_QUICK_CASES if quick else 0 :]:
                for precision in ("float32",) if quick else ("float32", "bfloat16"):
                    measurements = servers.measure(
                        replace(case, precision=precision), num_repeats=num_repeats
                    )
                    full_name = f"{name}, L = {frequency}, batch {case.batch_size}: {precision}"
                    rows += make_rows(full_name, measurements)
    return rows + _compare_imports(libraries, num_repeats=1 if quick else 5)


def _make_cases(
    frequency: int, num_first: int, num_second: int, *, batch_size: int
) -> dict[str, BlockCase]:
    down = BlockCase(
        frequency=frequency,
        grid_points=GRID_POINTS,
        precision="float32",
        batch_size=batch_size,
        size_voxels=17,
        part="block",
        fields_in=num_first,
        fields_out=num_second,
        stride=2,
    )
    first = replace(down, size_voxels=35, fields_in=0, fields_out=num_first, padding=0)
    same = replace(down, fields_out=num_first, stride=1)
    up = replace(
        down, size_voxels=9, fields_in=num_second, fields_out=num_first, transposed=True
    )
    same_name = f"{num_first} to {num_first} fields, 17³"
    down_name = f"block, {num_first} to {num_second} fields, 17³ to 9³"
    return {
        f"block, image to {num_first} fields, 35³ to 17³": first,
        f"block, {num_second} to {num_first} fields, 9³ to 17³": up,
        f"block, {same_name}": same,
        f"{down_name}, escnn with our shells": replace(down, has_shells=True),
        down_name: down,
        f"convolution, {same_name}": replace(same, part="conv"),
        f"normalisation and nonlinearity, {num_first} fields, 17³": replace(
            same, part="nonlinearity"
        ),
    }


def _compare_imports(libraries: list[str], num_repeats: int) -> list[dict]:
    """Return the row for the time to import a library's layers when torch is already imported."""
    if "with_escnn" not in libraries:
        return []
    times_s = {library: [] for library in IMPORTS}
    for _ in range(num_repeats):
        for library, module in IMPORTS.items():
            code = (
                "import time, torch; start_s = time.perf_counter(); "
                f"import {module}; print(time.perf_counter() - start_s)"
            )
            command = [PYTHONS[library], "-W", "ignore", "-c", code]
            answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            times_s[library].append(float(answer.stdout))
    ours_s, reference_s = (statistics.median(times_s[library]) for library in IMPORTS)
    name = f"import {IMPORTS['ours']}, after torch"
    return [make_row(name, ours_s, reference_s, "escnn", unit="s", n=num_repeats)]
