import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from atompaint_vae.figures.slices import colour_slab
from atompaint_vae.notebook.reconstruction.gallery import make_gallery


@pytest.fixture
def images(tmp_path, write_samples):
    return write_samples(tmp_path, num_samples=3, num_crops=2)


class Page(HTMLParser):
    """Tags with their attributes, and the text of each script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.is_script = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.is_script = tag == "script"

    def handle_endtag(self, tag):
        self.is_script = False

    def handle_data(self, data):
        if self.is_script:
            self.scripts.append(data)

    def find_all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def read_data(self):
        return json.loads(self.scripts[0])


def test_the_page_needs_no_other_file(images):
    page = Page(make_gallery(images["sample"], images["crop"], title="Samples"))
    addresses = [x[key] for _, x in page.tags for key in ("src", "href", "srcset") if key in x]
    assert len(addresses) == 12
    assert all(x.startswith("data:image/png;base64,") for x in addresses)
    assert page.find_all("link") == []
    assert len(page.scripts) == 2


def test_each_sample_has_slices_for_light_and_dark_pages(images):
    page = Page(make_gallery(images["sample"], title="Samples"))
    pictures = zip(page.find_all("img"), page.find_all("source"), images["sample"], strict=True)
    for k, (light, dark, image) in enumerate(pictures):
        assert light["alt"] == f"Slice of sample {k + 1}"
        for address, is_dark in ((light["src"], False), (dark["srcset"], True)):
            content = base64.b64decode(address.partition(",")[2])
            shown = imread(io.BytesIO(content))[..., :3]
            np.testing.assert_allclose(shown, colour_slab(image, is_dark=is_dark), atol=1 / 255)


def test_test_crops_are_repeated_beside_samples(images):
    page = Page(make_gallery(images["sample"], images["crop"], title="Samples"))
    data = page.read_data()
    assert data["view"]["panels"] == ["Sample", "Test crop"]
    assert [x["label"] for x in data["view"]["crops"]] == [
        "Sample 1, test crop 1", "Sample 2, test crop 2", "Sample 3, test crop 1",
    ]  # fmt: skip
    first, second, third = (x["images"] for x in data["crops"])
    assert third[1] == first[1] != second[1]
    assert len({x[0]["data"] for x in (first, second, third)}) == 3
    assert data["crops"][0]["size"] == [9, 9, 9]


def test_scores_are_a_table(images):
    scores = pd.DataFrame({"images": ["<a>", "b"], "n": [3, 2000], "bonded": [0.41234, None]})
    text = make_gallery(images["sample"], scores=scores, title="Samples")
    table = re.search(r"<table.*</table>", text, re.DOTALL)[0]
    cells = [x.strip() for x in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", table)]
    assert cells == ["images", "n", "bonded", "&lt;a&gt;", "3", "0.412", "b", "2000", ""]


def test_titles_are_text(images):
    title = "</script><script>alert(1)</script> & more"
    page = Page(make_gallery(images["sample"], title=title))
    assert len(page.scripts) == 2
    assert page.read_data()["view"]["title"] == title


@pytest.mark.parametrize(
    "samples, crops, message",
    [
        (np.zeros((0, 6, 5, 5, 5)), None, "samples: none"),
        (np.zeros((1, 6, 5, 5, 5)), np.zeros((0, 6, 5, 5, 5)), "test crops: none"),
        (
            np.zeros((1, 6, 5, 5, 5)), np.zeros((1, 6, 7, 7, 7)),
            r"samples of \(6, 5, 5, 5\), but crops of \(6, 7, 7, 7\)",
        ),
    ],
)  # fmt: skip
def test_what_is_no_gallery(samples, crops, message):
    with pytest.raises(ValueError, match=message):
        make_gallery(samples, crops, title="Samples")


def test_other_names(images):
    names = ("Proposal", "Structure")
    text = make_gallery(images["sample"], images["crop"][:1], title="Painted", names=names)
    page = Page(text)
    assert page.read_data()["view"]["panels"] == list(names)
    assert f"{len(images['sample'])} proposals and 1 structure of" in text
