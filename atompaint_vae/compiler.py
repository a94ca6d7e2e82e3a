"""C++ beside a module, compiled by each process that needs it."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

OPTIONS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


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
        done = subprocess.run(command, input=source.read_bytes(), capture_output=True)
        return ctypes.CDLL(str(library)) if done.returncode == 0 else None
