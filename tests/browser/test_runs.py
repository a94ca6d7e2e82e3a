"""Curves of runs, and the page that compares them, as a person uses them."""

import json
import math
import re
import shutil
import statistics
import time
from pathlib import Path
from urllib.parse import parse_qs, quote

import nestedtext as nt
import pytest
from selenium.webdriver import ActionChains, Keys
from small_notebook import build_html

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/records"

CURVES = """
Curves
======

.. runs:: 20250101

   The runs.

.. curves:: 20250101
   :metric: val.r2
   :smooth: 0.6

   The curves.
"""


@pytest.fixture(scope="module")
def run_pages(tmp_path_factory, write_run):
    """A notebook of five runs that nobody trained: two latents, three seeds, two reductions."""
    source = tmp_path_factory.mktemp("runs") / "note book"
    expts = source / "expts"
    for seed, tau in enumerate((2, 4, 8)):
        write_run(expts / "20250101_x", f"a_seed{seed}", {"seed": seed}, tau=tau)
    hparams = {"model.latent": "8x0e", "loss.beta": 3}
    script = "<script>window.hacked = 1</script>"
    write_run(expts / "20250101_x", "b <i>", hparams, tau=3, error=script)
    mean = {"loss.reduction": "mean"}
    write_run(expts / "20250202_y", "mean", mean, tau=40, commit="b" * 40, data_hash="e" * 64)
    shutil.copy(ROOT / "conf.py", source)
    index = "Index\n=====\n\n.. toctree::\n\n   compare\n   curves\n   keys\n"
    keys = "Keys\n====\n\n.. hyperparameters::\n"
    for name, text in {"index": index, "curves": CURVES, "keys": keys}.items():
        path = source / "docs" / f"{name}.rst"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    shutil.copy(ROOT / "docs/compare.rst", source / "docs")
    build_html(source)
    return source / "_build/html/docs"


@pytest.fixture
def go(chromium, run_pages, resize, prefer):
    """A function that opens a page with a fragment, wide and light."""

    def open_page(page, **state):
        resize(1400)
        prefer("light")
        chromium.get("about:blank")
        chromium.get_log("browser")
        chromium.get_log("performance")
        fragment = "&".join(f"{key}={quote(value)}" for key, value in state.items())
        chromium.get(f"{(run_pages / page).as_uri()}.html#{fragment}")
        wait(lambda: chromium.find_elements("css selector", ".run-plot canvas"))
        if page == "compare":  # drawn when nothing else is left to do
            wait(lambda: chromium.find_elements("css selector", ".parallel-run"))
        return chromium

    return open_page


def wait(read, expected=True):
    for _ in range(100):
        if read() == expected or (expected is True and read()):
            return read()
        time.sleep(0.05)
    raise AssertionError(f"expected {expected!r}, still {read()!r}")


def find(browser, selector):
    return browser.find_element("css selector", selector)


def read_texts(browser, selector):
    return browser.execute_script(
        "return Array.from(document.querySelectorAll(arguments[0]), (x) => x.textContent)", selector
    )


def read_table_runs(browser):
    return read_texts(browser, ".run-table tbody th a")


def choose(browser, name, value):
    browser.execute_script(
        "const x = document.querySelector(`.run-controls [name=${arguments[0]}]`);"
        "if (x.type === 'checkbox') x.checked = arguments[1]; else x.value = arguments[1];"
        "x.dispatchEvent(new Event(x.type === 'range' ? 'input' : 'change', {bubbles: true}))",
        name,
        value,
    )


ALL = ["a_seed0", "a_seed1", "a_seed2", "b <i>", "mean"]
BEST_FIRST = ["a_seed0", "b <i>", "a_seed1", "a_seed2", "mean"]
TAUS = {"a_seed0": 2, "a_seed1": 4, "a_seed2": 8, "b <i>": 3, "mean": 40}


def test_filter_chooses_runs_of_any_date(go):
    browser = go("compare")
    assert read_table_runs(browser) == BEST_FIRST
    find(browser, "#run-where").send_keys("loss.reduction == mean or best(val.r2) > 0.999")
    assert wait(lambda: read_table_runs(browser), ["a_seed0", "mean"])
    assert find(browser, ".run-count").text == "2 of 5 runs"
    assert wait(lambda: read_texts(browser, ".run-legend tbody th"),
                ["20250101_x/a_seed0", "20250202_y/mean"])


