"""The view of reconstructions, as a person uses it, from file://."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from small_notebook import build_html

pytestmark = pytest.mark.browser

STATIC = Path(__file__).parents[2] / "atompaint_vae/notebook/static"
CONF = 'extensions = ["atompaint_vae.notebook"]\nhtml_theme = "furo"\n'
PAGE = """
Reconstructions
===============

.. reconstruction:: expts/20250101_view/runs/a

   The caption.

.. reconstruction:: expts/20250101_view/runs/without atoms
"""
# In the worst crop, carbon fills what the input leaves empty.
BLOCK = (0, 0, (2, 3, 7), (6, 7, 11), 0.75)


@pytest.fixture(scope="module")
def page(tmp_path_factory, write_reconstructions):
    source = tmp_path_factory.mktemp("view") / "note book"
    write_reconstructions(source / "expts/20250101_view/runs/a", size=15, blocks=[BLOCK])
    write_reconstructions(source / "expts/20250101_view/runs/without atoms", has_atoms=False)
    (source / "conf.py").write_text(CONF, "utf-8")
    (source / "index.rst").write_text(PAGE, "utf-8")
    build_html(source)
    return source / "_build/html/index.html"


def wait_until(read, expected=True, seconds=20):
    end = time.monotonic() + seconds
    while (found := read()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    return found


class Page:
    """A driver with what a person does on the page."""

    def __init__(self, driver):
        self.driver = driver

    def find_all(self, selector):
        return self.driver.find_elements("css selector", f".reconstruction {selector}")

    def find(self, selector):
        return self.find_all(selector)[0]

    def find_label(self, text):
        (label,) = (x for x in self.find_all("label") if x.text.strip() == text)
        return label

    def find_slider(self, text):
        (label,) = (x for x in self.find_all("label") if x.text.strip().startswith(text))
        return label.find_element("css selector", "input[type=range]")

    def press(self, text):
        (button,) = (x for x in self.find_all("button") if x.text == text and x.is_displayed())
        button.click()

    def open(self, index=0):
        box = self.driver.find_elements("css selector", ".reconstruction")[index]
        bar = box.find_element("css selector", ".reconstruction-bar button")
        # Below the window's edge, an emulated window takes no real clicks.
        self.driver.execute_script("arguments[0].click()", bar)
        is_open = lambda: "reconstruction-open" in box.get_attribute("class")  # noqa: E731
        assert wait_until(is_open), box.text
        self.settle()

    def settle(self):
        """Two frames: what a control changes is drawn in the next."""
        self.driver.execute_async_script(
            "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        )

    def read_cameras(self):
        return self.driver.execute_script(
            "return Array.from(document.querySelectorAll('.reconstruction-stage canvas'),"
            " (x) => x._3dmol_viewer.getView()).slice(0, 2)"
        )

    def take_picture(self, panel):
        """A panel as float [Y, X, 3]."""
        self.settle()
        screen = self.find_all(".reconstruction-screen")[panel]
        return imread(io.BytesIO(screen.screenshot_as_png))[..., :3]

    def read_status(self):
        return [x.text for x in self.find_all("[role=status]")]


@pytest.fixture
def view(chromium, page, resize, prefer):
    resize(1000)  # drawn without a GPU: small is quick
    prefer("light")
    chromium.get_log("browser")
    chromium.get_log("performance")
    chromium.get(page.as_uri())
    return Page(chromium)


def is_heavy(address):
    return "3Dmol" in address or "/reconstructions/" in address or "viewer.js" in address


def test_nothing_is_loaded_before_it_is_asked_for(view, read_requests):
    assert len(view.find_all(".reconstruction-bar button")) == 2
    assert view.find("img").is_displayed()
    before = read_requests()
    assert any(x.endswith(".png") for x in before)
    assert [x for x in before if is_heavy(x)] == []
    view.open()
    after = [x for x in read_requests() if is_heavy(x)]
    assert [x.partition("?")[0].rpartition("/")[2] for x in after] == [
        "3Dmol-min.js", "viewer.js", "7.js",
    ]  # fmt: skip
    assert all(x.startswith("file://") for x in after)
    assert view.driver.get_log("browser") == []


def test_cameras_are_linked(view):
    view.open()
    first, second = view.read_cameras()
    assert first == second
    stages = view.find_all(".reconstruction-stage")
    stages[0].send_keys("\ue014\ue014")  # twice to the right
    turned, other = view.read_cameras()
    assert turned == other
    assert np.abs(np.subtract(turned, first)[4:]).max() > 0.1
    assert np.linalg.norm(turned[4:]) == pytest.approx(1)
    angle = 2 * np.degrees(np.arccos(abs(turned[7])))
    assert angle == pytest.approx(20)

    stages[1].send_keys("+")
    zoomed, other = view.read_cameras()
    assert zoomed == other
    assert zoomed[3] > turned[3]
    stages[1].send_keys("0")
    assert view.read_cameras() == [first, first]


def test_a_mouse_turns_both(view):
    from selenium.webdriver import ActionChains

    view.open()
    first, _ = view.read_cameras()
    stage = view.find_all(".reconstruction-stage")[1]
    view.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    chain = ActionChains(view.driver).move_to_element(stage).click_and_hold()
    chain.move_by_offset(60, 20).release().perform()
    turned, other = view.read_cameras()
    assert turned == other != first
    assert view.driver.execute_script("return document.activeElement") == stage


def test_the_wheel_scrolls_the_page_until_a_panel_is_clicked(view):
    view.open()
    before = view.read_cameras()
    turn = (
        "arguments[0].querySelector('canvas').dispatchEvent(new WheelEvent('wheel',"
        " {deltaY: 100, bubbles: true, cancelable: true, clientX: 9, clientY: 9}))"
    )
    stage = view.find(".reconstruction-stage")
    assert view.driver.execute_script(f"return {turn}", stage)  # not prevented
    assert view.read_cameras() == before
    stage.click()
    assert not view.driver.execute_script(f"return {turn}", stage)
    assert view.read_cameras() != before


def test_the_isovalue_has_a_slider(view):
    view.open()
    before = view.take_picture(0), view.take_picture(1)
    slider = view.find_slider("Isovalue")
    text = slider.find_element("xpath", "following-sibling::output").text
    slider.send_keys("\ue014" * 20)
    after = slider.find_element("xpath", "following-sibling::output").text
    assert float(after) == pytest.approx(float(text) + 0.2)
    for panel in (0, 1):
        assert np.abs(view.take_picture(panel) - before[panel]).max() > 0.1


def test_channels_and_atoms_come_and_go(view):
    view.open()
    everything = view.take_picture(0)
    for name in ("C", "N", "O"):
        view.find_label(name).click()
    nothing = view.take_picture(0)
    # But for the crop's frame, the panel is white.
    assert (nothing > 0.98).all(axis=-1).mean() > 0.97 > (everything > 0.98).all(axis=-1).mean()
    view.find_label("O").click()
    red, green, blue = np.moveaxis(view.take_picture(0), -1, 0)
    assert ((red > green + 0.2) & (red > blue + 0.2)).sum() > 500
    with_atoms = view.take_picture(0)
    view.find_label("Atoms").click()
    assert np.abs(view.take_picture(0) - with_atoms).max() > 0.1


def test_residuals_are_of_the_reconstruction(view):
    view.open()
    before = view.take_picture(0)
    view.find_label("Atoms").click()
    view.find_label("Residual").click()
    view.settle()
    captions = [x.text for x in view.find_all(".reconstruction-panel figcaption")[:2]]
    assert captions == ["Input", "Residual: reconstruction − input"]
    red, green, blue = np.moveaxis(view.take_picture(1), -1, 0)
    assert ((green > red + 0.1) & (green > blue + 0.2)).sum() > 500  # the block is too much
    assert before.shape == view.take_picture(0).shape


def count_orange(view, panel):
    """The pixels of a block's frame."""
    distance = np.abs(view.take_picture(panel) - np.array([0xD5, 0x5E, 0]) / 255)
    return (distance.max(axis=-1) < 0.1).sum()


