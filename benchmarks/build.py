"""Measure how many structure files a minute `atompaint-vae data build` makes into a set.

The files are the starter structures, written as mmCIF files.  The time is that of the whole
command: it starts, reads in one process per core, aligns all pairs of sequences, splits and writes.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from atompaint_vae.data import STARTER
from atompaint_vae.data.sets.sources import find_atoms_path
from atompaint_vae.data.structures.table import load_atoms

NUM_QUICK = 40
"""Structures."""


def run(quick: bool) -> list[dict]:
    """Return the row for building a set of the starter structures."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        num_files = _write_files(folder, NUM_QUICK if quick else None)
        times_s = [_time_build_s(folder) for _ in range(1 if quick else 5)]
    return [
        {
            "name": f"set of {num_files} files, {os.cpu_count()} processes",
            "ours": 60 * num_files / statistics.median(times_s),
            "reference": None,
            "reference_name": None,
            "ratio": None,
            "unit": "files a minute",
            "n": len(times_s),
        }
    ]


def _write_files(folder: Path, num_structures: int | None) -> int:
    """Write structures as mmCIF files, and return how many there are."""
    atoms = load_atoms(find_atoms_path(STARTER))
    names = atoms.structure.cat.categories[:num_structures]
    for name in names:
        own = atoms[atoms.structure == name]
        columns = {
            "id": range(1, len(own) + 1),
            "type_symbol": own.element,
            "label_atom_id": [f"{x}{n}" for n, x in enumerate(own.element, 1)],
            "label_comp_id": own.residue,
            "auth_asym_id": own.chain,
            "auth_seq_id": own.residue_num,
            "pdbx_PDB_ins_code": own.insertion_code.astype(str).replace("", "?"),
            **{f"Cartn_{axis}": own[axis].map("{:.3f}".format) for axis in "xyz"},
            "occupancy": own.occupancy,
        }
        rows = zip(*(map(str, column) for column in columns.values()), strict=True)
        tags = "\n".join(f"_atom_site.{tag}" for tag in columns)
        lines = "\n".join(map(" ".join, rows))
        (folder / f"{name}.cif").write_text(f"data_{name}\nloop_\n{tags}\n{lines}\n")
    return len(names)


def _time_build_s(folder: Path) -> float:
    out = folder / "set.parquet"
    command = [sys.executable, "-m", "atompaint_vae.cli", "data", "build", folder, "--out", out]
    start_s = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start_s
