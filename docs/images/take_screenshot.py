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
SIZE = {"width": 1280, "height": 1130}
NUM_COLOURS = 128
TIMEOUT_S = 120

FLAGS = [
    "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--force-prefers-reduced-motion",
]  # fmt: skip

ARE_DRAWN = """
const curves = document.querySelector(".run-plot canvas");
const views = document.querySelectorAll(".reconstruction-open .reconstruction-stage canvas");
if (curves && views.length > 1) curves.closest("figure").scrollIntoView();
return curves && views.length > 1;
"""


def take_screenshot(page: Path, picture: Path):
    """Nothing; writes curves and a view as a PNG of few colours, which is a fifth of the size."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        metrics = {**SIZE, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.set_script_timeout(TIMEOUT_S)  # without a GPU, views take long to draw
        browser.get(page.as_uri())
        browser.execute_script('document.querySelector(".reconstruction-bar button").click()')
        WebDriverWait(browser, TIMEOUT_S).until(lambda x: x.execute_script(ARE_DRAWN))
        with Image.open(io.BytesIO(browser.get_screenshot_as_png())) as image:
            image.convert("RGB").quantize(NUM_COLOURS).save(picture, optimize=True)
    finally:
        browser.quit()


if __name__ == "__main__":
    page = Path(docopt(__doc__)["<html>"] or PAGE).resolve()
    if not page.is_file():
        sys.exit(f"{page}: no such page; make html first")
    take_screenshot(page, PICTURE)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1e3:.0f} kB")