def test_text_is_sorted_among_the_runs_that_are_left(go):
    browser = go("compare", where="run != a_seed1")
    assert len(read_table_runs(browser)) == 4
    head = "//*[@class='run-compare']//thead//button[text()='run']"
    browser.find_element("xpath", head).click()
    assert read_table_runs(browser) == ["a_seed0", "a_seed2", "b <i>", "mean"]
    browser.find_element("xpath", head).click()
    assert read_table_runs(browser) == ["mean", "b <i>", "a_seed2", "a_seed0"]


def test_a_mistake_is_told_with_its_column_and_the_runs_stay(go):
    browser = go("compare", where="seed == 1")
    assert read_table_runs(browser) == ["a_seed1"]
    find(browser, "#run-where").send_keys(" and val.r2 > 0")
    hint = "did you mean 'last(val.r2)' or 'best(val.r2)'?"
    expected = f"column 15: unknown property 'val.r2'; {hint}"
    assert wait(lambda: find(browser, ".run-error").text, expected)
    assert read_table_runs(browser) == ["a_seed1"]
    assert find(browser, "#run-where").get_attribute("aria-invalid") == "true"


def test_a_link_with_a_mistake_shows_all_runs(go):
    browser = go("compare", where="seed ==")
    assert find(browser, ".run-error").text == "column 8: expected a value, got the end"
    assert read_table_runs(browser) == BEST_FIRST


def test_state_in_the_address_survives_a_reload(go):
    browser = go("compare")
    find(browser, "#run-where").send_keys('run ~ "seed" and seed != 1')
    wait(lambda: read_table_runs(browser), ["a_seed0", "a_seed2"])
    wait(lambda: len(read_texts(browser, ".run-legend tbody th")), 2)
    for name, value in [("metric", "train.loss"), ("x", "elapsed_s"), ("smooth", "0.5"),
                        ("logy", True), ("group", "seeds")]:  # fmt: skip
        choose(browser, name, value)
    browser.find_elements("css selector", ".run-table thead button")[2].click()

    def read_state():
        controls = browser.execute_script(
            "const controls = document.querySelectorAll('.run-controls [name]');"
            "return Object.fromEntries(Array.from(controls, (x) =>"
            " [x.name, x.type === 'checkbox' ? x.checked : x.value]))"
        )
        head = find(browser, ".run-table th[aria-sort]")
        return {**controls, "rows": read_texts(browser, ".run-table tbody th"),
                "sorted": [head.text.strip(" ▴▾\xa0"), head.get_attribute("aria-sort")],
                "legend": read_texts(browser, ".run-legend tbody th")}  # fmt: skip

    before = read_state()
    assert before == {
        "metric": "train.loss", "x": "elapsed_s", "smooth": "0.5", "logx": False, "logy": True,
        "group": "seeds", "rows": ["a (2 seeds)2 runs"], "sorted": ["duration [min]", "ascending"],
        "legend": ["a (2 seeds)"],
    }  # fmt: skip
    address = browser.current_url
    browser.refresh()
    wait(lambda: browser.find_elements("css selector", ".run-plot canvas"))
    assert read_state() == before
    browser.get("about:blank")
    browser.get(address)
    wait(lambda: browser.find_elements("css selector", ".run-plot canvas"))
    assert read_state() == before


def test_what_speaks_against_comparing_is_told(go):
    browser = go("compare")
    assert read_texts(browser, ".run-warnings p") == [
        "not comparable: they saw different structures, or another split of them: "
        "data_hash is dddddddd (4 runs) or eeeeeeee (1 run)",
        "confounded: model.latent and loss.beta vary only together: "
        "their effects can't be told apart",
    ]
    summary = find(browser, ".run-code summary")
    changed = "no runs with changes not committed"
    assert summary.text == f"Code of 2 commits, {changed}; 2 sets of structures"
    assert find(browser, ".run-code").text == summary.text
    summary.send_keys(Keys.ENTER)
    assert "git diff aaaaaaaa bbbbbbbb -- atompaint_vae" in find(browser, ".run-code").text
    assert "hash dddddddd (4 runs) or eeeeeeee (1 run)" in find(browser, ".run-code").text


def test_parallel_coordinates_have_an_axis_for_what_varies(go):
    browser = go("compare")
    names = read_texts(browser, ".parallel-name")
    assert names[1::2] == ["run", "latent", "reduction", "beta", "r2", "best(val.r2)"]
    assert len(read_texts(browser, ".parallel-run")) == 5


COUNT_DRAWINGS = """
window.numDrawings = 0;
const isDrawing = ({ target, addedNodes }) =>
  target.className === "run-parallel" && addedNodes.length;
new MutationObserver((changes) => { window.numDrawings += changes.filter(isDrawing).length; })
  .observe(document, { childList: true, subtree: true });
"""


