"""What a record says of the machine that it was measured on."""

import datetime
import os
import platform
import subprocess
import time
from pathlib import Path

import torch

PROCESSOR_TIMES = Path("/proc/stat")


class OthersWatch:
    """How much of the processor others than this process and its children take, from now on."""

    def __init__(self):
        self.start = self._read_times_s()

    def measure_share(self) -> float | None:
        """Of all cores' time, 0 to 1; None where the system doesn't tell.

        Children count as others until they have ended.
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
        # See proc(5): of the first eight, the fourth and fifth are of idleness; the others are
        # counted within these.
        ticks = list(map(int, PROCESSOR_TIMES.read_text().splitlines()[0].split()[1:9]))
        busy_s = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy_s, sum(os.times()[:4])


def describe_machine() -> dict:
    """Processor, memory, versions."""
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
