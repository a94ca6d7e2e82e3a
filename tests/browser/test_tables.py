"""Tables and figures as a person uses them: filters, workbooks, 100,000 rows, pictures enlarged."""

import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nestedtext as nt
import pytest
from small_notebook import build_html

from atompaint_vae.notebook.tables.cells import Table
from atompaint_vae.notebook.tables.readers import read_table

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
NUM_ROWS = 100_000
IDS = [
    ["id", "code", "value", "note"],
    ["001", "12", "0.50", "plain"],
    ["1e5", "7", "-0.000", "<script>window.hacked = 1</script>"],
    ["NaN", "1234567890123456", "1.26", 'two\nlines, "quoted" & _x0041_'],
    ["x", "", "1e-3", " spaces "],
]
PAGE = """
Tables
======

.. datatable:: ids.csv
   :format: value: .1f

   A caption that is much longer than a telephone is wide, and so has to go on for several lines,
   whatever the table below it does.

.. figure:: picture.svg

   A *picture*.

.. toctree::

   long
   order
   50% of #1? μ ü
"""
LONG = """
Long
====

.. datatable:: long.csv

   A hundred thousand rows.
"""
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="120">'
    '<path d="M 10 110 L 290 10" stroke="black"/></svg>'
)
ORDERS = nt.load(ROOT / "tests/notebook/tables/order.nt", top=list)
ODD_NAME = "50% of #1? μ ü"
ENTER, ESCAPE = "\ue007", "\ue00c"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    source = tmp_path_factory.mktemp("tables")
    folder = source / "docs"
    folder.mkdir()
    shutil.copy(ROOT / "conf.py", source)
    (folder / "index.rst").write_text(PAGE, "utf-8")
    (folder / "long.rst").write_text(LONG, "utf-8")
    (folder / "picture.svg").write_text(SVG, "utf-8")
    directives = "".join(f".. datatable:: order_{i}.csv\n\n" for i in range(len(ORDERS)))
    (folder / "order.rst").write_text(f"Order\n=====\n\n{directives}", "utf-8")
    odd = f".. datatable:: {ODD_NAME}.csv\n\n" + 2 * ".. datatable:: many.csv\n\n"
    (folder / f"{ODD_NAME}.rst").write_text(f"Odd\n===\n\n{odd}", "utf-8")
    orders = {f"order_{i}": [[x] for x in ["x", *case["cells"]]] for i, case in enumerate(ORDERS)}
    many = {"many": [["x", "y"], *([str(i), "y"] for i in range(600))]}
    tables = {"ids": IDS, "long": make_rows(), ODD_NAME: IDS} | orders | many
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    build_html(source)
    return source / "_build/html/docs"


def make_rows():
    yield ["id", "sample", "loss"]
    for i in range(NUM_ROWS):
        yield [f"{i:06d}", f"sample {i * 7919 % 100_003}", str((i * 37) % 1000 / 8)]


@pytest.fixture
def table(chromium, resize, prefer, pages):
    """The short table, once its script has run."""
    resize(1400)
    prefer("light")
    yield open_table(chromium, pages / "index.html")
    assert chromium.get_log("browser") == []


@pytest.fixture
def long_table(chromium, resize, pages):
    """The table of 100,000 rows, once its script has run."""
    resize(1400)
    yield open_table(chromium, pages / "long.html")
    assert chromium.get_log("browser") == []


def open_table(browser, page):
    return open_tables(browser, page, 1)[0]


def open_tables(browser, page, number):
    browser.get_log("browser")
    browser.get(page.as_uri())
    find = lambda: browser.find_elements("css selector", ".datatable-ready")  # noqa: E731
    assert wait_until(lambda: len(find()), number) == number
    return find()


def wait_until(read, expected, seconds=10):
    end = time.monotonic() + seconds
    while (value := read()) != expected and time.monotonic() < end:
        time.sleep(0.02)
    return value


def read_rows(table):
    return table.parent.execute_script(
        "return Array.from(arguments[0].querySelector('tbody').rows,"
        " (row) => Array.from(row.cells, (cell) => cell.textContent))",
        table,
    )


def read_column(table, column=0):
    return [row[column] for row in read_rows(table)]


def press(table, text):
    (button,) = [x for x in table.find_elements("css selector", "button") if x.text == text]
    table.parent.execute_script("arguments[0].click()", button)