def test_parallel_coordinates_are_drawn_once_and_again_in_another_width(go, resize):
    """A second drawing would take away the line that someone has just pointed at."""
    browser = go("curves")
    script = {"source": COUNT_DRAWINGS}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    go("compare")
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    wait(lambda: browser.execute_script("return window.numDrawings"))
    browser.execute_async_script("requestIdleCallback(arguments[0], {timeout: 1000})")
    assert browser.execute_script("return window.numDrawings") == 1
    resize(1000)
    wait(lambda: browser.execute_script("return window.numDrawings"), 2)


def test_runs_of_parallel_coordinates_are_named_by_keys_and_by_the_pointer(go):
    browser = go("compare")
    box, note = find(browser, ".run-parallel"), find(browser, ".parallel-note")
    assert note.get_attribute("role") == "status"
    assert len(browser.find_elements("css selector", ".run-parallel[tabindex='0']")) == 1
    assert not browser.find_elements("css selector", ".run-parallel [tabindex]")
    hint = note.text
    assert "arrow keys" in hint
    browser.execute_script("arguments[0].focus()", box)

    def press(key):
        browser.switch_to.active_element.send_keys(key)
        current = browser.find_elements("css selector", ".parallel-run.current")
        return note.text.partition(":")[0], len(current)

    names, outcomes = [], []
    for _ in range(5):
        name, num_current = press(Keys.ARROW_DOWN)
        assert num_current == 1
        names.append(name)
        outcomes.append(float(note.text.rpartition("best(val.r2) ")[2]))
    assert sorted(names) == sorted({"20250202_y/mean", "20250101_x/b <i>",
                                    *(f"20250101_x/a_seed{i}" for i in range(3))})  # fmt: skip
    assert outcomes == sorted(outcomes, reverse=True)
    assert press(Keys.ARROW_DOWN) == (names[-1], 1)
    assert press(Keys.ARROW_UP) == (names[-2], 1)
    assert press(Keys.HOME) == (names[0], 1)
    assert "loss.beta " in note.text
    assert press(Keys.ESCAPE) == (hint.partition(":")[0], 0)
    press(Keys.END)
    press(Keys.TAB)  # one stop: the focus goes on, and nothing stays emphasized
    assert browser.switch_to.active_element != box
    assert note.text == hint

    browser.execute_script(
        "document.querySelector('.parallel-run').dispatchEvent(new PointerEvent('pointerenter'))"
    )
    assert note.text.partition(":")[0] in names


def test_labels_of_parallel_coordinates_are_whole_and_lie_on_nothing(go, resize):
    browser = go("compare")
    check_labels(browser, 1400)
    resize(390)
    read = "return document.querySelector('.run-parallel svg').getBoundingClientRect().width"
    wait(lambda: browser.execute_script(read) < 390)
    assert read_texts(browser, ".parallel-name")[-1] == "best(val.r2)"


def check_labels(browser, width):
    wait(lambda: find(browser, ".run-parallel").size["width"] <= width)
    assert set(read_texts(browser, ".parallel-labels title")) >= {
        "20250101_x/a_seed0", "20250202_y/mean", "8x0e", "sum", "mean", "3", "1", "1.000",
    }  # fmt: skip
    labels, strips, ends = browser.execute_script(
        "const boxes = (selector) => Array.from(document.querySelectorAll(selector), (x) =>"
        " { const b = x.getBBox(); return [b.x, b.x + b.width, b.y, b.y + b.height]; });"
        "const ends = Array.from(document.querySelectorAll('.parallel-target'), (path) =>"
        " [0, path.getTotalLength()].map((at) => path.getPointAtLength(at).x));"
        "return [boxes('.parallel-labels text'), boxes('.parallel-axis rect'), ends]"
    )
    for left, right, top, bottom in labels:
        assert any(x0 < left and right < x1 and y0 <= top and bottom <= y1
                   for x0, x1, y0, y1 in strips)  # fmt: skip
    for i, a in enumerate(labels):
        for b in labels[:i]:
            assert a[0] > b[1] or b[0] > a[1] or a[2] >= b[3] or b[2] >= a[3]
    assert len(labels) == 5 + 2 + 2 + 2 + 5 + 5
    for start, end in ends:
        assert start == pytest.approx(strips[0][0], abs=1)
        assert end == pytest.approx(strips[-1][1], abs=1)