def test_slices_show_the_voxels(view):
    view.open()
    view.find_label("Slices").click()
    view.find_label("Atoms").click()
    position = view.find_slider("Position")
    position.send_keys("\ue010")  # End
    assert position.find_element("xpath", "following-sibling::output").text == "z = 7.0 Å"
    assert count_orange(view, 1) == 0
    position.send_keys("\ue012" * 5)
    assert count_orange(view, 1) > 50
    found = view.driver.execute_script(
        "const canvas = document.querySelectorAll('.reconstruction-screen > canvas')[1];"
        "const pen = canvas.getContext('2d'), unit = canvas.width / 15;"
        "const read = (x, y) => Array.from(pen.getImageData("
        "  (x + 0.5) * unit, (14 - y + 0.5) * unit, 1, 1).data).slice(0, 3);"
        "return [read(4, 5), read(2, 7)]"
    )
    # z = 2 Å is voxel 9, which the block fills to 0.75, as dark as that part of the fullest voxel.
    maximum = view.driver.execute_script(
        "return Number(document.querySelector('.reconstruction input[type=range]').max)"
    )
    expected = 255 + 0.75 / maximum * (0x40 - 255)
    assert found[0] == pytest.approx([expected] * 3, abs=4)
    assert found[1] == pytest.approx([expected] * 3, abs=4)
    view.find_label("x").click()
    assert "x = 0.0 Å" in view.find(".reconstruction-controls").text


