"""Generated images, as a person looks at them from file://: on pages, and as a page."""

import io
import time

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from small_notebook import build_html

from atompaint_vae.notebook.reconstruction.gallery import make_gallery

pytestmark = pytest.mark.browser

CONF = 'extensions = ["atompaint_vae.notebook"]\nhtml_theme = "furo"\n'
PAGE = """
Samples
=======

.. samples:: expts/20250101_samples/runs/a

   The caption.

.. samples:: expts/20250101_samples/runs/alone
"""
SCORES = pd.DataFrame({"images": ["samples", "test crops"], "bonded": [0.41, 0.95]})


@pytest.fixture(scope="module")
def page(tmp_path_factory, write_samples):
    source = tmp_path_factory.mktemp("samples")
    write_samples(source / "expts/20250101_samples/runs/a")
    write_samples(source / "expts/20250101_samples/runs/alone", num_crops=0, num_steps=0)
    (source / "conf.py").write_text(CONF, "utf-8")
    (source / "index.rst").write_text(PAGE, "utf-8")
    build_html(source)
    return source / "_build/html/index.html"


@pytest.fixture(scope="module")
def galleries(tmp_path_factory, write_samples):
    """Two pages in a folder of their own: with test crops and without."""
    folder = tmp_path_factory.mktemp("galleries")
    arrays = write_samples(tmp_path_factory.mktemp("run"), num_samples=5, num_crops=5)
    for name, crops, scores in [("pairs", arrays["crop"], SCORES), ("alone", None, None)]:
        text = make_gallery(arrays["sample"], crops, scores, title="Samples of a run")
        (folder / f"{name}.html").write_text(text, "utf-8")
    return folder


def wait_until(is_so, seconds=30):
    end = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < end:
        time.sleep(0.05)
    assert found