def test_a_thousand_runs_are_little_work(chromium, run_pages, tmp_path, read_requests):
    html = shutil.copytree(run_pages.parent, tmp_path / "html")
    (path,) = (html / "_static/runs").glob("compare-*.js")
    start, data = re.fullmatch(r"(.*?\]=)(.*);\n", path.read_text("utf-8"), re.DOTALL).groups()
    data = json.loads(data)
    data["ids"] = [f"{id} {i}" if i else id for i in range(200) for id in data["ids"]]
    data["properties"] = {name: 200 * values for name, values in data["properties"].items()}
    path.write_text(f"{start}{json.dumps(data)};\n", "utf-8")
    chromium.get("about:blank")
    chromium.get_log("performance")
    chromium.get((html / "docs/compare.html").as_uri())
    wait(lambda: find(chromium, ".run-count").text, "1000 of 1000 runs")
    wait(lambda: chromium.find_elements("css selector", ".parallel-run"))
    assert len(read_table_runs(chromium)) == 50
    assert chromium.execute_script("return document.querySelectorAll('*').length") < 6_000
    loaded = [x for x in read_requests() if "/_static/runs/" in x and "compare-" not in x]
    assert len(set(loaded)) <= 6  # of the few curves that are drawn at first


def test_each_run_leads_to_its_sheet(go):
    browser = go("compare")
    links = browser.find_elements("css selector", ".run-table th a")
    assert [link.text for link in links] == BEST_FIRST
    assert links[-1].get_attribute("href").endswith("/expts/20250202_y/sheet.html#run-mean")
    links[1].click()
    wait(lambda: browser.find_elements("css selector", "tr:has(:target)"))
    assert find(browser, "tr:has(:target) td").text == "b <i>"


def test_numbers_are_rounded_and_copied_whole(go, downloads):
    browser = go("compare", where="seed == 1")
    cell = find(browser, ".run-table tbody td.num")
    assert cell.text == f"{1 - math.exp(-20 / 4):.4f}"
    exact = cell.get_attribute("title")
    assert float(exact) == pytest.approx(1 - math.exp(-20 / 4), rel=1e-6) and len(exact) > 6
    assert cell.value_of_css_property("text-align") == "right"
    browser.find_elements("css selector", ".run-files button")[1].click()
    path = downloads / "runs.csv"
    wait(path.is_file)
    assert exact in path.read_text("utf-8").splitlines()[1].split(",")
    path.unlink()


def read_pixels(browser):
    """The plot's colours, those of the lines only by count."""
    return browser.execute_script(
        "const canvas = document.querySelector('.run-plot canvas');"
        "const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "const counts = {};"
        "for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 250) {"
        " const key = data.slice(i, i + 3).join(' '); counts[key] = (counts[key] ?? 0) + 1; }"
        "return counts"
    )


BLUE, ORANGE = "0 114 178", "213 94 0"  # of the first two runs (Okabe and Ito)


def test_curves_of_an_experiment(go):
    browser = go("curves")
    assert read_texts(browser, ".run-legend tbody th") == ALL[:4]
    pixels = read_pixels(browser)
    assert pixels[BLUE] > 100 and pixels[ORANGE] > 100
    assert "exponential moving average, debiased, weight 0.6" in find(browser, ".run-note").text
    # The last value is smoothed: 1 - exp(-epoch / 2), weights 0.6 ** age, over 20 epochs.
    weights = [0.6 ** (20 - epoch) for epoch in range(1, 21)]
    values = [1 - math.exp(-epoch / 2) for epoch in range(1, 21)]
    mean = sum(w * y for w, y in zip(weights, values, strict=True)) / sum(weights)
    cells = read_texts(browser, ".run-legend tbody tr:first-child td")
    assert float(cells[2]) == pytest.approx(mean, abs=1e-4)
    assert float(cells[3]) == pytest.approx(values[-1], abs=1e-4)


AXES = [("epoch", "epoch", 20), ("step", "step", 200), ("elapsed_s", "elapsed time [min]", 20)]


def test_axes(go):
    browser = go("curves")
    choose(browser, "smooth", "0")
    expected = f"{1 - 2.718281828459045**-10:.4g}"
    for x, label, last in AXES:
        choose(browser, "x", x)
        assert label in find(browser, ".run-plot").get_attribute("aria-label")
        find(browser, ".run-plot").send_keys("\ue010")  # End
        cells = read_texts(browser, ".run-legend tbody tr:first-child td")
        assert float(cells[1]) == float(expected)
        assert read_texts(browser, ".run-legend thead th")[2] == f"at {label} {last}"


def test_log_axes_draw_otherwise(go):
    browser = go("curves")
    linear = read_pixels(browser)
    choose(browser, "logy", True)
    logarithmic = read_pixels(browser)
    assert logarithmic != linear
    choose(browser, "logx", True)
    assert read_pixels(browser) != logarithmic


