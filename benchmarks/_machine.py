"""Describe the machine that a record was measured on."""

import datetime
import os
import platform
import subprocess
import time
from pathlib import Path

import torch

PROCESSOR_TIMES = Path("/proc/stat")


class OthersWatch:
    """Measures the processor time that other programs use, from its construction on."""

    def __init__(self):
        self.start = self._read_times_s()

    def measure_share(self) -> float | None:
        """Return the share of all cores' time, 0 to 1, that other programs used; None if unknown.

        Child processes count as other programs until they end.
        """
        if self.start is None:
            return None
        elapsed, busy, own = (
            now - then for now, then in zip(self._read_times_s(), self.start, strict=True)
        )
        return max(0.0, (busy - own) / (elapsed * os.cpu_count()))

    def _read_times_s(self) -> tuple[float, float, float] | None:
        if not PROCESSOR_TIMES.exists():
            return None
        # See proc(5): of the first eight, the fourth and fifth count idle time; any later ones are
        # included in the first two.
        ticks = list(map(int, PROCESSOR_TIMES.read_text().splitlines()[0].split()[1:9]))
        busy_s = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy_s, sum(os.times()[:4])


def describe_machine() -> dict:
    """Return the processor, memory and versions, as a record states them."""
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
        **{name: os.environ.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")},
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
    """Return the model's name and its vector and matrix extensions, as far as they are known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    seen = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return ", ".join([fields.get("model name", "unknown"), *seen])
