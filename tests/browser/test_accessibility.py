"""axe-core, whose rules are those of WCAG and of good practice, finds nothing on any page."""

import os
import time
from pathlib import Path

import pytest
from every_kind import KINDS

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
READY = {
    "notes": ".run-plot canvas",
    "tables": ".datatable:nth-of-type(2).datatable-ready",
    "compare": ".run-plot canvas",
}
"""What the scripts of a page write last."""


@pytest.fixture(scope="module")
def axe():
    if not AXE.is_file():
        missing = f"{AXE.name} is missing; `make node_modules/axe-core` installs it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return AXE.read_text("utf-8")


def find_problems(browser, axe, rules=()):
    """Each rule that is broken, of these or of all, its impact and the elements that break it."""
    browser.execute_script(axe)
    # From file://, axe can't load the styles again.
    options = {"resultTypes": ["violations"], "preload": False}
    options |= {"runOnly": list(rules)} if rules else {}
    found = browser.execute_async_script(
        "const [options, done] = arguments;"
        "axe.run(document, options).then(done, (x) => done(String(x)))",
        options,
    )
    return [
        (x["impact"], x["id"], [node["target"] for node in x["nodes"]])
        for x in found["violations"]
    ]


def visit(browser, kinds, kind):
    browser.get(kinds[kind])
    wait_for(browser, READY.get(kind, "body"))
    # Sizes are observed at the end of a frame: the next one begins when they have been.
    browser.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
    )


def wait_for(browser, selector):
    end = time.monotonic() + 30
    while not browser.find_elements("css selector", selector):
        assert time.monotonic() < end, selector
        time.sleep(0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_on_a_page(chromium, resize, prefer, kinds, axe, kind):
    resize(1400)
    prefer("light")
    visit(chromium, kinds, kind)
    assert find_problems(chromium, axe) == []
    prefer("dark")  # which changes colours alone
    assert find_problems(chromium, axe, ["color-contrast"]) == []


@pytest.mark.parametrize("kind", ["notes", "sheet", "compare", "views"])
def test_nothing_is_found_on_a_telephone(chromium, resize, prefer, kinds, axe, kind):
    resize(390)
    prefer("light")
    visit(chromium, kinds, kind)
    assert find_problems(chromium, axe) == []


OPENED = {
    "notes": ("button.enlarge", ".figure-dialog[open]"),
    "tables": (".datatable .dt-buttons button", ".datatable-filters:not([hidden])"),
    "compare": (".run-properties summary", ".run-properties[open]"),
    "views": (".reconstruction-bar button", ".reconstruction-open canvas"),
}
"""What a press of a button opens."""


@pytest.mark.parametrize("kind", OPENED)
def test_nothing_is_found_in_what_is_opened(chromium, resize, prefer, kinds, axe, kind):
    resize(1400)
    prefer("light")
    visit(chromium, kinds, kind)
    button, opened = OPENED[kind]
    wait_for(chromium, button)
    chromium.execute_script("document.querySelector(arguments[0]).click()", button)
    wait_for(chromium, opened)
    assert find_problems(chromium, axe) == []
    prefer("dark")
    assert find_problems(chromium, axe, ["color-contrast"]) == []
    ids = chromium.execute_script(
        "return Array.from(document.querySelectorAll('[id]'), (x) => x.id)"
    )
    assert len(set(ids)) == len(ids)
    assert "undefined" not in ids
