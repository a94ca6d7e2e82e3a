#!/usr/bin/env python3
"""Take the README's picture, page.png beside this script, of a page that is built.

Usage:
    take_screenshot.py [<html>]

Arguments:
    <html>  The page; that of the question about autoencoders unless given.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from docopt import docopt
from PIL import Image

PICTURE = Path(__file__).with_name("page.png")
PAGE = Path(__file__).parents[2] / "_build/html/docs/notebook/make_variational_autoencoder.html"
SIZE = (1300, 900)
NUM_COLOURS = 128

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
]  # fmt: skip


def take_screenshot(page: Path, picture: Path):
    """Nothing; writes the top of a page as a PNG of few colours, which is a fifth of the size."""
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch) / "shot.png"
        command = ["chromium", *FLAGS, f"--user-data-dir={scratch}/profile"]
        command += [f"--screenshot={shot}", "--window-size={},{}".format(*SIZE), page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.convert("RGB").quantize(NUM_COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    page = Path(docopt(__doc__)["<html>"] or PAGE).resolve()
    if not page.is_file():
        sys.exit(f"{page}: no such page; make html first")
    take_screenshot(page, PICTURE)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1e3:.0f} kB")