def test_mean_and_deviation_over_seeds(go):
    browser = go("curves")
    choose(browser, "smooth", "0")
    choose(browser, "group", "seeds")
    assert read_texts(browser, ".run-legend tbody th") == ["a (3 seeds)", "b <i>"]
    values = [1 - 2.718281828459045 ** (-20 / tau) for tau in (2, 4, 8)]
    cells = read_texts(browser, ".run-legend tbody tr:first-child td")
    assert float(cells[2]) == pytest.approx(sum(values) / 3, abs=1e-4)
    assert "mean ± standard deviation (n − 1)" in find(browser, ".run-note").text


def test_a_click_on_a_curve_or_its_name_shows_its_hparams(go):
    browser = go("curves")
    assert read_texts(browser, ".run-details dt") == []
    buttons = browser.find_elements("css selector", ".run-legend button")
    buttons[3].click()
    wait(lambda: read_texts(browser, ".run-details dl:first-of-type dt")[:3],
         ["seed", "model.latent", "loss.beta"])
    assert read_texts(browser, ".run-details dd")[:3] == ["0", "8x0e", "3"]
    assert find(browser, ".run-details-name").text == "20250101_x/b <i>"
    # Down the middle of the plot: the greater its tau, the lower a curve; none far from all.
    choose(browser, "smooth", "0")
    over = find(browser, ".u-over")
    scroll = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
    browser.execute_script(scroll, over)
    time.sleep(0.5)
    names = []
    for part in (-0.45, -0.4, -0.35, -0.3, -0.25, -0.2, -0.15, -0.1, 0.3):
        over = find(browser, ".u-over")
        offset = int(part * over.size["height"])
        ActionChains(browser).move_to_element_with_offset(over, 0, offset).click().perform()
        names.append("".join(read_texts(browser, ".run-details-name")))
    assert "20250101_x/a_seed0" in names
    order = ["20250101_x/" + name for name in ("a_seed0", "b <i>", "a_seed1", "a_seed2")] + [""]
    places = [order.index(name) for name in names if name]
    assert places == sorted(places)
    assert "20250101_x/a_seed2" in names and names[-1] == ""


def test_curves_by_keyboard(go):
    browser = go("curves")
    choose(browser, "smooth", "0")
    plot = find(browser, ".run-plot")
    plot.send_keys("\ue011")  # Home
    first = read_texts(browser, ".run-legend tbody tr:first-child td")[1]
    assert float(first) == pytest.approx(1 - 2.718281828459045**-0.5, abs=1e-4)
    plot.send_keys("\ue014\ue014")  # twice to the right
    third = read_texts(browser, ".run-legend tbody tr:first-child td")[1]
    assert float(third) == pytest.approx(1 - 2.718281828459045**-1.5, abs=1e-4)


def test_curves_can_be_hidden(go):
    browser = go("curves")
    assert read_pixels(browser).get(BLUE, 0) > 100
    find(browser, ".run-legend input").click()
    assert read_pixels(browser).get(BLUE, 0) == 0


@pytest.mark.parametrize("page", ["curves", "compare"])
def test_pages_follow_the_theme(go, page):
    browser = go(page)
    assert read_pixels(browser)[BLUE] > 100
    browser.execute_script("document.body.dataset.theme = 'dark'")
    assert wait(lambda: read_pixels(browser).get("74 163 223", 0) > 100)
    assert read_pixels(browser).get(BLUE, 0) == 0


# What is written, and its contrast with what is below it, as WCAG defines it.
CONTRASTS = r"""
const parse = (text) => [...text.match(/[\d.]+/g).map(Number), 1].slice(0, 4);
const mix = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3]));
const linear = (x) => (x / 255 <= 0.03928 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4);
const shine = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
function findPaper(element) {
  const layers = [];
  for (; element; element = element.parentElement) {
    layers.push(parse(getComputedStyle(element).backgroundColor));
  }
  return layers.reverse().reduce((below, layer) => mix(layer, below), [255, 255, 255]);
}
return Array.from(document.querySelectorAll("article *"), (element) => {
  const style = getComputedStyle(element);
  const text = Array.from(element.childNodes, (x) => x.data?.trim() ?? "").join("");
  if (!text || !element.getClientRects().length || element.tagName === "title") return null;
  const paper = findPaper(element);
  const ink = mix(parse(element.closest("svg") ? style.fill : style.color), paper);
  const [high, low] = [shine(ink), shine(paper)].sort((a, b) => b - a);
  return [text, (high + 0.05) / (low + 0.05)];
}).filter(Boolean);
"""


