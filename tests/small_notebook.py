"""Notebooks of a few pages, built as a user builds them."""

import subprocess
import sys
from pathlib import Path


def build_html(source: Path) -> None:
    """Build the pages of a folder into its _build/html; a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "-M", "html", ".", "_build", "-q", "-W"]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
