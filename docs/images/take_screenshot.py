#!/usr/bin/env python3
"""Take the README's picture, page.png beside this script, of a page that is built.

Usage:
    take_screenshot.py [<html>]

Arguments:
    <html>  A page with curves and reconstructions; that of the question about autoencoders unless
            given.
"""

import io
import shutil
import sys
from pathlib import Path

from docopt import docopt
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

PICTURE = Path(__file__).with_name("page.png")
PAGE = Path(__file__).parents[2] / "_build/html/docs/notebook/make_variational_autoencoder.html"
SIZE = {"width": 1280, "height": 1220}
TIMEOUT_S = 60

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
]  # fmt: skip

SHOW_CURVES = """
const curves = document.querySelector(".run-plot canvas")?.closest("figure");
const table = curves?.previousElementSibling;
table?.style.setProperty("scroll-margin-top", "1rem");
table?.scrollIntoView({ behavior: "instant" });
return Boolean(table);
"""


def take_screenshot(page: Path, picture: Path):
    """Write a PNG of a table of runs, their curves and their comparison."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        metrics = {**SIZE, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(page.as_uri())
        WebDriverWait(browser, TIMEOUT_S).until(lambda x: x.execute_script(SHOW_CURVES))
        with Image.open(io.BytesIO(browser.get_screenshot_as_png())) as image:
            image.convert("RGB").save(picture, optimize=True)
    finally:
        browser.quit()


if __name__ == "__main__":
    page = Path(docopt(__doc__)["<html>"] or PAGE).resolve()
    if not page.is_file():
        sys.exit(f"{page}: no such page; make html first")
    take_screenshot(page, PICTURE)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1e3:.0f} kB")