@pytest.mark.parametrize("page", ["curves", "compare"])
def test_text_has_enough_contrast(go, prefer, page):
    browser = go(page)
    for scheme in ("light", "dark"):
        prefer(scheme)
        found = wait(lambda: browser.execute_script(CONTRASTS))
        assert len(found) > 20
        assert wait(lambda: find_faint(browser), []) == [], scheme  # colours fade


def find_faint(browser):
    return [x for x in browser.execute_script(CONTRASTS) if x[1] < 4.5]


@pytest.mark.parametrize("page", ["curves", "compare"])
def test_nothing_is_wider_than_the_window(go, resize, page):
    browser = go(page)
    for width in (1400, 700, 360):
        resize(width)
        wait(lambda: find(browser, ".run-plot .uplot").size["width"] <= width)  # noqa: B023
        assert wait(lambda: find_too_wide(browser), []) == [], width


def find_too_wide(browser):
    return browser.execute_script(
        "const article = document.querySelector('article');"
        "const right = Math.min(article.getBoundingClientRect().right, window.innerWidth);"
        "const parts = '.run-controls, .run-plot, .uplot, .run-legend, .run-parallel, .run-filter,"
        " .run-warnings, .run-code, .run-table, .dt-container, input, select';"
        "return Array.from(article.querySelectorAll(parts))"
        ".filter((x) => x.getBoundingClientRect().right > right + 1).map((x) => x.className)"
    )


def test_names_are_inert_and_nothing_is_fetched(go, read_requests):
    browser = go("compare", where='run ~ "<i>"')
    assert read_table_runs(browser) == ["b <i>"]
    assert browser.execute_script("return window.hacked ?? null") is None
    assert browser.find_elements("css selector", ".run-compare i") == []
    requests = [x for x in read_requests() if not x.startswith(("data:", "about:"))]
    assert len(requests) > 5
    assert [x for x in requests if not x.startswith("file://")] == []
    assert browser.get_log("browser") == []


def test_without_javascript_there_is_a_picture_and_a_table(chromium, run_pages):
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.get((run_pages / "curves.html").as_uri())
        picture = find(chromium, ".run-curves img")
        assert picture.is_displayed() and picture.size["width"] > 300
        assert "val.r2 of 20250101_x/a_seed0" in picture.get_attribute("alt")
        chromium.get((run_pages / "compare.html").as_uri())
        assert "20250202_y" in find(chromium, ".run-compare table").text
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def call(browser, function, *arguments):
    return browser.execute_script(
        f"try {{ return AtomPaint.{function}(...arguments) }} catch (e) {{ return e.message }}",
        *arguments,
    )


def test_filters_mean_what_they_mean_on_the_command_line(go):
    browser = go("compare")
    cases = nt.load(CASES / "filters.nt")
    runs = [json.loads(run) for run in cases["runs"]]
    for case in cases["chosen"]:
        where, _, expected = case.rpartition(" =>")
        assert call(browser, "filterRuns", where, runs) == [int(x) for x in expected.split()], where
    for case in cases["errors"]:
        where, _, expected = case.rpartition(" =>")
        assert call(browser, "filterRuns", where, runs).startswith(expected.strip()), where


def test_comparisons_say_what_they_say_on_the_command_line(go):
    browser = go("compare")
    for case in nt.load(CASES / "compare.nt", top=list):
        runs = [json.loads(run) for run in case["runs"]]
        assert call(browser, "findVaried", runs) == case["varied"].split(), case["name"]
        assert call(browser, "findConfounded", runs) == [
            f"confounded: {keys} vary only together: their effects can't be told apart"
            for keys in case["confounded"]
        ], case["name"]
        metrics = [case.get("metrics", "val.r2")]
        assert call(browser, "findIncomparable", runs, metrics) == [
            f"not comparable: {text}" for text in case.get("incomparable", [])
        ], case["name"]


@pytest.mark.parametrize(
    "words, first, address",
    [
        ("20250202", "20250202_y", "/expts/20250202_y/sheet.html#top"),
        ("a_seed1", "20250101_x/a_seed1", "/expts/20250101_x/sheet.html#run-a_seed1"),
        ("loss.beta", "loss.beta", "/docs/keys.html#confval-loss.beta"),
        ("val.r2", "val.r2", "/docs/compare.html#metric=val.r2"),
    ],
)
def test_search_finds_names_before_text(chromium, run_pages, words, first, address):
    page = (run_pages.parent / "search.html").as_uri()
    chromium.get("about:blank")
    chromium.get(f"{page}?q={quote(words)}")
    wait(lambda: chromium.find_elements("css selector", "#search-results li a"))
    link = find(chromium, "#search-results li a")
    assert link.text == first
    assert link.get_attribute("href").endswith(address)
    link.click()
    wait(lambda: first.rpartition("/")[2] in chromium.page_source)


