"""Pages of each kind on screens of three sizes, by keyboard alone, and on paper."""

import time

import pytest
from every_kind import KINDS
from selenium.webdriver import ActionChains, Keys

pytestmark = pytest.mark.browser

WIDTHS = (390, 850, 1920)


@pytest.fixture
def visit(chromium, kinds, resize, prefer):
    def visit(kind, width=1400):
        resize(width)
        prefer("light")
        chromium.get(kinds[kind])
        return chromium

    return visit


def wait_for(read, expected=True):
    end = time.monotonic() + 20
    while (found := read()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    assert found == expected


def run(browser, script, *arguments):
    return browser.execute_script(f"return {script}", *arguments)


def count(browser, selector):
    return len(browser.find_elements("css selector", selector))


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def find_focus(browser):
    return browser.switch_to.active_element


def tab_to(browser, selector, limit=80):
    """Press Tab until an element has the focus."""
    for _ in range(limit):
        press(browser, Keys.TAB)
        if run(browser, "document.activeElement.matches(arguments[0])", selector):
            return find_focus(browser)
    raise AssertionError(f"Tab doesn't lead to {selector}")


@pytest.mark.parametrize("kind", KINDS)
def test_no_page_scrolls_sideways(visit, resize, kind):
    browser = visit(kind)
    for width in WIDTHS:
        resize(width)
        # Furo hides what is too wide for the window, or lets the content scroll.
        wide = run(
            browser,
            "['html', 'body', '.content'].filter((x) => {"
            " x = document.querySelector(x); return x.scrollWidth > x.clientWidth; })",
        )
        assert wide == [], width


@pytest.mark.parametrize("key", [Keys.SPACE, Keys.ENTER])
def test_drawers_open_and_close_by_keyboard(visit, key):
    browser = visit("notes", 850)
    links = "document.querySelector('.sidebar-tree a').checkVisibility({visibilityProperty: true})"
    assert not run(browser, links)
    tab_to(browser, "#__navigation")
    assert find_focus(browser).get_attribute("aria-pressed") == "false"
    press(browser, key)
    wait_for(lambda: run(browser, links))
    assert find_focus(browser).get_attribute("aria-pressed") == "true"
    tab_to(browser, ".sidebar-tree a")
    press(browser, Keys.ESCAPE)
    wait_for(lambda: run(browser, links), False)
    assert find_focus(browser).get_attribute("id") == "__navigation"
    assert find_focus(browser).get_attribute("aria-pressed") == "false"


def test_folds_of_the_contents_open_by_keyboard(visit):
    browser = visit("guide")
    for box in browser.find_elements("css selector", ".toctree-checkbox"):
        was_open = box.is_selected()
        box.send_keys(Keys.SPACE)
        assert box.is_selected() != was_open


def test_code_is_copied_by_keyboard(visit):
    browser = visit("guide")
    run(browser, "navigator.clipboard.writeText = async (x) => { window.copied = x; }")
    tab_to(browser, ".copy-code")
    press(browser, Keys.ENTER)
    wait_for(lambda: find_focus(browser).text, "Copied")
    assert run(browser, "window.copied") == ".. figure:: picture.svg\n\n   The *caption*.\n"
    kinds = run(
        browser,
        "Array.from(document.querySelectorAll('.highlight-rst span'), (x) => x.className)",
    )
    assert "ow" in kinds or "k" in kinds  # the name of a directive has a colour


def test_an_enlarged_figure_closes_by_keyboard(visit):
    browser = visit("notes")
    tab_to(browser, "button.enlarge")
    press(browser, Keys.ENTER)
    wait_for(lambda: count(browser, ".figure-dialog[open]"), 1)
    press(browser, Keys.ESCAPE)
    wait_for(lambda: count(browser, ".figure-dialog[open]"), 0)
    assert find_focus(browser).get_attribute("class") == "enlarge"


def test_a_legend_keeps_the_focus(visit):
    browser = visit("notes")
    wait_for(lambda: count(browser, ".run-plot canvas") > 0)
    box = tab_to(browser, ".run-legend input")
    label = box.get_attribute("aria-label")
    press(browser, Keys.SPACE)
    focus = find_focus(browser)
    assert focus.get_attribute("aria-label") == label
    assert not focus.is_selected()


def test_a_wide_table_keeps_its_first_column_and_its_messages_in_sight(visit):
    browser = visit("tables")
    wait_for(lambda: count(browser, ".datatable-ready"), 2)
    box = browser.find_elements("css selector", ".datatable")[1]
    scroller = box.find_element("css selector", ".dt-layout-table > .dt-layout-cell")
    wait_for(lambda: scroller.get_attribute("tabindex"), "0")
    script = "Array.from(arguments[0].querySelectorAll('tbody tr'), (x) => x.offsetHeight)"
    heights = run(browser, script, box)
    assert len(set(heights)) == 1

    def scroll_to_end():
        run(browser, "arguments[0].scrollLeft = 1e6", scroller)

    def is_in_sight(selector):
        return run(
            browser,
            "(([x, y]) => x.left >= y.left - 1 && x.right <= y.right + 1)("
            "[arguments[0].querySelector(arguments[2]), arguments[1]]"
            ".map((x) => x.getBoundingClientRect()))",
            box, scroller, selector,
        )  # fmt: skip

    scroll_to_end()
    assert is_in_sight("tbody td:first-child")
    assert is_in_sight("caption")
    assert not is_in_sight("tbody td:nth-child(2)")
    (button,) = (x for x in box.find_elements("css selector", "button") if x.text == "Filter")
    run(browser, "arguments[0].click()", button)
    field = box.find_elements("css selector", ".datatable-filters input")[1]
    field.send_keys("> many")
    wait_for(lambda: count(browser, ".datatable-none"), 1)
    scroll_to_end()
    assert is_in_sight(".datatable-none")
    assert field.get_attribute("aria-invalid") == "true"
    expected = "no condition: > many; such as > 0.5 or 1..3"
    assert box.find_element("css selector", "[role=status]").text == expected
    field.clear()
    field.send_keys("> 1")
    assert field.get_attribute("aria-invalid") == "false"
    assert box.find_element("css selector", "[role=status]").text == ""


def test_tables_are_as_wide_as_the_window_lets_them_be(visit):
    browser = visit("sheet", 1920)
    wait_for(lambda: count(browser, ".datatable-ready") > 0)
    width = run(browser, "document.querySelector('.datatable .dt-container').clientWidth")
    assert width > 1000
    assert run(browser, "document.querySelector('article p').clientWidth") < 850


def test_motion_is_reduced_where_a_reader_asks_for_it(visit):
    browser = visit("notes")  # the browser of the tests asks for it
    moving = run(
        browser,
        "Array.from(document.querySelectorAll('*'), (x) => getComputedStyle(x))"
        ".filter((x) => x.scrollBehavior !== 'auto' || x.transitionDuration !== '0s').length",
    )
    assert moving == 0


@pytest.mark.parametrize("kind", ["notes", "tables", "sheet", "guide", "views"])
def test_paper_has_the_article_alone_and_nothing_is_cut(visit, kind):
    browser = visit(kind, 1000)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    hidden = ".sidebar-drawer, .toc-drawer, .mobile-header, .copy-code, .run-controls"
    shown = run(
        browser,
        "Array.from(document.querySelectorAll(arguments[0])).filter((x) => x.checkVisibility())"
        ".map((x) => x.className)",
        hidden,
    )
    cut = run(
        browser,
        "Array.from(document.querySelectorAll('article :is(pre, .math-body)'))"
        ".filter((x) => x.scrollWidth > x.clientWidth + 1)"
        ".filter((x) => getComputedStyle(x).overflowX !== 'visible').map((x) => x.textContent)",
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert shown == []
    assert cut == []
