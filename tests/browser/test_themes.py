"""Light and dark, whatever the page's button and the system say, down to the end of each page."""

import io
import itertools
import re
from collections import Counter

import numpy as np
import pytest
from every_kind import KINDS
from matplotlib.image import imread

pytestmark = pytest.mark.browser

CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3
COMBINATIONS = list(itertools.product(["light", "dark"], ["light", "dark"]))


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_readable_to_the_end_of_the_page(chromium, resize, prefer, kinds, kind):
    """The ground of the pixels, and the colours of text on it, are of the theme."""
    resize(700)
    prefer("light")
    chromium.get(kinds[kind])
    for theme, system in COMBINATIONS:
        prefer(system)
        choose_theme(chromium, theme)
        chromium.execute_script("window.scrollTo(0, document.documentElement.scrollHeight)")
        ground = find_ground(chromium)
        assert (calc_luminance(ground) > 0.5) == (theme == "light"), (theme, system)
        for colour in read_colours(chromium):
            assert calc_contrast(colour, ground) > CONTRAST, (theme, system, colour, ground)


@pytest.mark.parametrize(("theme", "system"), COMBINATIONS)
def test_controls_and_scrollbars_follow_the_theme(chromium, prefer, kinds, theme, system):
    prefer(system)
    chromium.get(kinds["compare"])
    choose_theme(chromium, theme)
    found = chromium.execute_script(
        "return [document.documentElement, document.body, document.querySelector('input')]"
        ".map((x) => getComputedStyle(x).colorScheme)"
    )
    assert found == 3 * [theme]


def choose_theme(browser, theme):
    """Press the page's own button until it says so."""
    for _ in range(3):
        if browser.execute_script("return document.body.dataset.theme") == theme:
            return
        browser.execute_script("document.querySelector('.theme-toggle').click()")
    raise AssertionError(f"the button leads to no {theme} theme")


def find_ground(browser):
    """The commonest colour of the window's pixels in the article's columns, 0 to 1."""
    left, right = browser.execute_script(
        "const box = document.querySelector('article').getBoundingClientRect();"
        "return [box.left, box.right]"
    )
    picture = imread(io.BytesIO(browser.get_screenshot_as_png()))[..., :3]
    picture = picture[::3, int(left) : int(right) : 3]
    colours = Counter(map(tuple, picture.reshape(-1, 3).tolist()))
    return np.array(colours.most_common(1)[0][0])


def read_colours(browser):
    """The colours of the text that is in the window and has no ground of its own, 0 to 1."""
    found = browser.execute_script(
        "const isOnPage = (x) => { for (; x && x.tagName !== 'ARTICLE'; x = x.parentElement)"
        "  if (getComputedStyle(x).backgroundColor !== 'rgba(0, 0, 0, 0)') return false;"
        "  return true; };"
        "const isInSight = (x) => { const { top, bottom, width } = x.getBoundingClientRect();"
        "  return width && top >= 0 && bottom <= innerHeight; };"
        "return Array.from(document.querySelectorAll('article :is(h1, h2, p, a, td, th, dt, dd)'))"
        ".filter((x) => x.textContent.trim() && isInSight(x) && isOnPage(x))"
        ".map((x) => getComputedStyle(x).color)"
    )
    assert all(x.startswith("rgb(") for x in found)
    return [np.array(re.findall(r"\d+", x), float) / 255 for x in dict.fromkeys(found)]


def calc_luminance(colour):
    """source: WCAG 2.2, relative luminance"""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def calc_contrast(a, b):
    low, high = sorted(map(calc_luminance, (a, b)))
    return (high + 0.05) / (low + 0.05)