def read_address(browser):
    return parse_qs(browser.current_url.partition("#")[2], keep_blank_values=True)


def test_the_best_runs_are_first_and_a_click_sorts_otherwise(go):
    browser = go("compare")
    assert find(browser, ".run-table th[aria-sort=descending]").text.startswith("best(val.r2)")
    assert read_texts(browser, ".run-table thead th")[:3] == ["run", "best(val.r2)", "test.r2"]
    browser.find_elements("css selector", ".run-table thead button")[1].click()
    assert read_table_runs(browser) == BEST_FIRST[::-1]
    assert read_address(browser) == {"sort": ["best(val.r2)"]}
    choose(browser, "metric", "val.loss")  # less is better
    assert read_table_runs(browser) == BEST_FIRST
    assert find(browser, ".run-table th[aria-sort=ascending]").text.startswith("best(val.loss)")


def read_colours(browser, selector):
    return browser.execute_script(
        "return Array.from(document.querySelectorAll(arguments[0] + ' .run-swatch'),"
        " (x) => getComputedStyle(x).borderTopColor)", selector
    )  # fmt: skip


def test_ticks_of_rows_draw_their_curves_in_the_colours_of_the_rows(go):
    browser = go("compare", where="experiment ~ 2025")
    wait(lambda: len(read_texts(browser, ".run-legend tbody th")), 5)
    assert read_colours(browser, ".run-table") == read_colours(browser, ".run-legend")
    find(browser, ".run-table input[aria-label='Draw 20250101_x/b <i>']").click()
    assert browser.switch_to.active_element.get_attribute("aria-label").endswith("b <i>")
    wait(lambda: len(read_texts(browser, ".run-legend tbody th")), 4)
    kept = [x for x in read_colours(browser, ".run-table") if x != "rgba(0, 0, 0, 0)"]
    assert read_colours(browser, ".run-legend") == kept
    assert "20250101_x/b <i>" not in read_address(browser)["draw"]
    browser.refresh()
    wait(lambda: len(read_texts(browser, ".run-legend tbody th")), 4)
    find(browser, ".run-legend tbody input").click()  # the same from below
    wait(lambda: len(read_texts(browser, ".run-legend tbody th")), 3)
    assert not find(browser, ".run-table tbody input").is_selected()


def test_ticked_rows_alone_show_what_differs_between_them(go):
    browser = go("compare", where="experiment ~ 2025")
    wait(lambda: len(read_texts(browser, ".run-legend tbody th")), 5)
    for name in read_texts(browser, ".run-legend tbody th")[2:]:
        find(browser, f".run-table input[aria-label='Draw {name}']").click()
    ticked = read_texts(browser, ".run-legend tbody th")
    assert len(ticked) == 2
    browser.find_element("xpath", "//button[text()='Only ticked']").click()
    assert read_texts(browser, ".run-count") == ["2 of 5 runs"]
    # Of one experiment now, so that runs are named without it.
    assert read_texts(browser, ".run-legend tbody th") == [x.split("/")[1] for x in ticked]
    header = read_texts(browser, ".run-table thead th")
    assert header.count("run") == 1 and "experiment" not in header
    browser.refresh()
    wait(lambda: read_texts(browser, ".run-count"), ["2 of 5 runs"])
    buttons = [x for x in browser.find_elements("css selector", ".run-controls button")
               if x.is_displayed()]  # fmt: skip
    assert "Only ticked" not in [x.text for x in buttons]


def test_columns_begin_with_the_metric_and_what_differs(go):
    browser = go("compare", where="seed != 1")
    find(browser, ".run-properties summary").click()
    wait(lambda: read_texts(browser, ".run-properties tbody th"))
    names = read_texts(browser, ".run-properties tbody th")
    assert names[:6] == ["best(val.r2)", "test.r2", "seed", "model.latent", "loss.reduction",
                         "loss.beta"]  # fmt: skip
    for name in ("seed", "compression_ratio"):
        tick = find(browser, f".run-properties input[aria-label='Column {name}']")
        browser.execute_script("arguments[0].click()", tick)
    header = read_texts(browser, ".run-table thead th")
    assert "seed" not in header and header[-1] == "compression_ratio"
    browser.refresh()
    wait(lambda: read_texts(browser, ".run-table thead th"))
    assert read_texts(browser, ".run-table thead th") == header


