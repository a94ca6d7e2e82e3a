"""Measure how long pages take to open in headless Chromium, from file://, and what they load."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTH_PX, HEIGHT_PX = 1400, 900
TIMEOUT_S = 60

WATCH = """
(() => {
  const check = () => {
    if (document.readyState !== "complete" || !(%s)) return;
    observer.disconnect();
    // Wait until the last changes are painted and no other task is queued.
    requestAnimationFrame(() => setTimeout(() => { window.benchmarkReady = performance.now(); }));
  };
  const observer = new MutationObserver(check);
  observer.observe(document, { childList: true, subtree: true, attributeFilter: ["class"] });
  addEventListener("load", check);
})();
"""


@dataclass(frozen=True)
class Opened:
    """A page that was opened: when it became usable, and which files it loaded."""

    ready_ms: float
    files: set[Path]


class Browser:
    def __init__(self, driver):
        self.driver = driver

    def open(self, page: Path, ready: str, height_px: int = HEIGHT_PX) -> Opened:
        """
        Open a page and wait until it can be used.

        ready:  a JavaScript condition that is true once the page can be used
        raises: TimeoutException if it never becomes true
        """
        from selenium.webdriver.support.ui import WebDriverWait

        size = {"width": WIDTH_PX, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get("about:blank")
        self.driver.get_log("performance")
        watch = self.driver.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument", {"source": WATCH % ready}
        )
        self.driver.get(page.as_uri())
        ready_ms = WebDriverWait(self.driver, TIMEOUT_S, poll_frequency=0.1).until(
            lambda driver: driver.execute_script("return window.benchmarkReady")
        )
        self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", watch)
        messages = [json.loads(x["message"])["message"] for x in self.driver.get_log("performance")]
        addresses = [
            urlsplit(x["params"]["request"]["url"])
            for x in messages
            if x["method"] == "Network.requestWillBeSent"
        ]
        return Opened(ready_ms, {Path(unquote(x.path)) for x in addresses if x.scheme == "file"})


@contextmanager
def start_browser() -> Iterator[Browser | None]:
    """Yield a browser; if chromium is missing, say so on stderr and yield None."""
    missing = [x for x in ("chromium", "chromedriver") if shutil.which(x) is None]
    if missing:
        names = " and ".join(missing)
        print(f"times of pages are left out: {names} not installed", file=sys.stderr)
        yield None
        return
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
