import time

import pytest
from selenium.webdriver import Keys

pytestmark = pytest.mark.browser

ROWS = [
    ["001", "10", "2.0x", 'a, "b"'],
    ["002", "9", "10x", "<script>window.hacked = 1</script>"],
    ["003", "1e5", "1.5x", "<img src=x onerror='window.hacked = 2'>"],
    ["004", "NaN", "", "needle — ü"],
    ["005", "-3", "0.5x", " spaces "],
]


def read_rows(browser, table=0):
    return browser.execute_script(
        "return Array.from(document.querySelectorAll('.datatable table')[arguments[0]]"
        ".tBodies[0].rows, (row) => Array.from(row.cells, (cell) => cell.textContent))",
        table,
    )


def find(browser, selector):
    return browser.find_element("css selector", ".datatable " + selector)


def wait_until(read, expected):
    """What `read` returns, once it is as expected or two seconds have passed."""
    for _ in range(40):
        if read() == expected:
            break
        time.sleep(0.05)
    return read()


def sort_by(browser, column, order):
    """Click on a column's name; its rows, once the order is ascending, descending or None."""
    header = find(browser, f"thead th:nth-child({column})")
    header.click()
    assert wait_until(lambda: header.get_attribute("aria-sort"), order) == order
    return [row[0] for row in read_rows(browser)]


def search(browser, text, expected):
    """Type into the first table's search box; the names of the rows that are left."""
    box = find(browser, "input[type=search]")
    box.clear()
    box.send_keys(text)
    return wait_until(lambda: [row[0] for row in read_rows(browser)], expected)


def test_rows_are_those_of_the_file(browser):
    assert read_rows(browser) == ROWS
    assert len(read_rows(browser, 1)) == 25


SORTED = [
    (2, ["005", "002", "001", "003", "004"], ["003", "001", "002", "005", "004"]),
    (3, ["005", "003", "001", "002", "004"], ["002", "001", "003", "005", "004"]),
    (4, ["003", "002", "001", "004", "005"], ["005", "004", "001", "002", "003"]),
    (1, ["001", "002", "003", "004", "005"], ["005", "004", "003", "002", "001"]),
]


def test_a_click_sorts_numbers_as_numbers_and_text_as_text(browser):
    for column, ascending, descending in SORTED:
        assert sort_by(browser, column, "ascending") == ascending, column
        assert sort_by(browser, column, "descending") == descending, column
        assert sort_by(browser, column, None) == ["001", "002", "003", "004", "005"], column


def test_sorting_by_keyboard(browser):
    button = find(browser, "thead th:nth-child(2) [role=button], thead th:nth-child(2)[tabindex]")
    button.send_keys("\ue007")
    expected = ["005", "002", "001", "003", "004"]
    assert wait_until(lambda: [row[0] for row in read_rows(browser)], expected) == expected


FOUND = [
    ("needle", ["004"]),
    ("nowhere", ["No row matches"]),
    ("NEEDLE — Ü", ["004"]),
    ("<script>", ["002"]),
    ("needle — u", ["004"]),
    ("1e5", ["003"]),
]


def test_search(browser):
    for text, expected in FOUND:
        assert search(browser, text, expected) == expected, text


def test_pages_of_a_long_table(browser):
    box = browser.find_elements("css selector", ".datatable")[1]
    assert "1 to 25 of 120 rows" in box.text
    # It lies below the window's edge, where an emulated window takes no real clicks.
    browser.execute_script("arguments[0].querySelector('button.next').click()", box)
    assert wait_until(lambda: read_rows(browser, 1)[0][0], "25") == "25"


def click_button(browser, text):
    for button in browser.find_elements("css selector", ".datatable button.dt-button"):
        if button.text == text:
            return button.click()
    raise AssertionError(f"no button {text}")


def test_csv_is_exactly_the_source(browser, downloads):
    sort_by(browser, 2, "ascending")
    search(browser, "needle", ["004"])
    click_button(browser, "CSV")
    path = downloads / "table.csv"
    for _ in range(100):
        if path.exists():
            break
        time.sleep(0.05)
    # Rows in the file's order, whatever is shown; quotes only where they are needed.
    lines = ["id,number,ratio,text", '001,10,2.0x,"a, ""b"""']
    lines += [",".join(row) for row in ROWS[1:]]
    assert path.read_bytes().decode("utf-8") == "\n".join(lines) + "\n"


def test_copy_takes_what_is_shown(browser):
    browser.execute_script(
        "window.copied = null;"
        "navigator.clipboard.writeText = async (text) => { window.copied = text; };"
    )
    sort_by(browser, 2, "ascending")
    search(browser, "x", ["005", "002", "001", "003"])
    click_button(browser, "Copy")
    shown = [ROWS[i] for i in (4, 1, 0, 2)]
    shown[2] = ["001", "10", "2.0x", '"a, ""b"""']
    lines = ["\t".join(row) for row in [["id", "number", "ratio", "text"], *shown]]
    assert browser.execute_script("return window.copied") == "\n".join(lines) + "\n"
    expected = "4 rows copied"
    assert wait_until(lambda: find(browser, "[role=status]").text, expected) == expected