def fill_filter(table, column, text):
    if not table.find_element("css selector", ".datatable-filters").is_displayed():
        press(table, "Filter")
    box = table.find_elements("css selector", ".datatable-filters input")[column]
    box.clear()
    box.send_keys(text)


def wait_for_file(folder, name):
    path = folder / name
    wait_until(lambda: path.exists() and path.stat().st_size > 0, True)
    return path


FILTERED = [
    (0, "0", ["001"]),
    (3, "SPACES", ["x"]),
    (3, "<script>", ["1e5"]),
    (2, "> 0.4", ["001", "NaN"]),
    (2, "<=0", ["1e5"]),
    (2, "0.0001..0.6", ["001", "x"]),
    (2, "=1.26", ["NaN"]),
    (2, "1.3", ["NaN"]),  # 1.26, as it is shown
    (2, "1.26", ["NaN"]),  # and as it is written
]


def test_filter_by_column(table):
    everything = [row[0] for row in IDS[1:]]
    for column, text, expected in FILTERED:
        fill_filter(table, column, text)
        assert wait_until(lambda: read_column(table), expected) == expected, text
        press(table, "Filter")
        assert wait_until(lambda: read_column(table), everything) == everything, text


def test_formatted_cells_keep_their_values(table, downloads):
    # No number: 1e5 and the like are as they are written; a rounded zero has no sign.
    assert read_column(table, 2) == ["0.5", "0.0", "1.3", "0.0"]
    for path in downloads.iterdir():
        path.unlink()
    press(table, "CSV")
    path = wait_for_file(downloads, "ids.csv")
    assert read_table(path).rows == IDS[1:]


def test_workbook_is_exactly_the_source(table, downloads):
    for path in downloads.iterdir():
        path.unlink()
    press(table, "Excel")
    path = wait_for_file(downloads, "ids.xlsx")
    assert [read_table(path).header, *read_table(path).rows] == [
        [x.replace("_x0041_", "_x005F_x0041_") for x in row] for row in IDS
    ]

    import openpyxl

    sheet = openpyxl.load_workbook(path).worksheets[0]
    assert sheet.title == "ids"
    kinds = [[cell.data_type for cell in row if cell.value is not None] for row in sheet]
    # 001 makes its column text; 16 digits, 1e-3 and -0.000 would not come out as they are written.
    assert kinds == [["s"] * 4, ["s", "n", "n", "s"], ["s", "n", "s", "s"], ["s", "s", "n", "s"],
                     ["s", "s", "s"]]  # fmt: skip


def test_copy_takes_what_is_written(table):
    browser = table.parent
    browser.execute_script(
        "navigator.clipboard.writeText = async (text) => { window.copied = text; };"
    )
    fill_filter(table, 2, "> 0.4")
    assert wait_until(lambda: len(read_rows(table)), 2) == 2
    press(table, "Copy")
    read = "return window.copied ?? null"
    assert wait_until(lambda: browser.execute_script(read) is not None, True)
    copied = browser.execute_script(read)
    assert copied.startswith("id\tcode\tvalue\tnote\n001\t12\t0.50\tplain\nNaN\t")
    assert browser.execute_script("return window.hacked ?? null") is None


def test_a_hundred_thousand_rows(long_table):
    table = long_table
    assert "1 to 25 of 100,000 rows" in table.text
    assert "The first 25" not in table.text
    header = table.find_elements("css selector", "thead th")[2]
    browser = table.parent
    # Rows 0, 1000, 2000 ... have the smallest loss; equal ones stay in order.
    expected = [f"{i * 1000:06d}" for i in range(25)]
    browser.execute_script("arguments[0].click()", header)
    assert wait_until(lambda: read_column(table), expected) == expected
    browser.execute_script("arguments[0].click()", header)
    expected = [f"{i * 1000 + 27:06d}" for i in range(25)]  # 27 * 37 = 999
    assert wait_until(lambda: read_column(table), expected) == expected

    table.find_element("css selector", ".dt-search input").send_keys("099027")
    assert wait_until(lambda: read_column(table), ["099027"]) == ["099027"]
    assert "1 to 1 of 1 rows" in table.text


