import json
import os
import shutil
from pathlib import Path

import pytest
from every_kind import KINDS, build_every_kind
from filelock import FileLock
from small_notebook import build_html

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",  # WebGL without a GPU
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
]
TABLE = (
    "id,number,ratio,text\n"
    '001,10,2.0x,"a, ""b"""\n'
    "002,9,10x,<script>window.hacked = 1</script>\n"
    "003,1e5,1.5x,<img src=x onerror='window.hacked = 2'>\n"
    "004,NaN,,needle — ü\n"
    "005,-3,0.5x, spaces \n"
)
LONG = "row,a rather long name of a column,x,y,z,u,v,w\n" + "".join(
    f"{i},the quick brown fox jumps over the lazy dog,{i * 1.25},{i},{i},{i},{i},{i}\n"
    for i in range(120)
)
PAGE = r"""
Tables
======

Mathematics $35^3 = 42,875$.

.. math:: a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r = s + t + u
   :label: long

.. datatable:: table.csv

   The *caption*.

.. datatable:: long.csv
"""

PICTURE = """
Picture
=======

.. container:: dataflow

   .. raw:: html
      :file: dataflow.svg

::

   a line of code that is rather long, longer than a telephone is wide, and longer than that still
"""
FIGURES = """
Figures
=======

.. figure:: dataflow.svg

   First.

.. figure:: dataflow.svg

   Second.
"""
FILES = {
    "notebook/figures.rst": FIGURES,
    "notebook/tables.rst": PAGE,
    "notebook/table.csv": TABLE,
    "notebook/long.csv": LONG,
    "notebook/picture.rst": PICTURE,
    # stubs of what the index lists: the real pages lead to experiments that aren't here
    "guide/index.rst": "Guide\n=====\n",
    "glossary.rst": "Glossary\n========\n",
    "compare.rst": "Compare\n=======\n",
    "api/index.rst": "Reference\n=========\n",
}


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """The repository's configuration and index, with a page of two tables, as HTML files."""
    return build_once(tmp_path_factory, "note book", build_pages)  # a space, as people have them


@pytest.fixture(scope="session")
def kinds(tmp_path_factory, write_run, write_samples, write_reconstructions):
    """The address of a page of each kind, by what it is."""

    def build(source):
        build_every_kind(source, write_run, write_samples, write_reconstructions)

    folder = build_once(tmp_path_factory, "every kind", build)
    return {kind: (folder / f"{page}.html").as_uri() for kind, page in KINDS.items()}


def build_once(tmp_path_factory, name, build):
    """Build a notebook: of processes that test side by side, the first does. Return its pages."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    source = shared / "browser" / name
    with FileLock(shared / f"{name}.lock"):
        if not source.exists():
            source.mkdir(parents=True)
            build(source)
    return source / "_build/html"


def build_pages(source):
    shutil.copy(ROOT / "conf.py", source)
    (source / "docs/notebook").mkdir(parents=True)
    shutil.copy(ROOT / "docs/index.rst", source / "docs")
    shutil.copy(ROOT / "docs/guide/dataflow.svg", source / "docs/notebook")
    for name, text in FILES.items():
        path = source / "docs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    build_html(source)


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def driver(tmp_path_factory, downloads):
    missing = [x for x in ("chromium", "chromedriver") if shutil.which(x) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def chromium(driver):
    yield driver
    driver.get("about:blank")  # an idle page with a 3D view would slow down other modules


@pytest.fixture
def browser(chromium, pages):
    """A browser that has opened the page of tables from file://, wide and light."""
    from selenium.webdriver.support.ui import WebDriverWait

    set_width(chromium, 1400)
    set_scheme(chromium, "light")
    chromium.get_log("browser")
    chromium.get_log("performance")
    chromium.get((pages / "docs/notebook/tables.html").as_uri())
    WebDriverWait(chromium, 10).until(
        lambda x: len(x.find_elements("css selector", ".datatable-ready")) == 2
    )
    return chromium


def set_width(driver, width):
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )


def set_scheme(driver, scheme):
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )


@pytest.fixture
def resize(chromium):
    return lambda width: set_width(chromium, width)


@pytest.fixture
def prefer(chromium):
    return lambda scheme: set_scheme(chromium, scheme)


@pytest.fixture
def read_requests(chromium):
    """The addresses that the page has asked for since it was opened."""

    def read():
        messages = [json.loads(x["message"])["message"] for x in chromium.get_log("performance")]
        return [
            x["params"]["request"]["url"]
            for x in messages
            if x["method"] == "Network.requestWillBeSent"
        ]

    return read