def test_cells_are_inert(browser):
    sort_by(browser, 4, "ascending")
    assert len(search(browser, "hacked", ["003", "002"])) == 2
    assert browser.execute_script("return window.hacked ?? null") is None
    assert browser.execute_script("return document.querySelectorAll('tbody td *').length") == 0


def read_colours(browser):
    return browser.execute_script(
        "const colour = (selector, name) =>"
        " getComputedStyle(document.querySelector('.datatable ' + selector))[name];"
        "return [colour('td', 'color'), colour('input', 'color'),"
        " colour('input', 'backgroundColor'), colour('button.dt-button', 'backgroundColor'),"
        " document.documentElement.classList.contains('dark')]"
    )


def set_theme(browser, theme):
    browser.execute_script("document.body.dataset.theme = arguments[0]", theme)
    time.sleep(0.5)  # colours fade


def test_tables_follow_the_theme(browser, prefer):
    set_theme(browser, "light")
    light = read_colours(browser)
    set_theme(browser, "dark")
    dark = read_colours(browser)
    assert (light[-1], dark[-1]) == (False, True)
    assert all(a != b for a, b in zip(light, dark, strict=True))

    set_theme(browser, "auto")
    assert read_colours(browser) == light
    prefer("dark")
    end = time.monotonic() + 10
    while read_colours(browser) != dark and time.monotonic() < end:
        time.sleep(0.1)
    assert read_colours(browser) == dark


def test_no_network_and_no_errors(browser, read_requests):
    sort_by(browser, 2, "ascending")
    search(browser, "needle", ["004"])
    requests = [x for x in read_requests() if not x.startswith(("data:", "blob:"))]
    assert len(requests) > 5
    assert [x for x in requests if not x.startswith("file://")] == []
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("page", ["notebook/tables", "notebook/picture", "index"])
def test_no_page_is_wider_than_the_window(chromium, resize, pages, page):
    for width in (1400, 700, 360):
        resize(width)
        # Loaded anew: some parts measure the window only once.
        chromium.get((pages / f"docs/{page}.html").as_uri())
        assert find_too_wide(chromium) == [], width


def find_too_wide(browser):
    # Furo lets its article scroll, so that the page itself is never too wide: measure the parts.
    return browser.execute_script(
        "const article = document.querySelector('article');"
        "const right = Math.min(article.getBoundingClientRect().right, window.innerWidth);"
        "const parts = '.dt-container, .math-wrapper, .dataflow, pre';"
        "return Array.from(article.querySelectorAll(parts))"
        ".filter((x) => x.getBoundingClientRect().right > right + 1)"
        ".map((x) => x.className || x.tagName)"
    )


def test_wide_table_scrolls_within_the_page(browser, resize):
    resize(360)
    table = browser.find_elements("css selector", ".datatable table")[1]
    assert table.get_property("offsetWidth") > 360
    browser.execute_script(
        "for (let x = arguments[0]; x; x = x.parentElement) x.scrollLeft = 1000;", table
    )
    assert table.find_element("css selector", "th:last-child").location["x"] < 360
    assert browser.execute_script("return window.scrollX") == 0


def test_first_page_leads_to_the_notebook(browser, pages):
    browser.get((pages / "index.html").as_uri())
    title = "A lab notebook that runs"
    for _ in range(100):
        if title in browser.page_source:
            break
        time.sleep(0.05)
    assert browser.current_url.endswith("/docs/index.html")
    assert title in browser.page_source


def test_plain_table_without_javascript(browser, pages):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((pages / "docs/notebook/tables.html").as_uri())
        table = browser.find_element("css selector", ".datatable table")
        assert table.is_displayed()
        assert "needle — ü" in table.text
        cells = table.find_elements("css selector", "tbody tr:first-child td")
        alignments = [cell.value_of_css_property("text-align") for cell in cells]
        assert alignments == ["right", "right", "right", "left"]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_equation_and_its_number_stand_apart(browser, resize):
    for width in (1400, 360):
        resize(width)
        formula, number = browser.execute_script(
            "return ['.math-body', '.eqno'].map("
            "(x) => document.querySelector('div.math ' + x).getBoundingClientRect().toJSON())"
        )
        assert formula["right"] <= number["left"]
        assert number["right"] <= width


def test_arrow_keys_lead_from_figure_to_figure(browser, pages):
    browser.get((pages / "docs/notebook/figures.html").as_uri())
    first, second = browser.find_elements("css selector", "button.enlarge")
    first.send_keys(Keys.ENTER)
    read = "return document.querySelector('.figure-dialog figcaption').textContent.trim()"
    texts = []
    for key in (Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT):
        browser.switch_to.active_element.send_keys(key)
        texts.append(browser.execute_script(read).rpartition(" ")[2])
    assert texts == ["First.", "Second.", "Second."]
    browser.find_element("css selector", ".figure-previous").click()
    assert browser.execute_script(read).endswith("First.")
    browser.find_element("css selector", ".figure-next").click()
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert wait_until(lambda: browser.switch_to.active_element == second, True)
