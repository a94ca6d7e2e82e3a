"""C++ beside a module, compiled by each process that needs it."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

OPTIONS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")

NUM_ATTEMPTS = 2


@cache
def compile_library(source: Path) -> ctypes.CDLL | None:
    """Compile a file for this processor and load it; None without a compiler: $CXX, or c++."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "compiled.so"
        command = [compiler, *OPTIONS, "-o", str(library), "-x", "c++", "-"]
        # Read in Python, so that provenance can record what a plotting script depends on.
        code = source.read_bytes()
        # A signal to all processes of a job, as Slurm sends it, ends the compiler too. Without the
        # library, the last digits of all numbers would be others.
        for _ in range(NUM_ATTEMPTS):
            done = subprocess.run(command, input=code, capture_output=True)
            if done.returncode == 0:
                return ctypes.CDLL(str(library))
    return None