def test_what_the_filter_names_comes_after_the_metric(go):
    browser = go("compare", where="compression_ratio > 0 and best(val.r2) < 1")
    wait(lambda: read_texts(browser, ".run-table thead th")[:4],
         ["run", "best(val.r2)", "test.r2", "compression_ratio"])  # fmt: skip


def test_rows_of_a_hyperparameter_are_means_over_the_rest(go):
    browser = go("compare", group="model.latent")
    values = [1 - math.exp(-20 / tau) for name, tau in TAUS.items() if name != "b <i>"]
    assert read_texts(browser, ".run-table tbody th") == ["8x0e1 run", "2x0e4 runs"]
    mean, deviation = find(browser, ".run-table tr:nth-child(2) td").text.split(" ± ")
    assert float(mean) == pytest.approx(statistics.mean(values), abs=1e-4)
    assert float(deviation) == pytest.approx(statistics.stdev(values), rel=0.05)
    wait(lambda: read_texts(browser, ".run-legend tbody th"),
         ["model.latent 8x0e", "model.latent 2x0e"])  # fmt: skip


BACK = ".//button[text()='Whole range']"


@pytest.mark.parametrize("page", ["curves", "compare"])
def test_a_zoom_is_kept_and_undone(go, page):
    browser = go(page)
    over = find(browser, ".u-over")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", over)
    assert not browser.find_element("xpath", BACK).is_displayed()
    drag = ActionChains(browser).move_to_element_with_offset(over, -100, 0).click_and_hold()
    drag.move_by_offset(200, 0).release().perform()
    wait(lambda: browser.find_element("xpath", BACK).is_displayed())
    low, high = map(float, read_address(browser)["zoom"][0].split(".."))
    assert 1 < low < high < 20
    browser.refresh()
    wait(lambda: browser.find_elements("css selector", ".run-plot canvas"))
    find(browser, ".run-plot").send_keys("+")
    a, b = map(float, read_address(browser)["zoom"][0].split(".."))
    assert b - a == pytest.approx((high - low) / 2, rel=0.01)
    browser.find_element("xpath", BACK).click()
    assert "zoom" not in read_address(browser)


def test_dragging_over_a_strip_filters(go):
    browser = go("compare")
    wait(lambda: browser.find_elements("css selector", ".parallel-axis"))
    box = find(browser, ".run-parallel svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    names = read_texts(browser, ".parallel-name")[1::2]
    strips = browser.find_elements("css selector", ".parallel-axis rect")
    strip = strips[names.index("best(val.r2)")]
    height = strip.size["height"]
    drag = ActionChains(browser).move_to_element_with_offset(strip, 0, -int(height / 2) + 2)
    drag.click_and_hold().move_by_offset(0, int(height / 2)).release().perform()
    kept = [x for x in BEST_FIRST if x != "mean"]
    assert wait(lambda: read_table_runs(browser), kept)
    least = 1 - math.exp(-20 / TAUS["a_seed2"])
    condition = find(browser, "#run-where").get_attribute("value").split()
    assert condition[:2] == ["best(val.r2)", ">="]
    assert float(condition[2]) == pytest.approx(least)
    find(browser, ".run-clear").click()
    assert read_table_runs(browser) == BEST_FIRST


def test_a_misspelt_metric_is_suggested(go):
    browser = go("compare", where="tst.r2 > 0")
    assert "did you mean 'test.r2'" in find(browser, ".run-error").text


def test_curves_of_a_page_keep_their_state_in_the_address(go):
    browser = go("curves")
    choose(browser, "metric", "train.loss")
    choose(browser, "logx", True)
    find(browser, ".run-legend input").click()
    expected = {"metric": ["train.loss"], "logx": ["1"], "hide": ["a_seed0"]}
    assert read_address(browser) == expected
    browser.refresh()
    wait(lambda: browser.find_elements("css selector", ".run-legend input"))
    assert "train.loss" in find(browser, ".run-plot").get_attribute("aria-label")
    assert not find(browser, ".run-legend input").is_selected()
    assert find(browser, "[name=logx]").is_selected()


def test_the_metric_stays_in_sight_on_a_telephone(go, resize):
    browser = go("compare")
    resize(390)
    table, cell = find(browser, ".run-table"), find(browser, ".run-table tbody td")
    assert cell.rect["x"] + cell.rect["width"] < 390
    before = cell.rect["x"]
    browser.execute_script("arguments[0].scrollLeft = 300", table)
    assert find(browser, ".run-table tbody td").rect["x"] == pytest.approx(before, abs=1)