def test_blocks_are_marked_and_lead_there(view):
    view.open()
    text = view.find(".reconstruction-blocks").text
    assert text.startswith("Solid blocks, absent from the input")
    view.press("1: 125 Å³, mostly C, 75 % filled")
    camera, other = view.read_cameras()
    assert camera == other
    # The block's centre is what the camera looks at.
    assert camera[:3] == pytest.approx([3, 2, -2])
    assert count_orange(view, 1) > 50
    assert count_orange(view, 0) == 0


def test_another_crop(view, read_requests):
    view.open()
    read_requests()
    select = view.find("select")
    assert [x.text for x in select.find_elements("css selector", "option")] == [
        "worst: 1ABC, R² = 0.25", "median: 2DEF, R² = 0.50", "best: 3GHI, R² = 0.75",
    ]  # fmt: skip
    before = view.take_picture(0)
    select.send_keys("best")
    expected = "No solid blocks: the reconstruction fills no region that is empty in the input."
    assert wait_until(lambda: view.find(".reconstruction-blocks").text, expected) == expected
    assert [x.partition("?")[0][-5:] for x in read_requests() if is_heavy(x)] == ["11.js"]
    assert np.abs(view.take_picture(0) - before).max() > 0.1


def test_keyboard_alone(view):
    """Everything is reached by Tab, in the order in which it is seen."""
    from selenium.webdriver import ActionChains

    view.driver.execute_script("document.querySelector('.reconstruction-bar button').focus()")
    ActionChains(view.driver).send_keys("\ue007").perform()
    focused = "return document.activeElement"
    assert wait_until(lambda: view.driver.execute_script(focused).tag_name, "select") == "select"
    reached = []
    for _ in range(12):
        ActionChains(view.driver).send_keys("\ue004").perform()
        reached.append(view.driver.execute_script(
            "const x = document.activeElement;"
            "return x.ariaLabel ?? (x.closest('label') ?? x).textContent.trim()"
        ))  # fmt: skip
    assert reached[:7] == ["Surfaces", "Close", "C", "N", "O", "Atoms", reached[6]]
    assert reached[6].startswith("Isovalue")
    assert reached[7:9] == ["Residual", "Reset camera"]
    assert reached[9].startswith("Input in 3D: arrow keys")
    assert reached[10].startswith("Reconstruction in 3D")
    assert reached[11].startswith("1: 125 Å³")


def test_paper_shows_the_slices_and_so_does_a_closed_view(view):
    view.open()
    view.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert view.find("img").is_displayed()
    assert not view.find("select").is_displayed()
    view.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert not view.find("img").is_displayed()

    view.press("Close")
    assert view.find("img").is_displayed()
    assert not view.find("select").is_displayed()
    button = view.find(".reconstruction-bar button")
    assert view.driver.execute_script("return document.activeElement") == button
    view.open()
    assert view.find("select").is_displayed()
    assert not view.find("img").is_displayed()


def test_hidden_panels_draw_nothing_wrong(view, resize):
    view.open()
    view.find_label("Slices").click()
    resize(900)
    view.settle()
    view.press("Close")
    resize(1200)
    view.settle()
    assert view.driver.get_log("browser") == []


def test_runs_without_atoms(view):
    view.open(1)
    (label,) = (x for x in view.find_all("label") if x.text.strip() == "Atoms" and x.is_displayed())
    assert not label.find_element("css selector", "input").is_enabled()
    assert label.get_attribute("title") == "The run stored no atoms"
    assert view.driver.get_log("browser") == []


def test_a_phone_stacks_the_panels(view, resize):
    resize(390)
    view.open()
    panels = [x.rect for x in view.find_all(".reconstruction-panel")[:2]]
    assert panels[1]["y"] >= panels[0]["y"] + panels[0]["height"]
    assert all(300 < x["width"] < 390 for x in panels)
    too_wide = view.driver.execute_script(
        "return Array.from(document.querySelectorAll('.reconstruction *'))"
        ".filter((x) => x.getBoundingClientRect().right > 391).map((x) => x.className)"
    )
    assert too_wide == []
    picture = view.take_picture(0)
    assert (picture < 0.9).any(axis=-1).mean() > 0.05