class Page:
    """A driver with what a person does on the page."""

    def __init__(self, driver, prefer, resize):
        self.driver, self.prefer, self.resize = driver, prefer, resize
        resize(1100)
        prefer("light")

    def visit(self, path):
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())

    def find_all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def find(self, selector):
        return self.find_all(selector)[0]

    def click(self, element):
        self.driver.execute_script("arguments[0].click()", element)

    def settle(self):
        self.driver.execute_async_script(
            "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        )

    def open(self, button):
        self.click(button)
        wait_until(lambda: self.find_all(".reconstruction-open select"))
        self.settle()

    def list_labels(self):
        labels = self.find_all(".reconstruction-open label")
        return [x.text.strip().partition("\n")[0] for x in labels if x.is_displayed()]

    def read_cameras(self):
        return self.driver.execute_script(
            "return Array.from(document.querySelectorAll('.reconstruction-stage canvas'),"
            " (x) => x._3dmol_viewer.getView())"
        )


@pytest.fixture
def view(chromium, prefer, resize):
    return Page(chromium, prefer, resize)


def count_filled(picture):
    """The share of pixels that aren't of the ground."""
    return (np.abs(picture - picture[2, 2]).max(axis=-1) > 0.2).mean()


def take_picture(element):
    return imread(io.BytesIO(element.screenshot_as_png))[..., :3]


def test_a_sample_is_beside_a_test_crop(view, page):
    view.visit(page)
    view.open(view.find(".reconstruction-bar button"))
    captions = [x.text for x in view.find_all(".reconstruction-open .reconstruction-panel")]
    assert captions == ["Sample", "Test crop"]
    labels = view.list_labels()
    assert labels[0].startswith("Sample")
    # Nothing here is to be equal.
    assert [x for x in labels if x in ("Residual", "Atoms")] == []
    assert not view.find(".reconstruction-blocks").is_displayed()
    screens = view.find_all(".reconstruction-open .reconstruction-screen")
    before = [take_picture(x) for x in screens]
    assert all(count_filled(x) > 0.02 for x in before)
    assert not np.array_equal(*before)
    view.find(".reconstruction-open .reconstruction-stage").send_keys("\ue014")
    first, second = view.read_cameras()
    assert first == second
    view.find(".reconstruction-open select").send_keys("3")
    option = "return document.querySelector('.reconstruction-open select').value"
    assert view.driver.execute_script(option) == "3, beside test crop 3"
    view.settle()
    view.settle()
    assert not np.array_equal(take_picture(screens[0]), before[0])
    assert view.driver.get_log("browser") == []


def test_samples_alone_have_one_panel(view, page):
    view.visit(page)
    view.open(view.find_all(".reconstruction-bar button")[1])
    (panel,) = view.find_all(".reconstruction-open .reconstruction-panel")
    assert panel.text == "Sample"
    view.find(".reconstruction-open .reconstruction-stage").send_keys("\ue014+0")
    (label,) = (x for x in view.find_all(".reconstruction-open label") if x.text == "Slices")
    label.click()
    view.settle()
    assert count_filled(take_picture(view.find(".reconstruction-screen canvas[role=img]"))) > 0.02
    assert view.driver.get_log("browser") == []


def wait_for_pictures(view):
    wait_until(lambda: view.find_all(".gallery-ready"))


def test_a_gallery_is_one_file(view, galleries, read_requests):
    view.visit(galleries / "pairs.html")
    wait_for_pictures(view)
    requests = [x for x in read_requests() if not x.startswith(("data:", "blob:"))]
    assert requests == [(galleries / "pairs.html").as_uri()]
    assert view.driver.get_log("browser") == []
    assert view.driver.title == view.find("h1").text == "Samples of a run"
    cells = [x.text for x in view.find_all(".scores td")]
    assert cells == ["samples", "0.41", "test crops", "0.95"]
    pictures = view.find_all(".card-solid img")
    assert len(pictures) == 10
    taken = [take_picture(x) for x in pictures]
    assert all(count_filled(x) > 0.02 for x in taken)
    assert len({x.tobytes() for x in taken}) == 10
    assert len(view.find_all("canvas")) <= 8, "views are shared: of 16, browsers drop the first"


def test_a_card_opens_below_its_row(view, galleries):
    view.visit(galleries / "pairs.html")
    wait_for_pictures(view)
    cards = view.find_all(".card")
    num_columns = sum(x.rect["y"] == cards[0].rect["y"] for x in cards)
    assert num_columns == 3
    view.open(cards[1])
    box = view.find(".gallery > .reconstruction")
    assert box.rect["y"] > cards[2].rect["y"] == cards[0].rect["y"]
    assert cards[3].rect["y"] > box.rect["y"] + box.rect["height"]
    option = "return document.querySelector('.reconstruction-open select').value"
    assert view.driver.execute_script(option) == "Sample 2, test crop 2"
    stages = box.find_elements("css selector", ".reconstruction-screen")
    assert all(count_filled(take_picture(x)) > 0.02 for x in stages)

    view.open(cards[4])
    assert box.rect["y"] > cards[4].rect["y"]
    assert view.driver.execute_script(option) == "Sample 5, test crop 5"
    assert [x.get_attribute("aria-expanded") for x in cards] == ["false"] * 4 + ["true"]
    (close,) = (x for x in box.find_elements("css selector", "button") if x.text == "Close")
    view.click(close)
    assert not view.find_all(".reconstruction-open")
    assert view.driver.execute_script("return document.activeElement") == cards[4]
    assert view.driver.get_log("browser") == []


def test_a_mouse_turns_an_image(view, galleries):
    from selenium.webdriver import ActionChains

    view.visit(galleries / "alone.html")
    wait_for_pictures(view)
    view.open(view.find(".card"))
    stage = view.find(".reconstruction-open .reconstruction-stage")
    view.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    screen = view.find(".reconstruction-open .reconstruction-screen")
    before = take_picture(screen)
    chain = ActionChains(view.driver).move_to_element(stage).click_and_hold()
    chain.move_by_offset(60, 20).release().perform()
    view.settle()
    assert np.abs(take_picture(screen) - before).max() > 0.2


def test_a_gallery_follows_the_scheme(view, galleries):
    view.visit(galleries / "pairs.html")
    wait_for_pictures(view)
    solid = ".card-solid img"
    read = f"return Array.from(document.querySelectorAll('{solid}')).at(-1).src"
    before = view.driver.execute_script(read)
    assert take_picture(view.find(solid))[2, 2].min() > 0.95
    view.prefer("dark")
    wait_until(lambda: view.driver.execute_script(read) != before)
    for selector in ("body", solid, ".card picture"):
        assert np.median(take_picture(view.find(selector))) < 0.15, selector


def test_a_gallery_on_a_phone(view, galleries):
    view.resize(360)
    view.visit(galleries / "pairs.html")
    wait_for_pictures(view)
    view.open(view.find(".card"))
    too_wide = (
        "return Array.from(document.querySelectorAll('header *, .card, .reconstruction *'))"
        ".filter((x) => x.getBoundingClientRect().right > 361).map((x) => x.className)"
    )
    assert view.driver.execute_script(too_wide) == []
    assert view.driver.execute_script("return document.documentElement.scrollWidth") <= 360


def test_without_webgl_the_slices_stay(view, galleries):
    view.driver.execute_cdp_cmd("Page.enable", {})
    added = view.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {"source": "HTMLCanvasElement.prototype.getContext = () => null"},
    )
    try:
        view.visit(galleries / "pairs.html")
        status = view.find(".gallery-status")
        wait_until(lambda: status.text == "No 3D views: this browser has no WebGL 2.")
        assert view.find(".card picture").is_displayed()
    finally:
        view.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