def test_rows_are_found_while_one_types(long_table):
    browser = long_table.parent
    took_ms = browser.execute_script(
        "const rows = Array.from({ length: 100000 }, (_, i) =>"
        " [String(i), `sample ${(i * 7919) % 100003}`, String((i * 37) % 1000 / 8)]);"
        "const data = new NotebookTable(rows, {}, [true, false, true]);"
        "const find = (words, filters, order) =>"
        " data.find(words, filters, order ? [{ column: order, dir: 'asc' }] : []);"
        "find('7', ['', '', ''], 2); find('', ['', '9', ''], 1);"  # the first time makes the keys
        "const times = ['s', 'sa', 'sample 77'].map((text) => {"
        "  const start = performance.now(); find(text, ['', '', '> 3'], 2);"
        "  return performance.now() - start; });"
        "return Math.max(...times);"
    )
    # 20 to 60 ms on a quiet core; nobody notices a quarter of a second.
    assert took_ms < 250


def test_filter_and_scroll_by_keyboard(table, resize):
    browser = table.parent
    (button,) = [x for x in table.find_elements("css selector", "button") if x.text == "Filter"]
    button.send_keys(ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    active = browser.switch_to.active_element
    assert active.get_attribute("aria-label") == "Filter by id"
    active.send_keys("1e")
    assert wait_until(lambda: read_column(table), ["1e5"]) == ["1e5"]
    button.send_keys(ENTER)
    resize(390)
    region = table.find_element("css selector", "[role=region]")
    assert region.get_attribute("aria-label").startswith("A caption that is much longer")
    assert wait_until(lambda: region.get_attribute("tabindex"), "0") == "0"


def test_caption_fits_a_phone(table, resize):
    resize(390)
    caption = table.find_element("css selector", "caption")
    rect = caption.rect
    assert rect["x"] >= 0
    assert rect["x"] + rect["width"] <= 390
    assert rect["height"] > 60  # it goes on for several lines


def test_themes_that_are_always_light_have_light_tables(chromium, prefer, pages, tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-D", "html_theme=alabaster", ".", tmp_path]
    subprocess.run(command, cwd=pages.parents[2], check=True, capture_output=True)
    prefer("dark")
    table = open_table(chromium, tmp_path / "docs/index.html")
    read = "return getComputedStyle(arguments[0].querySelector(arguments[1]))[arguments[2]]"
    colours = [chromium.execute_script(read, table, "td", "color")]
    colours.append(chromium.execute_script(read, table, "input", "backgroundColor"))
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert not chromium.execute_script("return document.documentElement.matches('.dark')")


@pytest.mark.parametrize("width", [1400, 390])
def test_a_narrow_table_and_its_buttons_begin_where_the_text_does(table, resize, width):
    resize(width)
    find = "return Array.from(arguments[0].querySelectorAll(arguments[1]), (x) =>"
    read = find + " x.getBoundingClientRect().left)"
    script = "arguments[0].querySelector('table').style.minWidth = '8rem';"
    script += "arguments[0].querySelectorAll('td, th').forEach((x) => x.style.fontSize = '6px');"
    table.parent.execute_script(script, table)
    lefts = [table.parent.execute_script(read, table, x)[0] for x in ("table", "input", "caption")]
    if width == 390:
        lefts += table.parent.execute_script(read, table, "button.dt-button")[:1]
    start = table.parent.execute_script("return arguments[0].getBoundingClientRect().left", table)
    assert lefts == pytest.approx(len(lefts) * [start], abs=1)


def test_a_table_fades_where_there_is_more_of_it(table, resize):
    browser = table.parent
    region = table.find_element("css selector", "[role=region]")
    kept = [table.find_element("css selector", x) for x in ("caption", "tbody td:first-child")]

    def read():
        lengths = browser.execute_script(
            "const style = getComputedStyle(arguments[0]);"
            "return ['--fade-start', '--fade-end']"
            ".map((x) => parseFloat(style.getPropertyValue(x)))",
            region,
        )
        return [round(x) for x in lengths]

    assert wait_until(read, [0, 0]) == [0, 0]
    resize(300)
    assert wait_until(read, [0, 32]) == [0, 32]
    browser.execute_script("arguments[0].scrollLeft = 10_000", region)
    # The caption and the first column stay at the start, where nothing may fade.
    assert wait_until(read, [0, 0]) == [0, 0]
    assert [x.rect["x"] for x in kept] == pytest.approx(2 * [region.rect["x"]], abs=1)


def test_without_javascript_the_first_rows_and_a_link_to_all(chromium, pages):
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.get((pages / "long.html").as_uri())
        box = chromium.find_element("css selector", ".datatable")
        assert "The first 25 of 100,000 rows; all: long.csv" in box.text
        link = box.find_element("css selector", "a.download").get_attribute("href")
        assert link.endswith("/long.csv")
        assert "000024" in box.text
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_page_holds_no_more_than_it_shows(pages):
    assert (pages / "long.html").stat().st_size < 40_000


def test_every_order_is_that_of_python(chromium, resize, pages):
    resize(1400)
    boxes = open_tables(chromium, pages / "order.html", len(ORDERS))
    for box, case in zip(boxes, ORDERS, strict=True):
        shown = lambda box=box: [x.strip() for x in read_column(box)]  # noqa: E731
        header = box.find_element("css selector", "thead th")
        expected = [x.strip() for x in case["sorted"].split("|")]
        chromium.execute_script("arguments[0].click()", header)
        assert wait_until(shown, expected) == expected, case["name"]
        (column,) = Table(["x"], [[x] for x in case["cells"]]).columns
        missing = [x for x, key in zip(case["cells"], column.keys, strict=True) if key is None]
        expected = [*reversed(expected[: len(expected) - len(missing)]), *missing]
        chromium.execute_script("arguments[0].click()", header)
        assert wait_until(shown, expected) == expected, case["name"]
        chromium.execute_script("arguments[0].click()", header)
        for line in case.get("kept", []):
            text, _, kept = line.partition(" => ")
            expected = [x.strip() for x in kept.split("|")]
            fill_filter(box, 0, text)
            assert wait_until(shown, expected, 5) == expected, (case["name"], text)
    assert chromium.get_log("browser") == []


def test_a_page_of_any_name(chromium, resize, pages):
    resize(1400)
    short, first, second = open_tables(chromium, pages / f"{ODD_NAME}.html", 3)
    assert [len(read_column(x)) for x in (short, first, second)] == [4, 25, 25]
    assert "1 to 25 of 600 rows" in second.text
    link = "return arguments[0].querySelector('a.download').href"
    for name in (chromium.execute_script(link, x) for x in (first, second)):
        assert name.endswith("/many.csv")
    assert chromium.get_log("browser") == []


def read_dialog(browser):
    return browser.execute_script("return document.querySelector('.figure-dialog').open")


def test_figure_is_enlarged_by_keyboard(table):
    browser = table.parent
    button = browser.find_element("css selector", "button.enlarge")
    small = button.find_element("css selector", "img").rect["width"]
    button.send_keys(ENTER)
    assert wait_until(lambda: read_dialog(browser), True)
    dialog = browser.find_element("css selector", ".figure-dialog")
    assert dialog.find_element("css selector", "img").rect["width"] > 2 * small
    assert "A picture." in dialog.text
    browser.switch_to.active_element.send_keys(ESCAPE)
    assert wait_until(lambda: read_dialog(browser), False) is False
    assert browser.switch_to.active_element == button


def test_figure_is_enlarged_and_closed_by_clicks(table, resize):
    resize(390)
    browser = table.parent
    button = browser.find_element("css selector", "button.enlarge")
    browser.execute_script("arguments[0].click()", button)
    assert wait_until(lambda: read_dialog(browser), True)
    rect = browser.find_element("css selector", ".figure-dialog img").rect
    assert rect["x"] >= 0
    assert rect["x"] + rect["width"] <= 390
    browser.find_element("css selector", ".figure-dialog button").click()
    assert wait_until(lambda: read_dialog(browser), False) is False


def test_figures_lie_on_paper_in_the_dark(table, prefer):
    browser = table.parent
    read = (
        "const style = getComputedStyle(document.querySelector('figure img'));"
        "return [style.backgroundColor, style.boxShadow.startsWith('rgb(255, 255, 255)')];"
    )
    assert browser.execute_script(read) == ["rgba(0, 0, 0, 0)", False]
    browser.execute_script("document.body.dataset.theme = 'dark'")
    assert browser.execute_script(read) == ["rgb(255, 255, 255)", True]
    browser.execute_script("document.body.dataset.theme = 'auto'")
    assert browser.execute_script(read) == ["rgba(0, 0, 0, 0)", False]
    prefer("dark")
    assert browser.execute_script(read) == ["rgb(255, 255, 255)", True]
