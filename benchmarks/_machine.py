"""What a record says of the machine that it was measured on."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

import torch

BUSY_LOAD = 0.5
"""A load average of the last minute above this says that something else was running."""


def describe_machine() -> dict:
    """Processor, memory, versions, and whether anything else ran at the time."""
    load = os.getloadavg()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _ask_git("rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(_ask_git("status", "--porcelain", "--untracked-files=no")),
        "processor": _read_processor(),
        "cores": os.cpu_count(),
        "memory_GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY"),
        "load_before": round(load, 2),
        "busy": load > BUSY_LOAD,
    }


def _ask_git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.decode().strip()


def _read_processor() -> str:
    """The model's name with its flags for matrix work, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    seen = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return ", ".join([fields.get("model name", "unknown"), *seen])