def test_it_follows_the_theme(view, prefer):
    view.open()
    assert view.take_picture(0)[3, 20:30].min() > 0.98
    view.driver.execute_script("document.body.dataset.theme = 'dark'")
    assert view.take_picture(0)[3, 20:30].max() < 0.15
    view.find_label("Slices").click()
    # Between the atoms of the input.
    assert np.median(view.take_picture(0)) < 0.15
    view.driver.execute_script("document.body.dataset.theme = 'auto'")
    assert np.median(view.take_picture(0)) > 0.9
    prefer("dark")
    assert np.median(view.take_picture(0)) < 0.15


def test_without_webgl_the_slices_stay(view, read_requests):
    view.driver.execute_script("HTMLCanvasElement.prototype.getContext = () => null")
    view.find(".reconstruction-bar button").click()
    message = "No 3D view: this browser has no WebGL 2. The slices above stay."
    assert view.read_status()[0] == message
    assert view.find("img").is_displayed()
    assert [x for x in read_requests() if is_heavy(x)] == []


def test_a_script_that_is_gone_is_said_in_a_line(view, page):
    path = page.parent / "_static/reconstructions/expts/20250101_view/runs/a/7.js"
    path.rename(path.with_suffix(".gone"))
    try:
        view.find(".reconstruction-bar button").click()
        assert wait_until(lambda: view.read_status()[0].startswith("No 3D view")), "no message"
        message = view.read_status()[0]
        assert "runs/a/7.js" in message
        assert message.endswith("could not be loaded. The slices above stay.")
        assert view.find("img").is_displayed()
    finally:
        path.with_suffix(".gone").rename(path)
    view.open()


@pytest.fixture
def surfaces(chromium):
    """A page that has the script of the surfaces, and nothing else."""
    chromium.get("about:blank")
    script = (STATIC / "isosurface.js").read_text("utf-8")
    chromium.execute_script(f"{script}; window.AtompaintIsosurface = AtompaintIsosurface")
    return chromium


@pytest.mark.parametrize("isovalue", [0.2, 0.4, 0.6])
def test_surfaces_lie_where_the_density_is_the_isovalue(surfaces, isovalue):
    """Of a cone-shaped density, whose level sets are spheres."""
    mesh = surfaces.execute_script(
        "const n = 21, unit = 0.5, values = new Float32Array(n ** 3);"
        "for (let x = 0, i = 0; x < n; x++) for (let y = 0; y < n; y++) for (let z = 0; z < n; z++)"
        "  values[i++] = 1 - Math.hypot(x - 10, y - 10, z - 10) * unit / 5;"
        "const mesh = AtompaintIsosurface.make(values, [n, n, n], unit, arguments[0]);"
        "const list = (points) => points.map(({ x, y, z }) => [x, y, z]);"
        "return [list(mesh.vertexArr), list(mesh.normalArr), mesh.faceArr]",
        isovalue,
    )
    vertices, normals, faces = (np.array(x) for x in mesh)
    radius_A = 5 * (1 - isovalue)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), radius_A, atol=0.05)
    cosine = (vertices * normals).sum(axis=1) / np.linalg.norm(vertices, axis=1)
    assert cosine.min() > 0.97
    # Closed, and turned outwards: each edge is passed once in each direction.
    a, b, c = faces.reshape(-1, 3).T
    edges = np.stack([np.r_[a, b, c], np.r_[b, c, a]], axis=1)
    passed = {tuple(x) for x in edges}
    assert len(passed) == len(edges)
    assert passed == {(y, x) for x, y in passed}
    volume = np.einsum("fi,fi->", vertices[a], np.cross(vertices[b], vertices[c])) / 6
    assert volume == pytest.approx(4 / 3 * np.pi * radius_A**3, rel=0.1)


def test_surfaces_are_closed_at_the_border(surfaces):
    vertices = surfaces.execute_script(
        "return AtompaintIsosurface.make(new Float32Array(8).fill(1), [2, 2, 2], 2, 0.5)"
        ".vertexArr.map(({ x, y, z }) => [x, y, z])"
    )
    # Halfway between the voxels' centres and those of the empty ones outside.
    assert np.abs(vertices).max() == pytest.approx(2)
    assert len(vertices) == 26
